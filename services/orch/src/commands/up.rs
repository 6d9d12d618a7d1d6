//! `mcp-orch up`: everything in one process, on embedded defaults.
//!
//! A preset of the services' own configurations: the event store and the views on SQLite, the
//! in-process bus, the sealed local secrets. It runs the migrations of its own data directory.

mod failpoint;
mod operator;
mod servers;
mod system;

pub(super) use self::servers::demo;

use anyhow::{Context, Result};
use runtime::health::HealthRegistry;
use runtime::telemetry::TelemetryConfig;
use runtime::{admin, shutdown, telemetry};
use tokio_util::sync::CancellationToken;

use self::system::System;
use crate::cli::UpArgs;
use crate::commands::announce::Ready;
use crate::wiring::{AdminPort, CLOSING, Endpoint, open, serve};

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(args: UpArgs) -> Result<()> {
    let filter = std::env::var("MCP_LOG_LEVEL").unwrap_or_else(|_| "INFO".to_owned());
    let _telemetry = telemetry::init(&TelemetryConfig {
        filter,
        directory: Some(args.logs.clone()),
        console: true,
    })?;
    let metrics = admin::install_metrics().context("cannot collect metrics")?;
    let stop = shutdown::on_signal()?;
    let health = HealthRegistry::default();
    let endpoint = Endpoint {
        listen: args.listen,
        admin_listen: args.admin_listen,
        public_url: args.public_url.clone(),
        allow_plaintext: args.allow_plaintext,
    };
    let listening = open(&endpoint, AdminPort::OrAny).await?;
    let admin_url = listening.admin_url.clone();
    let public_url = listening.public_url.clone();

    let system = System::start(&args, &listening, &health).await?;
    let closed = CancellationToken::new();
    let served = tokio::spawn(serve(listening.main, system.router(), closed.clone()));
    let admin = admin::router(metrics, health);
    let admin = tokio::spawn(serve(listening.admin, admin, closed.clone()));

    let notes = servers::register(&system, &args).await?;
    let ready = Ready {
        url: public_url.clone(),
        admin_url: Some(admin_url),
        project_id: system.project().to_string(),
        first: system.take_first(),
        notes,
    };
    let operator = operator::keep(&system, &args.data, public_url, stop.clone()).await?;
    ready.announce(args.json);

    operator.await?;
    tracing::info!("stopping");
    system.stop().await;
    closed.cancel();
    let ended = async { tokio::join!(served, admin) };
    if tokio::time::timeout(CLOSING, ended).await.is_err() {
        tracing::warn!("connections were still open when the process ended");
    }
    Ok(())
}

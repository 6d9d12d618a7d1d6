//! `mcp-orch up`: everything in one process, on embedded defaults.
//!
//! A preset of the services' own configurations: the event store and the views on SQLite, the
//! in-process bus, the sealed local secrets. It runs the migrations of its own data directory.

mod announce;
mod failpoint;
mod listen;
mod operator;
mod servers;
mod system;

pub(super) use self::system::{LOG_FILE, VIEWS_FILE};

use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::serve::ListenerExt;
use runtime::health::HealthRegistry;
use runtime::telemetry::TelemetryConfig;
use runtime::{admin, shutdown, telemetry};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use self::announce::Ready;
use self::system::System;
use crate::cli::UpArgs;

/// How long calls that are under way may take to finish when the process is asked to stop.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// For so long what was sent may stay unread or unconfirmed before the connection is given up.
const SEND_LIMIT: Duration = Duration::from_secs(30);
/// How long connections may take to close after that.
const CLOSING: Duration = Duration::from_secs(5);

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
    let listening = listen::open(&args).await?;
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
        admin_url,
        project_id: system.project().to_string(),
        first: system.take_first(),
        notes,
    };
    let operator = operator::keep(&system, &args.data, public_url, stop.clone()).await?;
    ready.announce(&args);

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

async fn serve(
    listener: TcpListener,
    router: Router,
    closed: CancellationToken,
) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = prepare(stream) {
            tracing::debug!(%error, "a connection keeps the system's defaults");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(closed.cancelled_owned()).await
}

/// Sets what every accepted connection gets.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    // Answers are small: waiting to fill a packet would cost more than it saves.
    stream.set_nodelay(true)?;
    // A peer that stopped reading, or is gone without a word, holds no socket for ever.
    SockRef::from(stream).set_tcp_user_timeout(Some(SEND_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_accepted_connection_has_no_delay_and_a_limit() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let (stream, _) = accepted.unwrap();
        prepare(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        let limit = SockRef::from(&stream).tcp_user_timeout().unwrap();
        assert_eq!(limit, Some(SEND_LIMIT));
        drop(connected);
    }
}

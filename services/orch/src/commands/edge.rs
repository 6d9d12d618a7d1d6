//! `mcp-orch edge`: the MCP endpoints, one of several.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use authz::Authorizer;
use backplane::{Journal, JournalConfig, Replica};
use bus::Bus;
use edge::{EdgeConfig, EdgeDeps, EdgeLimits};
use runtime::clock;
use tokio_util::sync::CancellationToken;

use crate::cli::cluster::EdgeArgs;
use crate::config::EdgeServiceConfig;
use crate::wiring::{
    AdminPort, Process, RunningEdge, follow_configuration, open, open_bus, open_secrets,
    start_edge, state_key, until_there,
};

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(args: EdgeArgs) -> Result<()> {
    let config: EdgeServiceConfig = runtime::config::load(args.config.as_deref(), &args.flags)?;
    config.secrets().choose()?;
    let listening = open(&config.endpoint(), AdminPort::AsGiven).await?;
    let told = edge_config(&config, listening.public_url, listening.loopback);
    let mut process = Process::start(config.logs.clone(), listening.admin)?;
    let started = Running::start(&config, told, &process);
    let Some(running) = process.unless_stopped(started).await? else { return Ok(()) };
    process.serve(listening.main, running.edge.router());
    process.asked_to_stop().await;
    running.stop().await;
    process.end().await;
    Ok(())
}

fn edge_config(config: &EdgeServiceConfig, public_url: String, loopback: bool) -> EdgeConfig {
    EdgeConfig {
        public_url,
        loopback,
        allowed_origins: config.allowed_origins.clone(),
        shared_sessions: true,
        cluster: true,
        limits: EdgeLimits {
            session_idle: Duration::from_secs(config.session_idle),
            sessions_per_key: config.sessions_per_key,
            ..EdgeLimits::default()
        },
    }
}

/// An edge with what it stands on.
struct Running {
    edge: RunningEdge,
    journal: Journal,
    /// Stopped in this order: what takes requests, what records, what is configured.
    stops: Stops,
}

#[derive(Default)]
struct Stops {
    edge: CancellationToken,
    journal: CancellationToken,
    replica: CancellationToken,
}

impl Running {
    async fn start(
        config: &EdgeServiceConfig,
        told: EdgeConfig,
        process: &Process,
    ) -> Result<Self> {
        let (health, stop) = (&process.health, &process.stop);
        let secrets = open_secrets(&config.secrets(), health, stop).await?;
        let reporter = health.register("secrets: state key");
        let state_key = until_there("the key of signed states", &reporter, stop, async || {
            state_key(&*secrets).await
        })
        .await?;
        let nats = open_bus(&config.nats, "edge", health, stop).await?;
        let bus: Arc<dyn Bus> = Arc::new(nats.clone());
        let stops = Stops::default();
        let clock = clock::system();
        let replica =
            Replica::start(Arc::clone(&bus), "edge", Arc::clone(&clock), stops.replica.clone());
        let journal =
            Journal::start(Arc::clone(&bus), JournalConfig::default(), stops.journal.clone());
        replica.ready().await.context("the configuration cannot be read")?;
        let stale_after = told.limits.stale_after;
        follow_configuration(health, replica.clone(), Arc::clone(&clock), stale_after);
        let deps = EdgeDeps {
            bus,
            shared: Arc::new(nats),
            state_key,
            replica,
            journal: journal.clone(),
            authorizer: Arc::new(Authorizer::new().await?),
            clock,
        };
        let edge = start_edge(told, deps, stops.edge.clone());
        Ok(Self { edge, journal, stops })
    }

    /// Drains: calls finish, streams end, what was seen is recorded.
    async fn stop(self) {
        self.stops.edge.cancel();
        self.edge.stopped().await;
        self.journal.flush().await;
        self.stops.journal.cancel();
        self.stops.replica.cancel();
    }
}

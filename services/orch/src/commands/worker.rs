//! `mcp-orch worker`: keeps connections to upstream servers, one of several.

use std::sync::Arc;

use anyhow::{Context, Result};
use backplane::{Journal, JournalConfig, LeaseKeeper, Replica};
use bus::Bus;
use connection_worker::{Worker, WorkerDeps, detect_labels};
use domain::EventId;
use runtime::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cli::cluster::WorkerArgs;
use crate::config::WorkerServiceConfig;
use crate::wiring::{
    AdminPort, Process, jitter, open_admin, open_bus, open_secrets, worker_config,
};

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(args: WorkerArgs) -> Result<()> {
    let config: WorkerServiceConfig = runtime::config::load(args.config.as_deref(), &args.flags)?;
    config.secrets().choose()?;
    let admin = open_admin(config.admin_listen, AdminPort::AsGiven).await?;
    let process = Process::start(config.logs.clone(), admin)?;
    let started = Running::start(&config, &process);
    let Some(running) = process.unless_stopped(started).await? else { return Ok(()) };
    process.is_ready();
    process.asked_to_stop().await;
    running.stop().await;
    process.end().await;
    Ok(())
}

/// A worker with what it stands on.
struct Running {
    worker: connection_worker::WorkerHandle,
    /// Stopped in this order: what keeps connections, what records, what is configured, and last
    /// the leases, which the worker gives up while it drains.
    stops: Stops,
    journal: Journal,
}

#[derive(Default)]
struct Stops {
    worker: CancellationToken,
    journal: CancellationToken,
    replica: CancellationToken,
    leases: CancellationToken,
}

impl Running {
    async fn start(config: &WorkerServiceConfig, process: &Process) -> Result<Self> {
        let (health, stop) = (&process.health, &process.stop);
        let secrets = open_secrets(&config.secrets(), health, stop).await?;
        let bus: Arc<dyn Bus> = Arc::new(open_bus(&config.nats, "worker", health, stop).await?);
        let stops = Stops::default();
        let clock = clock::system();
        let replica =
            Replica::start(Arc::clone(&bus), "worker", Arc::clone(&clock), stops.replica.clone());
        let journal =
            Journal::start(Arc::clone(&bus), JournalConfig::default(), stops.journal.clone());
        replica.ready().await.context("the configuration cannot be read")?;
        let mut limits = worker_config()?;
        limits.labels = detect_labels();
        limits.labels.extend(config.labels.iter().cloned());
        (limits.weight, limits.capacity) = (config.weight, config.capacity);
        let identity = limits.identity(bus.instance());
        let lease = LeaseKeeper::start(Arc::clone(&bus), identity, stops.leases.clone());
        let deps = WorkerDeps {
            bus,
            secrets,
            lease,
            replica,
            journal: journal.clone(),
            clock,
            event_ids: Arc::new(|| EventId::from_uuid(Uuid::now_v7())),
            random: Arc::new(jitter),
        };
        let worker = Worker::build(limits, deps).await?.run(stops.worker.clone());
        Ok(Self { worker, stops, journal })
    }

    /// Drains: servers are handed over, calls finish, children end, what was seen is recorded.
    async fn stop(self) {
        self.stops.worker.cancel();
        self.worker.stopped().await;
        self.journal.flush().await;
        self.stops.journal.cancel();
        self.stops.replica.cancel();
        self.stops.leases.cancel();
    }
}

//! A control-plane of a cluster: on PostgreSQL, NATS and Vault, one of several.

use std::sync::Arc;

use anyhow::{Context, Result};
use bus::{Bus, NatsBus};
use control_plane::{App, Config, ControlPlane, Deps};
use event_store::{PostgresConfig, PostgresEventStore, Sequencer};
use runtime::clock;
use runtime::health::HealthRegistry;
use secrets::SecretStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    VIEWS_FILE, follow_store, make_private, make_state_key, open_bus, open_secrets, until_there,
};
use crate::config::ControlPlaneConfig;

/// A control-plane that runs, with its connections.
pub(crate) struct ClusterControlPlane {
    control: control_plane::Handle,
    store: PostgresEventStore,
    sequencer: JoinHandle<()>,
    stops: Stops,
}

/// Stopped in this order: what takes commands and records, then what gives them positions.
#[derive(Default)]
struct Stops {
    control: CancellationToken,
    sequencer: CancellationToken,
}

impl ClusterControlPlane {
    /// Starts everything and returns when requests can be served. What is not there yet is
    /// waited for, until `stop`.
    ///
    /// # Errors
    /// When the configuration cannot be used, or what was reached refuses.
    pub(crate) async fn start(
        config: &ControlPlaneConfig,
        public_url: &str,
        health: &HealthRegistry,
        stop: &CancellationToken,
    ) -> Result<Self> {
        make_private(&config.data)?;
        let secrets = open_secrets(&config.secrets(), health, stop).await?;
        let reporter = health.register("secrets: state key");
        until_there("the key of signed states", &reporter, stop, async || {
            make_state_key(&*secrets).await
        })
        .await?;
        let store = open_store(config, health, stop).await?;
        let bus = open_bus(&config.nats, "control-plane", health, stop).await?;
        let stops = Stops::default();
        let sequencer = Sequencer::new(store.clone(), bus.instance().to_owned());
        let deps = deps(&store, secrets, bus, sequencer.leadership());
        let stopped = stops.sequencer.clone();
        let sequencer = tokio::spawn(async move { sequencer.run(stopped).await });
        let views = config.data.join(VIEWS_FILE);
        control_plane::views::prepare(&views).await?;
        let mut told = Config::new(views, public_url.parse().context("public_url")?);
        told.cluster = true;
        // The first look at the log may fail like any other one.
        let reporter = health.register("control-plane");
        let control = until_there("the log", &reporter, stop, async || {
            let built = ControlPlane::build(told.clone(), deps.clone(), health).await?;
            built.run(stops.control.clone()).await
        })
        .await?;
        Ok(Self { control, store, sequencer, stops })
    }

    /// What the use cases work with.
    pub(crate) fn app(&self) -> Arc<App> {
        self.control.app()
    }

    /// gRPC, grpc-web and REST.
    pub(crate) fn router(&self) -> axum::Router {
        self.control.router()
    }

    /// Drains: what was taken is recorded and projected, and another one may lead.
    pub(crate) async fn stop(self) {
        self.stops.control.cancel();
        if let Err(error) = self.control.stopped().await {
            tracing::error!(%error, "the views had stopped before");
        }
        self.stops.sequencer.cancel();
        if let Err(error) = self.sequencer.await {
            tracing::error!(%error, "the sequencer failed");
        }
        self.store.close().await;
    }
}

async fn open_store(
    config: &ControlPlaneConfig,
    health: &HealthRegistry,
    stop: &CancellationToken,
) -> Result<PostgresEventStore> {
    let (app_url, log_url) = (config.postgres.app()?, config.postgres.log()?);
    let reporter = health.register("store");
    let opened = PostgresConfig::new(app_url, log_url, clock::system());
    let store = until_there("PostgreSQL", &reporter, stop, async || {
        PostgresEventStore::open(opened.clone()).await
    })
    .await?;
    follow_store(reporter, Arc::new(store.clone()));
    Ok(store)
}

fn deps(
    store: &PostgresEventStore,
    secrets: Arc<dyn SecretStore>,
    bus: NatsBus,
    leadership: tokio::sync::watch::Receiver<Option<u64>>,
) -> Deps {
    Deps {
        store: Arc::new(store.clone()),
        leases: Arc::new(store.clone()),
        leadership,
        published: Arc::new(store.clone()),
        secrets,
        bus: Arc::new(bus),
        clock: clock::system(),
        ids: Arc::new(Uuid::now_v7),
    }
}

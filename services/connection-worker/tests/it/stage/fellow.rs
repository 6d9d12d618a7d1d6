//! A worker that owns what it is granted, beside others.

use std::sync::Arc;

use backplane::{Journal, JournalConfig, LeaseKeeper, Replica};
use bus::Bus;
use connection_worker::{Worker, WorkerConfig, WorkerDeps, WorkerHandle};
use domain::EventId;
use secrets::SecretStore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::named::Named;
use super::{LIMIT, Stage, clock, reaper};

pub(crate) struct Fellow {
    worker: Option<WorkerHandle>,
    shutdown: CancellationToken,
    surroundings: CancellationToken,
}

impl Fellow {
    /// Ends it and waits for that.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(worker) = self.worker.take() {
            tokio::time::timeout(LIMIT, worker.stopped()).await.unwrap();
        }
    }
}

impl Drop for Fellow {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.surroundings.cancel();
    }
}

impl Stage {
    /// Starts a worker of that name.
    pub(crate) async fn employ(&self, name: &str) -> Fellow {
        self.employ_with(name, |_| {}).await
    }

    pub(crate) async fn employ_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut WorkerConfig),
    ) -> Fellow {
        let (bus, name) = (Arc::clone(&self.bus), name.to_owned());
        self.employ_over(Arc::new(Named { bus, name }), change).await
    }

    /// Starts a worker that is there under the name of its bus.
    pub(crate) async fn employ_over(
        &self,
        bus: Arc<dyn Bus>,
        change: impl FnOnce(&mut WorkerConfig),
    ) -> Fellow {
        let (shutdown, surroundings) = (CancellationToken::new(), CancellationToken::new());
        let mut config = WorkerConfig::new(reaper());
        change(&mut config);
        let identity = config.identity(bus.instance());
        let lease = LeaseKeeper::start(Arc::clone(&bus), identity, surroundings.clone());
        let journal =
            Journal::start(Arc::clone(&bus), JournalConfig::default(), surroundings.clone());
        let replica = Replica::start(Arc::clone(&bus), "worker", clock(), surroundings.clone());
        let deps = WorkerDeps {
            bus,
            secrets: Arc::clone(&self.secrets) as Arc<dyn SecretStore>,
            lease,
            replica,
            journal,
            clock: clock(),
            event_ids: Arc::new(|| EventId::from_uuid(Uuid::now_v7())),
            random: Arc::new(|| 0.0),
        };
        let worker = Worker::build(config, deps).await.unwrap().run(shutdown.clone());
        Fellow { worker: Some(worker), shutdown, surroundings }
    }
}

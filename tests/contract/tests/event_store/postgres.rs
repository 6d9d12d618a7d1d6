//! An event store in a database of its own, with a sequencer of its own.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use contract::event_store::{Adapter, Store};
use event_store::{Clock, PostgresConfig, PostgresEventStore, Sequencer, postgres};
use fixtures::Postgres;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the template is made of: another schema is another template.
const MIGRATIONS: [&str; 2] = [
    include_str!("../../../../migrations/postgres/0001_log.sql"),
    include_str!("../../../../migrations/postgres/0002_leases.sql"),
];

/// A running store in its database. Fields are dropped in this order.
pub(crate) struct Database {
    pub(crate) store: PostgresEventStore,
    clock: Clock,
    shutdown: CancellationToken,
    sequencing: Option<JoinHandle<()>>,
    pub(crate) database: fixtures::postgres::Database,
    pub(crate) server: Postgres,
}

/// A copy of the template, which is migrated the first time.
pub(crate) async fn migrated(server: &Postgres) -> io::Result<fixtures::postgres::Database> {
    assert_eq!(MIGRATIONS.len(), postgres::SCHEMA_VERSION as usize, "a migration is missing here");
    let mut hasher = DefaultHasher::new();
    MIGRATIONS.hash(&mut hasher);
    let template = format!("mcp_orch_template_{:x}", hasher.finish());
    let prepare = |url: String| async move {
        postgres::migrate(&SecretString::from(url)).await.map_err(io::Error::other)
    };
    server.database_like(&template, prepare).await
}

/// The usual configuration of a database.
pub(crate) fn config(server: &Postgres, database: &str, clock: Clock) -> PostgresConfig {
    let url = |role| SecretString::from(server.url(role, database));
    PostgresConfig::new(url("mcp_orch_app"), url("mcp_orch_log"), clock)
}

impl Database {
    pub(crate) async fn on(server: Postgres, clock: Clock) -> Self {
        let database = migrated(&server).await.expect("a migrated database");
        Self::open(server, database, clock).await
    }

    async fn open(server: Postgres, database: fixtures::postgres::Database, clock: Clock) -> Self {
        let config = config(&server, database.name(), Arc::clone(&clock));
        let store = PostgresEventStore::open(config).await.expect("a database that can be opened");
        let shutdown = CancellationToken::new();
        let sequencer = Sequencer::new(store.clone(), "sequencer");
        let sequencing = Some(tokio::spawn(sequencer.run(shutdown.clone())));
        Self { store, clock, shutdown, sequencing, database, server }
    }
}

#[async_trait]
impl Adapter for Database {
    async fn start(clock: Clock) -> Self {
        Self::on(Postgres::shared().expect("a server"), clock).await
    }

    fn raw(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn restart(mut self) -> Self {
        self.shutdown.cancel();
        if let Some(sequencing) = self.sequencing.take() {
            sequencing.await.expect("a sequencer that ends");
        }
        self.store.close().await;
        Self::open(self.server, self.database, self.clock).await
    }
}

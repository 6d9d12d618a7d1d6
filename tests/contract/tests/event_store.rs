//! The event store's contract, on each adapter, and that all tell the same of any script.

use std::sync::Arc;

use async_trait::async_trait;
use contract::event_store::scripts::{Draft, Step, run};
use contract::event_store::{Adapter, CASES, Store, TestClock};
use event_store::{Clock, MemoryEventStore, SqliteConfig, SqliteEventStore};
use proptest::prelude::{Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

struct Memory(MemoryEventStore);

#[async_trait]
impl Adapter for Memory {
    async fn start(clock: Clock) -> Self {
        Self(MemoryEventStore::new(clock))
    }

    fn raw(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn restart(self) -> Self {
        self
    }
}

struct Sqlite {
    directory: TempDir,
    clock: Clock,
    store: SqliteEventStore,
}

impl Sqlite {
    async fn open(directory: TempDir, clock: Clock) -> Self {
        let path = directory.path().join("events.db");
        SqliteEventStore::prepare(&path).await.expect("a file that can be prepared");
        let config = SqliteConfig::new(path, Arc::clone(&clock));
        let store = SqliteEventStore::open(config).await.expect("a file that can be opened");
        Self { directory, clock, store }
    }
}

#[async_trait]
impl Adapter for Sqlite {
    async fn start(clock: Clock) -> Self {
        Self::open(TempDir::new().expect("a directory"), clock).await
    }

    fn raw(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn restart(self) -> Self {
        self.store.close().await;
        Self::open(self.directory, self.clock).await
    }
}

#[path = "event_store/postgres.rs"]
mod on_postgres;

mod memory {
    use super::Memory;

    contract::event_store_suite!(Memory);
}

mod sqlite {
    use super::Sqlite;

    contract::event_store_suite!(Sqlite);
}

mod postgres {
    use super::on_postgres::Database;

    contract::event_store_suite!(Database);
}

#[test]
fn every_adapter_runs_every_case() {
    assert_eq!(memory::RUN, CASES.len());
    assert_eq!(postgres::RUN, CASES.len());
    assert_eq!(sqlite::RUN, CASES.len());
}

fn draft() -> impl Strategy<Value = Draft> {
    (
        0..3_u8,
        0..4_u8,
        prop::option::weighted(0.3, 0..4_u64),
        prop::collection::vec(0..30_u64, 0..4),
        0..5_u8,
        prop::option::weighted(0.3, (0..4_u8, 0..3_u8)),
        prop::collection::vec((any::<bool>(), 0..4_u8, 0..3_u8), 0..3),
    )
        .prop_map(|(tenant, stream, expected, events, variant, command, reservations)| Draft {
            tenant,
            stream,
            expected,
            events,
            variant,
            command,
            reservations,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(draft(), 1..6).prop_map(Step::Append),
        1 => (0..40_i64).prop_map(Step::SetClock),
        1 => (0..3_u8, 0..40_i64).prop_map(|(of, until)| Step::DeleteBodies(of, until)),
        1 => (0..3_u8, 0..30_u64).prop_map(|(of, n)| Step::DestroyBody(of, n)),
        1 => (0..40_i64).prop_map(Step::ForgetKeys),
    ]
}

/// Runs scripts in memory and on another adapter.
fn compare<A: Adapter>(cases: u32) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..25), |steps| {
            let (in_memory, on_it) = runtime.block_on(async {
                let clock = TestClock::at(0);
                let memory = Memory::start(clock.clock()).await;
                let in_memory = run(&*memory.store(), &clock, &steps).await;
                clock.set(0);
                let adapter = A::start(clock.clock()).await;
                (in_memory, run(&*adapter.store(), &clock, &steps).await)
            });
            for (in_memory, on_it) in in_memory.iter().zip(&on_it) {
                proptest::prop_assert_eq!(in_memory, on_it);
            }
            proptest::prop_assert_eq!(in_memory.len(), on_it.len());
            Ok(())
        })
        .expect("the same outcome");
}

#[test]
fn any_script_has_the_same_outcome_on_sqlite() {
    compare::<Sqlite>(48);
}

#[test]
fn any_script_has_the_same_outcome_on_postgres() {
    compare::<on_postgres::Database>(8);
}

//! Two control planes on a real PostgreSQL.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backplane::{LeaseKeeper, WorkerIdentity};
use bus::{Bus as _, Delivery, InProcessBus, InProcessConfig};
use control_plane::{Deps, STALE_HEADER};
use event_store::{EventStore as _, PostgresConfig, PostgresEventStore, Sequencer, postgres};
use fixtures::Postgres;
use prost::Message as _;
use proto::control::v1 as pb;
use proto::internal::v1::StoredEvent;
use runtime::health::Health;
use secrecy::SecretString;
use secrets::{MemoryStore, SecretStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use super::{Running, eventually};
use crate::support::{Owner, create_server, stdio};

/// A server with a database, and what else the replicas share. Fields are dropped in this order.
struct Site {
    bus: InProcessBus,
    secrets: Arc<dyn SecretStore>,
    database: fixtures::postgres::Database,
    server: Postgres,
}

/// A replica with its own sequencer, which may lead.
struct Member {
    running: Running,
    store: PostgresEventStore,
    lead: tokio::sync::watch::Receiver<Option<u64>>,
    stop: CancellationToken,
    sequencing: JoinHandle<()>,
}

impl Site {
    async fn on(server: Postgres) -> Self {
        let prepare = |url: String| async move {
            postgres::migrate(&SecretString::from(url)).await.map_err(io::Error::other)
        };
        let template = format!("control_plane_{}", postgres::SCHEMA_VERSION);
        let database = server.database_like(&template, prepare).await.unwrap();
        let bus = InProcessBus::new(InProcessConfig::default());
        Self { bus, secrets: Arc::new(MemoryStore::new()), database, server }
    }

    async fn member(&self) -> Member {
        let url = |role| SecretString::from(self.server.url(role, self.database.name()));
        let clock = runtime::clock::system();
        let config = PostgresConfig::new(url("mcp_orch_app"), url("mcp_orch_log"), clock);
        let store = PostgresEventStore::open(config).await.unwrap();
        let bus = self.bus.another_instance();
        let sequencer = Sequencer::new(store.clone(), bus.instance());
        let (lead, stop) = (sequencer.leadership(), CancellationToken::new());
        let sequencing = tokio::spawn(sequencer.run(stop.clone()));
        let deps = Deps {
            store: Arc::new(store.clone()),
            secrets: Arc::clone(&self.secrets),
            bus: Arc::new(bus),
            clock: runtime::clock::system(),
            ids: Arc::new(Uuid::now_v7),
            leases: Arc::new(store.clone()),
            leadership: lead.clone(),
            published: Arc::new(store.clone()),
        };
        let running = Running::start(deps, |config| config).await;
        Member { running, store, lead, stop, sequencing }
    }
}

impl Member {
    fn leads(&self) -> bool {
        self.lead.borrow().is_some()
    }
}

fn list(owner: &Owner) -> pb::ListServersRequest {
    pb::ListServersRequest { project_id: owner.project.to_string(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_wrote_another_shows_and_the_next_leader_publishes_the_rest() {
    let site = Site::on(Postgres::shared().unwrap()).await;
    let mut events = site.bus.subscribe("evt.>".parse().unwrap(), 10_000).await.unwrap();
    let (one, other) = tokio::join!(site.member(), site.member());
    let owner = one.running.bootstrap().await;
    let reader = other.running.caller(&owner);
    for number in 0..10 {
        let made = owner.caller.register(&owner.project, &format!("s{number}")).await;
        let seen = reader.servers().list_servers(list(&owner)).await.unwrap();
        assert!(!seen.metadata().contains_key(STALE_HEADER));
        assert!(seen.into_inner().servers.iter().any(|server| server.id == made.id));
    }
    eventually(async || (one.leads() || other.leads()).then_some(())).await;
    assert!(!(one.leads() && other.leads()));
    let (mut leader, next) = if one.leads() { (one, other) } else { (other, one) };
    leader.stop.cancel();
    (&mut leader.sequencing).await.unwrap();
    assert!(!leader.leads());
    let writer = leader.running.caller(&owner);
    let spec = create_server(&owner.project, stdio("after"));
    writer.servers().create_server(spec).await.unwrap();
    eventually(async || next.leads().then_some(())).await;

    let head = next.store.head().await.unwrap().as_u64();
    let mut published = BTreeSet::new();
    eventually(async || {
        while let Some(Delivery::Event(event)) = events.try_next() {
            published.insert(StoredEvent::decode(event.payload.clone()).unwrap().position);
        }
        published.contains(&head).then_some(())
    })
    .await;
    assert_eq!(published, (1..=head).collect(), "none is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_postgresql_comes_back_everything_goes_on_by_itself() {
    let mut site = Site::on(Postgres::start().unwrap()).await;
    let one = site.member().await;
    let owner = one.running.bootstrap().await;
    let id = owner.caller.register(&owner.project, "a").await.id.parse().unwrap();
    let stop = CancellationToken::new();
    let bus = Arc::new(site.bus.another_instance());
    let instance = bus.instance().to_owned();
    let identity = WorkerIdentity { instance, ..WorkerIdentity::default() };
    let keeper = LeaseKeeper::start(bus, identity, stop.clone());
    eventually(async || keeper.epoch(id)).await;

    site.server.stop_immediately().unwrap();
    let stale = eventually(async || {
        let answer = owner.caller.servers().list_servers(list(&owner)).await.unwrap();
        answer.metadata().contains_key(STALE_HEADER).then_some(answer)
    })
    .await;
    assert_eq!(stale.into_inner().servers.len(), 1, "reads go on");
    let create = create_server(&owner.project, stdio("b"));
    let refusal = owner.caller.servers().create_server(create.clone()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    eventually(async || (!one.leads()).then_some(())).await;
    // Longer than a lease lasts: nobody else can have it.
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert!(keeper.epoch(id).is_some(), "kept while PostgreSQL is away");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    site.server.start_again().unwrap();
    let made = async || owner.caller.servers().create_server(create.clone()).await.ok();
    tokio::time::timeout(Duration::from_secs(30), async {
        while made().await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    eventually(async || {
        assert!(keeper.epoch(id).is_some(), "and claimed again");
        let answer = owner.caller.servers().list_servers(list(&owner)).await.unwrap();
        let fresh = !answer.metadata().contains_key(STALE_HEADER);
        let health = one.running.health.parts()["control-plane views"].clone();
        (fresh && health == Health::Ok && one.leads()).then_some(())
    })
    .await;
    stop.cancel();
}

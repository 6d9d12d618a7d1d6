//! Who owns which server: workers join, leave, die and drain, and either replica answers.

use std::sync::Arc;
use std::time::Duration;

use backplane::entry::{Body, Entry, FENCED};
use backplane::{Journal, JournalConfig, JournalOutcome, LeaseKeeper, WorkerIdentity};
use bus::Bus;
use domain::connection::{ConnectionState, Observation};
use domain::event::ConnectionEvent;
use domain::{Actor, Event, EventId, StreamId, StreamKind};
use proto::control::v1 as pb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::worker::Worker;
use super::{Cluster, eventually};
use crate::support::{Owner, create_server, stdio};

/// Registers so many servers; their ids.
async fn servers(owner: &Owner, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(owner.caller.register(&owner.project, &format!("s{number}")).await.id);
    }
    ids.sort();
    ids
}

/// Asks on behalf of all until they have all `count` servers between them, and nothing moves.
async fn settled(workers: &mut [&mut Worker], count: usize) {
    eventually(async || {
        let (mut held, mut moving) = (0, false);
        for worker in &mut *workers {
            let reply = worker.ask().await;
            moving |= !reply.prepare.is_empty() || !reply.let_go.is_empty();
            worker.prepared = reply.prepare;
            if !reply.let_go.is_empty() {
                worker.release(&reply.let_go).await;
            }
            held += worker.held.len();
        }
        (held == count && !moving).then_some(())
    })
    .await;
}

#[tokio::test]
async fn servers_are_granted_once_whichever_replica_answers() {
    let cluster = Cluster::new();
    let (_one, _other, owner) = cluster.two().await;
    let ids = servers(&owner, 12).await;
    let (mut a, mut b) = (Worker::new(&cluster.bus, "a"), Worker::new(&cluster.bus, "b"));
    settled(&mut [&mut a, &mut b], 12).await;
    let mut all: Vec<_> = a.held.keys().chain(b.held.keys()).cloned().collect();
    all.sort();
    assert_eq!(all, ids, "each once");
    assert!(a.held.len() <= 8 && b.held.len() <= 8, "at most 1.25 of a half");
    let before = a.held.clone();
    let reply = a.ask().await;
    assert_eq!(a.held, before, "renewed under the same epochs");
    assert_eq!(reply.valid_ms, 3_000);
}

#[tokio::test]
async fn a_worker_that_joins_gets_its_share_after_it_made_ready() {
    let cluster = Cluster::new();
    let (_one, _other, owner) = cluster.two().await;
    servers(&owner, 10).await;
    let mut a = Worker::new(&cluster.bus, "a");
    settled(&mut [&mut a], 10).await;
    let mut b = Worker::new(&cluster.bus, "b");
    let reply = b.ask().await;
    assert!(reply.owned.is_empty() && !reply.prepare.is_empty(), "{reply:?}");
    assert!(a.ask().await.let_go.is_empty(), "nobody is ready yet");
    b.prepared = reply.prepare.clone();
    b.ask().await;
    let let_go = a.ask().await.let_go;
    assert_eq!(let_go, reply.prepare);
    let epoch = a.held[&let_go[0]];
    a.release(&let_go).await;
    b.ask().await;
    assert_eq!(b.held[&let_go[0]], epoch + 1, "another holding, another epoch");
    settled(&mut [&mut a, &mut b], 10).await;
}

#[tokio::test]
async fn a_dead_workers_servers_go_to_the_others_when_its_leases_end() {
    let cluster = Cluster::new();
    let (_one, _other, owner) = cluster.two().await;
    servers(&owner, 10).await;
    let (mut a, mut b) = (Worker::new(&cluster.bus, "a"), Worker::new(&cluster.bus, "b"));
    settled(&mut [&mut a, &mut b], 10).await;
    let dead = b.held.clone();
    assert!(!dead.is_empty());
    cluster.clock.advance_seconds(3);
    a.ask().await;
    assert_eq!(a.held.len() + dead.len(), 10, "not before");
    cluster.clock.advance_seconds(2);
    settled(&mut [&mut a], 10).await;
    assert!(dead.iter().all(|(server, epoch)| a.held[server] > *epoch));

    // What was only stopped comes back: it owns nothing of what it thinks it holds.
    let reply = b.ask().await;
    assert!(reply.owned.is_empty(), "{reply:?}");
}

#[tokio::test]
async fn a_worker_that_drains_hands_over_before_it_lets_go() {
    let cluster = Cluster::new();
    let (_one, _other, owner) = cluster.two().await;
    servers(&owner, 10).await;
    let (mut a, mut b) = (Worker::new(&cluster.bus, "a"), Worker::new(&cluster.bus, "b"));
    settled(&mut [&mut a, &mut b], 10).await;
    a.draining = true;
    let own = a.held.len();
    assert!(a.ask().await.let_go.is_empty());
    assert_eq!(a.held.len(), own, "it keeps what nobody is ready for");
    let prepare = b.ask().await.prepare;
    assert_eq!(prepare.len(), own);
    b.prepared = prepare[..1].to_vec();
    b.ask().await;
    assert_eq!(a.ask().await.let_go, prepare[..1]);
    // A server that its successor never gets ready is let go of after the limit.
    for _ in 0..4 {
        cluster.clock.advance_seconds(3);
        a.ask().await;
        b.ask().await;
    }
    a.ask().await;
    assert_eq!(a.ask().await.let_go.len(), own);
}

#[tokio::test]
async fn a_server_goes_where_its_labels_are_and_its_state_says_when_there_is_none() {
    let cluster = Cluster::new();
    let (one, _other, owner) = cluster.two().await;
    let epoch = cluster.leader_lease("one").await;
    one.lead(epoch);
    let spec = pb::ServerSpec { placement_labels: vec!["docker".into()], ..stdio("boxed") };
    let request = create_server(&owner.project, spec);
    let made = owner.caller.servers().create_server(request).await.unwrap().into_inner();
    let id = made.server.unwrap().id;
    let mut plain = Worker::new(&cluster.bus, "plain");
    plain.ask().await;
    let get = pb::GetServerRequest { project_id: owner.project.to_string(), server_id: id.clone() };
    let cause = async || {
        // A worker that is not heard of is none.
        plain.ask().await;
        let shown = owner.caller.servers().get_server(get.clone()).await.unwrap().into_inner();
        let shown = shown.server.unwrap();
        (shown.state() == pb::ServerState::Failed).then_some(shown.cause)
    };
    assert_eq!(eventually(cause).await, "no worker has the label docker");
    assert!(plain.held.is_empty());
    let mut docker = Worker::new(&cluster.bus, "docker");
    docker.labels = vec!["docker".into()];
    settled(&mut [&mut docker], 1).await;
    assert!(docker.held.contains_key(&id));
}

/// What a worker saw of a server, under an epoch.
fn observation(cluster: &Cluster, owner: &Owner, server: &str, epoch: u64) -> Entry {
    let observation = Observation { state: ConnectionState::Active, ..Observation::default() };
    let project = owner.project.clone();
    Entry {
        stream: StreamId::new(owner.tenant, StreamKind::Connection, server),
        event_id: EventId::from_uuid(Uuid::now_v7()),
        occurred_at: cluster.clock.now(),
        actor: Actor::System,
        event: Event::Connection(ConnectionEvent::StateObserved { project, observation }),
        body: Body::None,
        epoch,
    }
}

#[tokio::test]
async fn what_a_former_owner_saw_is_refused() {
    let cluster = Cluster::new();
    let (_one, _other, owner) = cluster.two().await;
    let id = servers(&owner, 1).await.remove(0);
    let mut a = Worker::new(&cluster.bus, "a");
    settled(&mut [&mut a], 1).await;
    let (bus, stop) = (Arc::new(cluster.bus.clone()) as Arc<dyn Bus>, CancellationToken::new());
    let journal = Journal::start(bus, JournalConfig::default(), stop.clone());
    let record = async |epoch| {
        let entry = observation(&cluster, &owner, &id, epoch).into_message().unwrap();
        journal.record(vec![entry]).await.unwrap().remove(0)
    };
    let stale = a.held[&id];
    assert_eq!(record(stale).await, JournalOutcome::Recorded);
    cluster.clock.advance_seconds(5);
    let mut b = Worker::new(&cluster.bus, "b");
    settled(&mut [&mut b], 1).await;
    let JournalOutcome::Refused { code, .. } = record(stale).await else { panic!("recorded") };
    assert_eq!(code, FENCED);
    assert_eq!(record(b.held[&id]).await, JournalOutcome::Recorded);
    assert_eq!(record(0).await, JournalOutcome::Recorded, "not fenced");
    stop.cancel();
}

#[tokio::test]
async fn nothing_free_is_given_out_before_all_had_time_to_say_what_they_hold() {
    let mut cluster = Cluster::new();
    cluster.times.settle = Duration::from_secs(2);
    let (one, other, owner) = cluster.two().await;
    let ids = servers(&owner, 4).await;
    let (mut a, mut b) = (Worker::new(&cluster.bus, "a"), Worker::new(&cluster.bus, "b"));
    settled(&mut [&mut b], 4).await;
    for replica in [&one, &other] {
        replica.store.cut();
    }
    for _ in 0..10 {
        b.try_ask().await.ok();
    }
    assert_eq!(b.held.len(), 4, "kept while nobody reaches the store");
    cluster.clock.advance_seconds(30);
    for replica in [&one, &other] {
        replica.store.mend();
    }
    // All leases have ended, and a asks before b can claim again what it kept.
    assert!(a.ask().await.owned.is_empty());
    b.ask().await;
    assert_eq!(b.held.keys().cloned().collect::<Vec<_>>(), ids);
    eventually(async || (!a.ask().await.prepare.is_empty()).then_some(())).await;
    assert!(a.held.is_empty());
}

#[tokio::test]
async fn a_real_keeper_gets_its_servers_and_gives_them_up_when_it_ends() {
    let cluster = Cluster::new();
    let (_one, _other, owner) = cluster.two().await;
    servers(&owner, 3).await;
    let keeper = |bus: Arc<dyn Bus>, stop: &CancellationToken| {
        let instance = bus.instance().to_owned();
        let identity = WorkerIdentity { instance, ..WorkerIdentity::default() };
        LeaseKeeper::start(bus, identity, stop.clone())
    };
    let (first_stop, second_stop) = (CancellationToken::new(), CancellationToken::new());
    let first = keeper(Arc::new(cluster.bus.another_instance()), &first_stop);
    let has = async |handle: &backplane::LeaseHandle, count| {
        let mut owned = handle.owned();
        let all = owned.wait_for(|owned| owned.len() == count);
        tokio::time::timeout(Duration::from_secs(10), all).await.unwrap().unwrap();
    };
    has(&first, 3).await;
    first.drain();
    first.release_all().await;
    first_stop.cancel();
    let second = keeper(Arc::new(cluster.bus.another_instance()), &second_stop);
    has(&second, 3).await;
    second_stop.cancel();
}

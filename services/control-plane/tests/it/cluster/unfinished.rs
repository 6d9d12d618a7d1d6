//! Calls that were started and whose edge is gone.

use std::sync::Arc;

use backplane::entry::{Body, Entry};
use backplane::{Journal, JournalConfig, JournalOutcome};
use bus::Bus;
use bytes::Bytes;
use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::event::CallEvent;
use domain::{Actor, CallId, Event, EventId, ServerId, StreamId, StreamKind};
use proto::control::v1 as pb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Cluster, eventually};
use crate::support::Owner;

struct Calls<'a> {
    cluster: &'a Cluster,
    owner: &'a Owner,
    journal: Journal,
}

impl<'a> Calls<'a> {
    fn new(cluster: &'a Cluster, owner: &'a Owner) -> Self {
        let bus: Arc<dyn Bus> = Arc::new(cluster.bus.clone());
        let journal = Journal::start(bus, JournalConfig::default(), CancellationToken::new());
        Self { cluster, owner, journal }
    }

    fn subject(&self) -> CallSubject {
        CallSubject {
            project: self.owner.project.clone(),
            server: ServerId::from_uuid(Uuid::from_u128(5)),
            server_name: "srv".into(),
            method: "tools/call".into(),
            target: "slow".into(),
            api_key: None,
            started_at: self.cluster.clock.now(),
        }
    }

    async fn record(&self, call: CallId, event: CallEvent) {
        let entry = Entry {
            stream: StreamId::new(self.owner.tenant, StreamKind::Call, call),
            event_id: EventId::from_uuid(Uuid::now_v7()),
            occurred_at: self.cluster.clock.now(),
            actor: Actor::System,
            event: Event::Call(event),
            body: Body::None,
            epoch: 0,
        };
        let outcome = self.journal.record(vec![entry.into_message().unwrap()]).await.unwrap();
        assert_eq!(outcome, [JournalOutcome::Recorded]);
    }

    async fn started(&self, edge: &str) -> CallId {
        let call = CallId::from_uuid(Uuid::now_v7());
        self.begin(call, edge).await;
        call
    }

    async fn begin(&self, call: CallId, edge: &str) {
        let started = CallStarted { subject: self.subject(), edge: edge.to_owned() };
        self.record(call, CallEvent::Started(started)).await;
    }

    async fn finished(&self, call: CallId) {
        let finished = CallFinished {
            subject: self.subject(),
            outcome: CallOutcome::Ok,
            error_code: 0,
            queue_us: 0,
            upstream_us: 0,
            total_us: 0,
            arguments_bytes: 0,
            result_bytes: 0,
            arguments_digest: String::new(),
            result_digest: String::new(),
            body_truncated: false,
            body_masked: false,
            client: String::new(),
            mcp_session: String::new(),
            attempts: 1,
        };
        self.record(call, CallEvent::Finished(finished)).await;
    }

    /// How the record of a call says that it ended; all records of it.
    async fn outcomes(&self, call: CallId) -> Vec<pb::CallOutcome> {
        let list = pb::ListCallsRequest {
            project_id: self.owner.project.to_string(),
            ..Default::default()
        };
        let calls = self.owner.caller.calls().list_calls(list).await.unwrap().into_inner().calls;
        let records = calls.into_iter().filter_map(|call| call.call);
        records.filter(|one| one.id == call.to_string()).map(|one| one.outcome()).collect()
    }

    async fn becomes(&self, call: CallId, outcome: pb::CallOutcome) {
        eventually(async || (self.outcomes(call).await == [outcome]).then_some(())).await;
    }
}

#[tokio::test]
async fn a_call_is_closed_as_unknown_when_its_edge_is_gone_and_not_before() {
    let cluster = Cluster::new();
    let (one, _other, owner) = cluster.two().await;
    one.lead(cluster.leader_lease("one").await);
    let calls = Calls::new(&cluster, &owner);
    let key = "edge.here".parse().unwrap();
    let here = cluster.bus.announce(key, Bytes::new()).await.unwrap();
    let (gone, alive) = (calls.started("gone").await, calls.started("here").await);
    let unsaid = calls.started("").await;
    calls.becomes(gone, pb::CallOutcome::Unknown).await;
    assert_eq!(calls.outcomes(alive).await, [pb::CallOutcome::Unspecified], "it goes on");
    drop(here);
    calls.becomes(alive, pb::CallOutcome::Unknown).await;
    assert_eq!(calls.outcomes(unsaid).await, [pb::CallOutcome::Unspecified]);
    cluster.clock.advance_seconds(2 * 86_400);
    eventually(async || {
        // A session of a day ago is none: asked of the views of the replica.
        let open = one.app.views().progress().position;
        let head = {
            use event_store::EventStore as _;
            cluster.store.head().await.unwrap()
        };
        (open == head && unknowns(&cluster).await == 3).then_some(())
    })
    .await;
}

/// How many calls are closed as unknown in the log.
async fn unknowns(cluster: &Cluster) -> usize {
    use event_store::EventStore as _;
    let filter = event_store::ReadFilter::all().kinds([StreamKind::Call]);
    let page = cluster.store.read(event_store::Position::START, &filter, 500).await.unwrap();
    let ends = page.events.iter().filter(|event| event.event_type == "call.finished");
    ends.filter(|event| String::from_utf8_lossy(&event.payload).contains("UNKNOWN")).count()
}

#[tokio::test]
async fn a_call_that_another_edge_took_over_goes_on() {
    let cluster = Cluster::new();
    let (one, _other, owner) = cluster.two().await;
    one.lead(cluster.leader_lease("one").await);
    let calls = Calls::new(&cluster, &owner);
    let _here = cluster.bus.announce("edge.here".parse().unwrap(), Bytes::new()).await.unwrap();
    let (kept, lost) = (calls.started("gone").await, CallId::from_uuid(Uuid::now_v7()));
    calls.begin(kept, "here").await;
    calls.begin(lost, "gone").await;
    calls.becomes(lost, pb::CallOutcome::Unknown).await;
    assert_eq!(calls.outcomes(kept).await, [pb::CallOutcome::Unspecified]);
    calls.finished(kept).await;
    calls.becomes(kept, pb::CallOutcome::Ok).await;
}

#[tokio::test]
async fn an_edge_that_was_only_stopped_says_how_its_call_ended_after_all() {
    let cluster = Cluster::new();
    let (one, _other, owner) = cluster.two().await;
    one.lead(cluster.leader_lease("one").await);
    let calls = Calls::new(&cluster, &owner);
    let call = calls.started("gone").await;
    calls.becomes(call, pb::CallOutcome::Unknown).await;
    calls.finished(call).await;
    calls.becomes(call, pb::CallOutcome::Ok).await;
}

#[tokio::test]
async fn an_edge_that_is_away_for_a_moment_loses_no_call() {
    let mut cluster = Cluster::new();
    cluster.edge_gone = std::time::Duration::from_secs(3_600);
    let (one, _other, owner) = cluster.two().await;
    one.follow();
    let calls = Calls::new(&cluster, &owner);
    calls.started("gone").await;
    cluster.clock.advance_seconds(2 * 86_400);
    calls.started("gone").await;
    cluster.caught_up(&one).await;
    one.lead(cluster.leader_lease("one").await);
    // Both are looked at together: one is too old, the other's edge may come back.
    eventually(async || (unknowns(&cluster).await > 0).then_some(())).await;
    assert_eq!(unknowns(&cluster).await, 1);
}

#[tokio::test]
async fn a_stale_leader_closes_nothing() {
    let cluster = Cluster::new();
    let (one, _other, owner) = cluster.two().await;
    let stale = cluster.leader_lease("one").await;
    cluster.clock.advance_seconds(61);
    cluster.leader_lease("other").await;
    let calls = Calls::new(&cluster, &owner);
    let call = calls.started("gone").await;
    one.lead(stale);
    eventually(async || (one.store.fenced() > 0).then_some(())).await;
    assert_eq!(calls.outcomes(call).await, [pb::CallOutcome::Unspecified]);
}

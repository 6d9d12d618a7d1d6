//! A log, and a control-plane's end of a replica: it serves snapshots of the log and publishes
//! from it, and can be made to fail at it.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use backplane::{Clock, subject};
use bus::{Bus, Event as BusEvent, InProcessBus};
use domain::event::{ProjectEvent, ServerEvent};
use domain::server::{Isolation, ServerConfig, ServerName, Transport};
use domain::{Event, ProjectId, ServerId, StreamId, StreamKind, TenantId, Timestamp, UserId};
use prost::Message;
use proto::internal::v1::{Beat, SnapshotFrame, SnapshotRequest, StoredEvent};
use tokio::sync::Semaphore;
use uuid::Uuid;

pub(crate) const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));

pub(crate) fn project() -> ProjectId {
    "search".parse().unwrap()
}

pub(crate) fn server(number: u128) -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(100 + number))
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) bus: InProcessBus,
    log: Arc<Mutex<Vec<StoredEvent>>>,
    now: Arc<AtomicI64>,
    /// Snapshots that were asked for.
    asked: Arc<AtomicUsize>,
    /// Snapshots to break off in the middle.
    broken: Arc<AtomicUsize>,
    /// Each snapshot takes a permit before its last frame.
    pub(crate) gate: Arc<Semaphore>,
}

impl World {
    /// A log with a project; nobody serves it yet.
    pub(crate) fn new() -> Self {
        let world = Self {
            bus: InProcessBus::default(),
            log: Arc::default(),
            now: Arc::new(AtomicI64::new(1_000_000)),
            asked: Arc::default(),
            broken: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        let owner = UserId::from_uuid(Uuid::from_u128(2));
        world.append(
            StreamKind::Project,
            project(),
            &Event::Project(ProjectEvent::Created {
                name: "Search".to_owned(),
                description: String::new(),
                owner,
            }),
        );
        world
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || Timestamp::from_micros(now.load(Ordering::SeqCst)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock())()
    }

    pub(crate) fn pass_millis(&self, millis: i64) {
        self.now.fetch_add(millis * 1_000, Ordering::SeqCst);
    }

    pub(crate) fn snapshots(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn break_snapshots(&self, count: usize) {
        self.broken.store(count, Ordering::SeqCst);
    }

    /// Writes an event and does not publish it.
    pub(crate) fn append(&self, kind: StreamKind, id: impl ToString, event: &Event) -> StoredEvent {
        let encoded = events::encode(event);
        let mut log = self.log.lock().unwrap();
        let previous = log.iter().rev().find(|event| is_configuration(event));
        let stream = StreamId::new(TENANT, kind, id);
        let stored = StoredEvent {
            position: log.len() as u64 + 1,
            tenant: stream.tenant.to_string(),
            kind: kind.to_string(),
            stream: stream.id,
            r#type: encoded.event_type.to_owned(),
            schema_version: encoded.schema_version,
            payload: encoded.payload,
            previous_configuration: previous.map_or(0, |event| event.position),
            ..StoredEvent::default()
        };
        log.push(stored.clone());
        stored
    }

    pub(crate) fn append_server(&self, number: u128, name: &str) -> StoredEvent {
        let config = ServerConfig {
            transport: Transport::Unset,
            launch: None,
            timeout_s: 30,
            read_timeout_s: None,
            auto_approve: vec![],
            isolation: Isolation::default(),
            placement_labels: Default::default(),
        };
        let name = ServerName::parse("name", name).unwrap();
        let event = ServerEvent::Registered { project: project(), name, config, disabled: true };
        self.append(StreamKind::Server, server(number), &Event::Server(event))
    }

    pub(crate) fn append_toggle(&self, number: u128) -> StoredEvent {
        let tool = "read".to_owned();
        let event = Event::Server(ServerEvent::ToolDisabled { tool });
        self.append(StreamKind::Server, server(number), &event)
    }

    pub(crate) async fn publish(&self, stored: StoredEvent) {
        let kind = stored.kind.parse().unwrap();
        let subject = subject::event(TENANT, kind, &stored.r#type).unwrap();
        self.bus.publish(BusEvent::new(subject, stored.encode_to_vec())).await.unwrap();
    }

    pub(crate) fn head(&self) -> Beat {
        let log = self.log.lock().unwrap();
        let last = log.iter().rev().find(|event| is_configuration(event));
        Beat { position: log.len() as u64, configuration: last.map_or(0, |event| event.position) }
    }

    pub(crate) async fn beat(&self) {
        let beat = BusEvent::new(subject::beat(), self.head().encode_to_vec());
        self.bus.publish(beat).await.unwrap();
    }

    /// Serves snapshots from now on.
    pub(crate) async fn serve_snapshots(&self) {
        let mut requests = self.bus.serve(subject::snapshot().into(), 4).await.unwrap();
        let world = self.clone();
        tokio::spawn(async move {
            while let Some(incoming) = requests.accept().await {
                let request = SnapshotRequest::decode(incoming.first).unwrap();
                assert_eq!(request.service, "edge");
                world.answer(&incoming.exchange).await;
            }
        });
    }

    async fn answer(&self, exchange: &bus::ServerSide) {
        let (events, position): (Vec<_>, _) = {
            let log = self.log.lock().unwrap();
            (log.iter().filter(|event| is_configuration(event)).cloned().collect(), log.len())
        };
        self.asked.fetch_add(1, Ordering::SeqCst);
        for chunk in events.chunks(2) {
            let frame = SnapshotFrame { events: chunk.to_vec(), position: 0, last: false };
            let _ = exchange.reply(frame.encode_to_vec().into()).await;
        }
        let breaks = self
            .broken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if breaks.is_ok() {
            return;
        }
        self.gate.acquire().await.unwrap().forget();
        let last = SnapshotFrame { events: vec![], position: position as u64, last: true };
        let _ = exchange.reply(last.encode_to_vec().into()).await;
        exchange.finish();
    }
}

fn is_configuration(event: &StoredEvent) -> bool {
    event.kind.parse::<StreamKind>().unwrap().is_configuration()
}

//! The record as the worker sees it: snapshots, published events, the journal and catalogues.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use backplane::entry::{Body, Entry, FENCED};
use backplane::subject;
use bus::{Bus, Event as Published, Incoming, Server};
use bytes::Bytes;
use domain::connection::Observation;
use domain::event::ConnectionEvent;
use domain::{Event, EventId, ServerId, StreamId, StreamKind, Timestamp};
use events::{Configuration, ConnectionView};
use prost::Message;
use proto::internal::v1::{
    CatalogueReply, CatalogueRequest, JournalOutcome, JournalReply, JournalRequest, SnapshotFrame,
    StoredEvent,
};
use tokio::sync::watch;

use super::{LIMIT, tenant};

pub(crate) struct Record {
    bus: Arc<dyn Bus>,
    kept: Mutex<Kept>,
    position: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    events: Vec<StoredEvent>,
    configuration: Configuration,
    observations: Vec<(ServerId, Observation)>,
    /// Under which epochs they were written.
    epochs: Vec<(ServerId, u64)>,
    /// The epochs below which nothing of a server is taken.
    fences: HashMap<ServerId, u64>,
    catalogues: HashMap<String, Bytes>,
    ids: HashSet<EventId>,
    /// How many answers still say that the record is away.
    doubts: usize,
    /// How many entries came again.
    repeated: usize,
}

impl Record {
    pub(crate) async fn start(bus: &Arc<dyn Bus>) -> Arc<Self> {
        let record = Arc::new(Self {
            bus: Arc::clone(bus),
            kept: Mutex::default(),
            position: watch::Sender::new(0),
        });
        for subject in [subject::snapshot(), subject::journal(), subject::catalogue()] {
            let server = bus.serve(subject.into(), 64).await.unwrap();
            tokio::spawn(Arc::clone(&record).serve(server));
        }
        record
    }

    async fn serve(self: Arc<Self>, mut server: Server) {
        while let Some(incoming) = server.accept().await {
            let reply = self.answer(&incoming).await;
            drop(incoming.exchange.reply(reply.into()).await);
            incoming.exchange.finish();
        }
    }

    async fn answer(&self, incoming: &Incoming) -> Vec<u8> {
        if incoming.subject == subject::snapshot() {
            let events = self.kept.lock().unwrap().events.clone();
            let position = events.len() as u64;
            return SnapshotFrame { events, position, last: true }.encode_to_vec();
        }
        if incoming.subject == subject::catalogue() {
            let request = CatalogueRequest::decode(incoming.first.clone()).unwrap();
            let found = self.catalogue(&request.hash);
            let reply =
                CatalogueReply { found: found.is_some(), catalogue: found.unwrap_or_default() };
            return reply.encode_to_vec();
        }
        let request = JournalRequest::decode(incoming.first.clone()).unwrap();
        let mut outcomes = Vec::new();
        for entry in request.entries {
            let entry = Entry::from_message(entry).unwrap();
            let server = entry.stream.id.parse().unwrap();
            if entry.epoch < self.fence(server) {
                outcomes
                    .push(JournalOutcome { refused: FENCED.to_owned(), message: String::new() });
                continue;
            }
            let (is_new, doubt) = self.admit(entry.event_id);
            outcomes.push(doubt);
            if !is_new {
                continue;
            }
            match (&entry.event, entry.body) {
                (Event::Connection(ConnectionEvent::StateObserved { observation, .. }), _) => {
                    let seen = (server, observation.clone());
                    let mut kept = self.kept.lock().unwrap();
                    kept.observations.push(seen);
                    kept.epochs.push((server, entry.epoch));
                }
                (
                    Event::Connection(ConnectionEvent::CatalogueObserved { summary, .. }),
                    Body::Catalogue(body),
                ) => {
                    self.kept.lock().unwrap().catalogues.insert(summary.hash.clone(), body);
                }
                other => panic!("a worker writes no {other:?}"),
            }
            self.append(StreamKind::Connection, server, entry.event).await;
        }
        JournalReply { outcomes }.encode_to_vec()
    }

    fn fence(&self, server: ServerId) -> u64 {
        self.kept.lock().unwrap().fences.get(&server).copied().unwrap_or_default()
    }

    /// From now on nothing of a server is taken that was seen under an epoch below.
    pub(crate) fn raise_fence(&self, server: ServerId, epoch: u64) {
        self.kept.lock().unwrap().fences.insert(server, epoch);
    }

    /// The epochs under which states of a server were written.
    pub(crate) fn epochs(&self, server: ServerId) -> Vec<u64> {
        let kept = self.kept.lock().unwrap();
        kept.epochs.iter().filter(|(id, _)| *id == server).map(|(_, epoch)| *epoch).collect()
    }

    /// Whether an entry is new, and what its writer is told.
    fn admit(&self, id: EventId) -> (bool, JournalOutcome) {
        let mut kept = self.kept.lock().unwrap();
        let is_new = kept.ids.insert(id);
        kept.repeated += usize::from(!is_new);
        if kept.doubts == 0 {
            return (is_new, JournalOutcome::default());
        }
        kept.doubts -= 1;
        let refused = "UNAVAILABLE".to_owned();
        (is_new, JournalOutcome { refused, message: String::new() })
    }

    /// From now on so many entries are taken, but said not to be.
    pub(crate) fn doubt(&self, entries: usize) {
        self.kept.lock().unwrap().doubts = entries;
    }

    /// How many entries came again.
    pub(crate) fn repeated(&self) -> usize {
        self.kept.lock().unwrap().repeated
    }

    /// Appends and publishes an event.
    pub(crate) async fn append(&self, kind: StreamKind, server: ServerId, event: Event) {
        let encoded = events::encode(&event);
        let (stored, position) = {
            let mut kept = self.kept.lock().unwrap();
            let position = kept.events.len() as u64 + 1;
            let stream = StreamId::new(tenant(), kind, server);
            kept.configuration.apply(&stream, &event, Timestamp::from_micros(1));
            let stored = StoredEvent {
                position,
                tenant: tenant().to_string(),
                kind: kind.to_string(),
                stream: server.to_string(),
                version: position,
                r#type: encoded.event_type.to_owned(),
                schema_version: encoded.schema_version,
                payload: encoded.payload,
                recorded_at_us: 1,
                event_id: position.to_string(),
                previous_configuration: position - 1,
                actor: None,
            };
            kept.events.push(stored.clone());
            (stored, position)
        };
        let subject = subject::event(tenant(), kind, encoded.event_type).unwrap();
        self.bus.publish(Published::new(subject, stored.encode_to_vec())).await.unwrap();
        self.position.send_replace(position);
    }

    /// The body of a catalogue.
    pub(crate) fn catalogue(&self, hash: &str) -> Option<Bytes> {
        self.kept.lock().unwrap().catalogues.get(hash).cloned()
    }

    /// Every state that was recorded of a server.
    pub(crate) fn observations(&self, server: ServerId) -> Vec<Observation> {
        let kept = self.kept.lock().unwrap();
        kept.observations.iter().filter(|(id, _)| *id == server).map(|(_, o)| o.clone()).collect()
    }

    /// Everything that was recorded, as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let kept = self.kept.lock().unwrap();
        let mut bytes: Vec<u8> =
            kept.events.iter().flat_map(|event| event.payload.to_vec()).collect();
        bytes.extend(kept.catalogues.values().flatten());
        bytes
    }

    pub(crate) async fn until(
        &self,
        server: ServerId,
        wanted: impl Fn(&ConnectionView) -> bool,
    ) -> Arc<ConnectionView> {
        let mut position = self.position.subscribe();
        let view = || self.kept.lock().unwrap().configuration.connection(&server);
        let found = async {
            loop {
                position.borrow_and_update();
                let view = view();
                if wanted(&view) {
                    return view;
                }
                position.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(LIMIT, found).await;
        found.unwrap_or_else(|_| panic!("not so, but {:?}", view()))
    }
}

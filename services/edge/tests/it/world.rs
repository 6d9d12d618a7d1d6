//! A log, and the control-plane's end of the bus: snapshots, published events, beats, catalogues
//! and the journal.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use backplane::entry::{Body, Entry};
use backplane::{Clock, subject};
use bus::{Bus, Event as BusEvent, InProcessBus};
use bytes::Bytes;
use domain::api_key::KeyHash;
use domain::call::CallFinished;
use domain::connection::{CatalogueSummary, ConnectionState, Observation};
use domain::event::{
    AccessEvent, ApiKeyEvent, CallEvent, ConnectionEvent, ProjectEvent, ServerEvent,
};
use domain::project::ProjectSettings;
use domain::server::{Isolation, ServerConfig, ServerName, Transport};
use domain::{ApiKeyId, Event, ProjectId, Role, ServerId, StreamKind, TenantId, Timestamp, UserId};
use prost::Message;
use proto::internal::v1::{
    Beat, CatalogueReply, CatalogueRequest, JournalOutcome, JournalReply, JournalRequest,
    SnapshotFrame, StoredEvent,
};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use uuid::Uuid;

pub(crate) const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
pub(crate) const OTHER_TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(2));
pub(crate) const OWNER: UserId = UserId::from_uuid(Uuid::from_u128(3));
pub(crate) const REPORTER: UserId = UserId::from_uuid(Uuid::from_u128(4));

pub(crate) const KEY: &str = "api_key_owner";
pub(crate) const REPORTER_KEY: &str = "api_key_reporter";
pub(crate) const OTHER_KEY: &str = "api_key_of_another_tenant";

pub(crate) fn project() -> ProjectId {
    "search".parse().unwrap()
}

pub(crate) fn other_project() -> ProjectId {
    "other".parse().unwrap()
}

pub(crate) fn server(number: u128) -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(100 + number))
}

/// A key's id, made from the key.
pub(crate) fn key_id(key: &str) -> ApiKeyId {
    let hash = hash(key).0;
    ApiKeyId::from_uuid(Uuid::from_slice(&hash[..16]).unwrap())
}

fn hash(key: &str) -> KeyHash {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    KeyHash(digest.as_ref().try_into().unwrap())
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) bus: InProcessBus,
    log: Arc<Mutex<Vec<StoredEvent>>>,
    now: Arc<AtomicI64>,
    catalogues: Arc<Mutex<HashMap<String, Bytes>>>,
    /// What is in the journal, in order.
    pub(crate) journal: Arc<Mutex<Vec<Entry>>>,
    /// Each answer of the journal takes a permit.
    pub(crate) journal_gate: Arc<Semaphore>,
    /// Requests to the journal that are not answered yet.
    pub(crate) pending: Arc<AtomicUsize>,
    /// Whether the journal refuses everything.
    pub(crate) journal_refuses: Arc<AtomicBool>,
    /// Whether it says, when it refuses, that its store is away.
    pub(crate) store_away: Arc<AtomicBool>,
    /// Entries that were refused.
    pub(crate) refused: Arc<AtomicUsize>,
    journal_server: Arc<Mutex<Option<AbortHandle>>>,
    /// Whether catalogues cannot be had.
    pub(crate) catalogues_away: Arc<AtomicBool>,
}

impl World {
    /// Two tenants with a project each, and the keys above.
    pub(crate) async fn start() -> Self {
        let world = Self {
            bus: InProcessBus::default(),
            log: Arc::default(),
            now: Arc::new(AtomicI64::new(1_000_000_000_000)),
            catalogues: Arc::default(),
            journal: Arc::default(),
            journal_gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            pending: Arc::default(),
            journal_refuses: Arc::default(),
            store_away: Arc::default(),
            refused: Arc::default(),
            journal_server: Arc::default(),
            catalogues_away: Arc::default(),
        };
        for (tenant, project) in [(TENANT, project()), (OTHER_TENANT, other_project())] {
            let created = ProjectEvent::Created {
                name: "P".to_owned(),
                description: String::new(),
                owner: OWNER,
            };
            world.append(tenant, StreamKind::Project, &project, &Event::Project(created));
        }
        let reporter = ProjectEvent::MemberAdded { user: REPORTER, role: Role::Reporter };
        world.append(TENANT, StreamKind::Project, project(), &Event::Project(reporter));
        world.append_key(TENANT, &project(), KEY, Role::Owner, OWNER, None);
        world.append_key(TENANT, &project(), REPORTER_KEY, Role::Owner, REPORTER, None);
        world.append_key(OTHER_TENANT, &other_project(), OTHER_KEY, Role::Owner, OWNER, None);
        world.serve_snapshots().await;
        world.serve_catalogues().await;
        world.serve_journal().await;
        world
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || Timestamp::from_micros(now.load(Ordering::SeqCst)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock())()
    }

    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.now.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    fn append(
        &self,
        tenant: TenantId,
        kind: StreamKind,
        id: impl ToString,
        event: &Event,
    ) -> StoredEvent {
        let encoded = events::encode(event);
        let mut log = self.log.lock().unwrap();
        let stored = StoredEvent {
            position: log.len() as u64 + 1,
            previous_configuration: log.len() as u64,
            tenant: tenant.to_string(),
            kind: kind.to_string(),
            stream: id.to_string(),
            r#type: encoded.event_type.to_owned(),
            schema_version: encoded.schema_version,
            payload: encoded.payload,
            ..StoredEvent::default()
        };
        log.push(stored.clone());
        stored
    }

    async fn publish(&self, stored: StoredEvent) {
        let tenant = stored.tenant.parse().unwrap();
        let kind = stored.kind.parse().unwrap();
        let subject = subject::event(tenant, kind, &stored.r#type).unwrap();
        self.bus.publish(BusEvent::new(subject, stored.encode_to_vec())).await.unwrap();
        self.beat().await;
    }

    pub(crate) async fn beat(&self) {
        let position = self.position();
        let beat = Beat { position, configuration: position };
        let beat = BusEvent::new(subject::beat(), beat.encode_to_vec());
        self.bus.publish(beat).await.unwrap();
    }

    /// The last event's position.
    pub(crate) fn position(&self) -> u64 {
        self.log.lock().unwrap().len() as u64
    }

    fn append_key(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        key: &str,
        role: Role,
        creator: UserId,
        expires_at: Option<Timestamp>,
    ) -> StoredEvent {
        let issued = ApiKeyEvent::Issued {
            project: project.clone(),
            name: "k".to_owned(),
            hash: hash(key),
            suffix: "1234".to_owned(),
            role,
            creator,
            expires_at,
        };
        self.append(tenant, StreamKind::ApiKey, key_id(key), &Event::ApiKey(issued))
    }

    /// A key of the project, of its Owner.
    pub(crate) async fn issue(&self, key: &str, role: Role, expires_at: Option<Timestamp>) {
        let stored = self.append_key(TENANT, &project(), key, role, OWNER, expires_at);
        self.publish(stored).await;
    }

    pub(crate) async fn revoke(&self, key: &str) {
        let event = Event::ApiKey(ApiKeyEvent::Revoked);
        let stored = self.append(TENANT, StreamKind::ApiKey, key_id(key), &event);
        self.publish(stored).await;
    }

    /// The key is revoked, and the event is lost on its way.
    pub(crate) fn revoke_unheard(&self, key: &str) {
        let event = Event::ApiKey(ApiKeyEvent::Revoked);
        self.append(TENANT, StreamKind::ApiKey, key_id(key), &event);
    }

    pub(crate) async fn change_project(&self, event: ProjectEvent) {
        let event = Event::Project(event);
        let stored = self.append(TENANT, StreamKind::Project, project(), &event);
        self.publish(stored).await;
    }

    pub(crate) async fn set(&self, settings: ProjectSettings) {
        let settings = Some(settings);
        self.change_project(ProjectEvent::Changed { name: None, description: None, settings })
            .await;
    }

    pub(crate) async fn change_server(&self, number: u128, event: ServerEvent) {
        let event = Event::Server(event);
        let stored = self.append(TENANT, StreamKind::Server, server(number), &event);
        self.publish(stored).await;
    }

    /// Registers a server of which nothing was seen yet.
    pub(crate) async fn register(&self, number: u128, name: &str) {
        self.register_as(number, name, Isolation::Shared).await;
    }

    pub(crate) async fn register_as(&self, number: u128, name: &str, isolation: Isolation) {
        let config = ServerConfig {
            transport: Transport::Unset,
            launch: None,
            timeout_s: 30,
            read_timeout_s: None,
            auto_approve: vec![],
            isolation,
            placement_labels: Default::default(),
        };
        let name = ServerName::parse("name", name).unwrap();
        let event = ServerEvent::Registered { project: project(), name, config, disabled: false };
        self.change_server(number, event).await;
    }

    async fn observe(&self, number: u128, event: ConnectionEvent) {
        let event = Event::Connection(event);
        let stored = self.append(TENANT, StreamKind::Connection, server(number), &event);
        self.publish(stored).await;
    }

    pub(crate) async fn observe_state(&self, number: u128, state: ConnectionState, cause: &str) {
        let observation = Observation { state, cause: cause.to_owned(), ..Observation::default() };
        self.observe(number, ConnectionEvent::StateObserved { project: project(), observation })
            .await;
    }

    /// Shows a catalogue: raw items of tools, resources and prompts.
    pub(crate) async fn observe_catalogue(&self, number: u128, tools: &[String]) {
        let catalogue = format!(
            r#"{{"protocolVersion":"2025-06-18","capabilities":{{"tools":{{}}}},"tools":[{}],"resources":[{{"uri":"file:///a","name":"a"}}],"resourceTemplates":[{{"uriTemplate":"file:///{{x}}","name":"t"}}],"prompts":[{{"name":"greet"}}]}}"#,
            tools.join(",")
        );
        self.observe_whole_catalogue(number, &catalogue).await;
    }

    /// Shows a stored catalogue as it is.
    pub(crate) async fn observe_whole_catalogue(&self, number: u128, catalogue: &str) {
        self.observe_summary(number, catalogue, CatalogueSummary::default()).await;
    }

    /// The same, with more of what is known of it.
    pub(crate) async fn observe_summary(
        &self,
        number: u128,
        catalogue: &str,
        summary: CatalogueSummary,
    ) {
        let hash = format!("{:x}-{number}", self.position());
        let kept = Bytes::copy_from_slice(catalogue.as_bytes());
        self.catalogues.lock().unwrap().insert(hash.clone(), kept);
        let summary = CatalogueSummary { hash, ..summary };
        self.observe(number, ConnectionEvent::CatalogueObserved { project: project(), summary })
            .await;
    }

    /// A server with these tools.
    pub(crate) async fn add(&self, number: u128, name: &str, tools: &[&str]) {
        self.register(number, name).await;
        let tools: Vec<_> = tools.iter().map(|tool| format!(r#"{{"name":"{tool}"}}"#)).collect();
        self.observe_catalogue(number, &tools).await;
    }

    /// A server with these capabilities and a tool, `find`.
    pub(crate) async fn add_with(
        &self,
        number: u128,
        name: &str,
        isolation: Isolation,
        capabilities: &str,
    ) {
        self.register_as(number, name, isolation).await;
        let catalogue = catalogue(capabilities, &["find"]);
        self.observe_whole_catalogue(number, &catalogue).await;
    }

    async fn serve_snapshots(&self) {
        let mut requests = self.bus.serve(subject::snapshot().into(), 4).await.unwrap();
        let world = self.clone();
        tokio::spawn(async move {
            while let Some(incoming) = requests.accept().await {
                let events = world.log.lock().unwrap().clone();
                let position = events.len() as u64;
                let frame = SnapshotFrame { events, position, last: true };
                let _ = incoming.exchange.reply(frame.encode_to_vec().into()).await;
                incoming.exchange.finish();
            }
        });
    }

    async fn serve_catalogues(&self) {
        let mut requests = self.bus.serve(subject::catalogue().into(), 64).await.unwrap();
        let world = self.clone();
        tokio::spawn(async move {
            while let Some(incoming) = requests.accept().await {
                if world.catalogues_away.load(Ordering::SeqCst) {
                    continue;
                }
                let request = CatalogueRequest::decode(incoming.first).unwrap();
                let kept = world.catalogues.lock().unwrap().get(&request.hash).cloned();
                let found = kept.is_some();
                let reply = CatalogueReply { found, catalogue: kept.unwrap_or_default() };
                let _ = incoming.exchange.reply(reply.encode_to_vec().into()).await;
                incoming.exchange.finish();
            }
        });
    }

    /// Nobody takes what is to be recorded any more, until it is served again.
    pub(crate) fn stop_journal(&self) {
        if let Some(server) = self.journal_server.lock().unwrap().take() {
            server.abort();
        }
    }

    pub(crate) async fn serve_journal(&self) {
        let mut requests = self.bus.serve(subject::journal().into(), 64).await.unwrap();
        let world = self.clone();
        let server = tokio::spawn(async move {
            while let Some(incoming) = requests.accept().await {
                let world = world.clone();
                tokio::spawn(async move {
                    let request = JournalRequest::decode(incoming.first.clone()).unwrap();
                    world.pending.fetch_add(1, Ordering::SeqCst);
                    world.journal_gate.acquire().await.unwrap().forget();
                    world.pending.fetch_sub(1, Ordering::SeqCst);
                    let reply = world.write(request);
                    let _ = incoming.exchange.reply(reply.encode_to_vec().into()).await;
                    incoming.exchange.finish();
                });
            }
        });
        *self.journal_server.lock().unwrap() = Some(server.abort_handle());
    }

    fn write(&self, request: JournalRequest) -> JournalReply {
        let refused = match (
            self.journal_refuses.load(Ordering::SeqCst),
            self.store_away.load(Ordering::SeqCst),
        ) {
            (_, true) => "UNAVAILABLE",
            (true, false) => "INTERNAL",
            (false, false) => "",
        };
        let outcome = JournalOutcome { refused: refused.to_owned(), message: String::new() };
        let outcomes = vec![outcome; request.entries.len()];
        if !refused.is_empty() {
            self.refused.fetch_add(request.entries.len(), Ordering::SeqCst);
        }
        if refused.is_empty() {
            let mut journal = self.journal.lock().unwrap();
            for entry in request.entries {
                let entry = Entry::from_message(entry).unwrap();
                // The same event id twice is one event.
                if journal.iter().all(|known| known.event_id != entry.event_id) {
                    journal.push(entry);
                }
            }
        }
        JournalReply { outcomes }
    }

    /// The calls that ended, with their arguments and results.
    pub(crate) fn finished(&self) -> Vec<(CallFinished, Bytes, Bytes)> {
        let journal = self.journal.lock().unwrap();
        let finished = journal.iter().filter_map(|entry| match (&entry.event, &entry.body) {
            (Event::Call(CallEvent::Finished(event)), Body::Call { arguments, result }) => {
                Some((event.clone(), arguments.clone(), result.clone()))
            }
            _ => None,
        });
        finished.collect()
    }

    pub(crate) fn started(&self) -> usize {
        let journal = self.journal.lock().unwrap();
        let is_start = |entry: &&Entry| matches!(entry.event, Event::Call(CallEvent::Started(_)));
        journal.iter().filter(is_start).count()
    }

    /// The edges that said that they forward a call.
    pub(crate) fn started_at(&self) -> Vec<String> {
        let journal = self.journal.lock().unwrap();
        let edges = journal.iter().filter_map(|entry| match &entry.event {
            Event::Call(CallEvent::Started(started)) => Some(started.edge.clone()),
            _ => None,
        });
        edges.collect()
    }

    /// Denials: whose, reason, target.
    pub(crate) fn denials(&self) -> Vec<(TenantId, String, String)> {
        let journal = self.journal.lock().unwrap();
        let denials = journal.iter().filter_map(|entry| match &entry.event {
            Event::Access(AccessEvent::Denied { reason, target, .. }) => {
                Some((entry.stream.tenant, reason.clone(), target.clone()))
            }
            _ => None,
        });
        denials.collect()
    }
}

/// A stored catalogue.
pub(crate) fn catalogue(capabilities: &str, tools: &[&str]) -> String {
    let tools: Vec<_> = tools.iter().map(|tool| format!(r#"{{"name":"{tool}"}}"#)).collect();
    format!(
        r#"{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"tools":[{}],"resources":[{{"uri":"file:///a","name":"a"}}],"resourceTemplates":[],"prompts":[{{"name":"greet"}}]}}"#,
        tools.join(",")
    )
}

//! From a command to its events: load, decide, append, wait for the views.
//!
//! What always holds: the decision is made on the version that the append expects; a conflict
//! reloads and decides anew, at most [`MAX_ATTEMPTS`] times, and is then said to be one; an
//! append whose outcome is unknown is repeated with the same event ids and so is made once; a
//! command that is repeated with its idempotency key is one command.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use domain::api_key::ApiKey;
use domain::event::{ApiKeyEvent, OrganizationEvent, ProjectEvent, ServerEvent, UserEvent};
use domain::organization::Organization;
use domain::project::Project;
use domain::server::Server;
use domain::user::User;
use domain::{Actor, ErrorCode, Event, EventId, Refusal, StreamId, StreamKind, TenantId};
use event_store::{
    Append, AppendError, Appended, Expected, Idempotency, NewEvent, Position, ReservationChange,
};

use crate::app::App;
use crate::context::Ctx;
use crate::fault;

/// How often a command is decided before a conflict is answered.
pub const MAX_ATTEMPTS: u32 = 5;
/// Seconds for which an idempotency key is remembered: one day.
pub const IDEMPOTENCY_SECONDS: i64 = 86_400;
/// Longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;

/// What the shell must know of an aggregate.
pub(crate) trait Aggregate: Default + Send + Sync {
    /// Its events.
    type Event: Send;
    /// Its streams.
    const KIND: StreamKind;
    /// The aggregate's own rule.
    fn evolve(self, event: &Self::Event) -> Self;
    /// Its event out of any event.
    fn unwrap(event: Event) -> Option<Self::Event>;
    /// Any event out of its event.
    fn wrap(event: Self::Event) -> Event;
}

macro_rules! aggregates {
    ($($state:ident: $event:ident = $module:ident, $kind:ident;)*) => {$(
        impl Aggregate for $state {
            type Event = $event;
            const KIND: StreamKind = StreamKind::$kind;
            fn evolve(self, event: &$event) -> Self {
                domain::$module::evolve(self, event)
            }
            fn unwrap(event: Event) -> Option<$event> {
                match event {
                    Event::$kind(event) => Some(event),
                    _ => None,
                }
            }
            fn wrap(event: $event) -> Event {
                Event::$kind(event)
            }
        }
    )*};
}

aggregates! {
    Organization: OrganizationEvent = organization, Organization;
    User: UserEvent = user, User;
    Project: ProjectEvent = project, Project;
    Server: ServerEvent = server, Server;
    ApiKey: ApiKeyEvent = api_key, ApiKey;
}

/// What a decision wants to have written.
pub(crate) struct Plan<E> {
    /// The events; none when nothing changes.
    pub(crate) events: Vec<E>,
    /// Names taken and freed with them.
    pub(crate) reservations: Vec<ReservationChange>,
}

impl<E> From<Vec<E>> for Plan<E> {
    fn from(events: Vec<E>) -> Self {
        Self { events, reservations: Vec::new() }
    }
}

/// A command that was carried out, now or before under the same idempotency key.
#[derive(Debug)]
pub(crate) struct Done {
    /// The id of the stream it went to.
    pub(crate) id: String,
    /// Carried out before.
    pub(crate) replayed: bool,
    /// The versions that its events have in the stream; none when nothing changed.
    pub(crate) versions: Option<RangeInclusive<u64>>,
}

/// Which stream a command is for, and under which key.
pub(crate) struct Target {
    /// The stream.
    pub(crate) stream: StreamId,
    /// The command's key.
    pub(crate) idempotency: Option<Idempotency>,
}

impl Target {
    /// The stream of `A` named `id` in `tenant`, without a key.
    pub(crate) fn of<A: Aggregate>(tenant: TenantId, id: impl ToString) -> Self {
        Self { stream: StreamId::new(tenant, A::KIND, id), idempotency: None }
    }

    /// The same, under a key.
    pub(crate) fn under(self, idempotency: Option<Idempotency>) -> Self {
        Self { idempotency, ..self }
    }
}

/// A digest over a command's name and fields, under a key of the tenant: it tells whether two
/// requests are the same and nothing about what is in them.
pub(crate) struct Fingerprint(Vec<u8>);

impl Fingerprint {
    /// Begins with the command's name.
    pub(crate) fn of(command: &str) -> Self {
        Self(Vec::new()).text(command)
    }

    /// Adds a field.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds a field by what it looks like.
    pub(crate) fn debug(self, value: &dyn std::fmt::Debug) -> Self {
        self.text(&format!("{value:?}"))
    }
}

/// The idempotency of a command, if the caller gave a key. Keys of different callers differ.
pub(crate) async fn idempotency(
    app: &App,
    ctx: &Ctx,
    key: Option<&str>,
    fingerprint: Fingerprint,
) -> Result<Option<Idempotency>, Refusal> {
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
    if key.len() > MAX_IDEMPOTENCY_KEY || key.chars().any(char::is_control) {
        return Err(Refusal::invalid("idempotency_key", "must have at most 128 characters"));
    }
    let actor = ctx.actor();
    Ok(Some(Idempotency {
        key: format!("{}:{}:{key}", actor.kind(), actor.id()),
        request_hash: app.digests.of(app, ctx.tenant).await?.digest(&fingerprint.0),
        expires_at: ctx.now.plus_seconds(IDEMPOTENCY_SECONDS),
    }))
}

/// The former result of a repeated command, with the views up to it.
pub(crate) async fn former(
    app: &App,
    tenant: TenantId,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Done>, Refusal> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    let former = app
        .store
        .former(tenant, &idempotency.key, &idempotency.request_hash)
        .await
        .map_err(fault::append)?;
    match former {
        Some(appended) => finish(app, &appended, true).await.map(Some),
        None => Ok(None),
    }
}

/// Carries out a command on an aggregate.
pub(crate) async fn execute<A: Aggregate>(
    app: &App,
    ctx: &Ctx,
    target: Target,
    mut decide: impl FnMut(&A) -> Result<Plan<A::Event>, Refusal> + Send,
) -> Result<Done, Refusal> {
    let tenant = target.stream.tenant;
    if let Some(done) = former(app, tenant, target.idempotency.as_ref()).await? {
        return Ok(done);
    }
    for _ in 0..MAX_ATTEMPTS {
        let (state, version) = load::<A>(app, &target.stream).await?;
        let plan = decide(&state)?;
        if plan.events.is_empty() {
            return Ok(Done { id: target.stream.id, replayed: false, versions: None });
        }
        let events = plan.events.into_iter().map(|event| new_event(app, ctx, &A::wrap(event)));
        let append = Append {
            stream: target.stream.clone(),
            expected: Expected::Exactly(version),
            events: events.collect(),
            idempotency: target.idempotency.clone(),
            reservations: plan.reservations,
            fence: None,
        };
        match append_once(app, append).await {
            Ok(appended) => return finish(app, &appended, appended.replayed).await,
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(fault::append(error)),
        }
    }
    Err(Refusal::new(
        ErrorCode::Conflict,
        "too many changed the same thing at the same time: read it again and retry",
    ))
}

/// Appends an event that needs no decision, such as a denial or a login. As with a command, who
/// looks afterwards finds it.
pub(crate) async fn note(
    app: &App,
    ctx: &Ctx,
    stream: StreamId,
    event: &Event,
) -> Result<Appended, Refusal> {
    let append = Append::new(stream, Expected::Any, vec![new_event(app, ctx, event)]);
    let appended = append_once(app, append).await.map_err(fault::append)?;
    let position = app.store.wait_position(&appended).await.map_err(fault::store)?;
    read_back(app, position).await?;
    Ok(appended)
}

/// The state of an aggregate and its version.
pub(crate) async fn load<A: Aggregate>(app: &App, stream: &StreamId) -> Result<(A, u64), Refusal> {
    let (mut state, mut version) = (A::default(), 0);
    loop {
        let page = app
            .store
            .read_stream(stream, version, event_store::MAX_PAGE_EVENTS)
            .await
            .map_err(fault::store)?;
        let Some(last) = page.last() else { return Ok((state, version)) };
        version = last.version;
        for recorded in &page {
            let event =
                events::decode(&recorded.event_type, recorded.schema_version, &recorded.payload)
                    .map_err(|error| fault::internal(&error))?;
            let own = A::unwrap(event)
                .ok_or_else(|| fault::internal(&format!("foreign event in {stream}")))?;
            state = state.evolve(&own);
        }
    }
}

/// The events that a command made.
pub(crate) async fn made<A: Aggregate>(
    app: &App,
    tenant: TenantId,
    done: &Done,
) -> Result<Vec<A::Event>, Refusal> {
    let Some(versions) = done.versions.clone() else { return Ok(Vec::new()) };
    let stream = StreamId::new(tenant, A::KIND, &done.id);
    let (mut after, mut made) = (versions.start().saturating_sub(1), Vec::new());
    while after < *versions.end() {
        let wanted = usize::try_from(versions.end() - after).unwrap_or(usize::MAX);
        let page = app.store.read_stream(&stream, after, wanted).await.map_err(fault::store)?;
        let Some(last) = page.last() else { break };
        after = last.version;
        for recorded in &page {
            let event =
                events::decode(&recorded.event_type, recorded.schema_version, &recorded.payload)
                    .map_err(|error| fault::internal(&error))?;
            made.extend(A::unwrap(event));
        }
    }
    Ok(made)
}

/// Waits until the views have taken in `position`.
pub(crate) async fn read_back(app: &App, position: Position) -> Result<(), Refusal> {
    let reached = app.views.reached(position);
    match tokio::time::timeout(app.read_back, reached).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Refusal::new(
            ErrorCode::Unavailable,
            format!("done and recorded at position {position}, but the views are behind"),
        )),
    }
}

fn new_event(app: &App, ctx: &Ctx, event: &Event) -> NewEvent {
    let encoded = events::encode(event);
    let actor = ctx.actor();
    NewEvent {
        id: EventId::from_uuid(app.new_id()),
        event_type: Cow::Borrowed(encoded.event_type),
        schema_version: encoded.schema_version,
        payload: encoded.payload,
        occurred_at: ctx.now,
        actor_type: Cow::Borrowed(actor.kind()),
        actor_id: actor.id(),
        causation_id: None,
        correlation_id: Some(ctx.correlation.clone()),
        body: None,
    }
}

/// An event of the process's own work, of now.
pub(crate) fn system_event(app: &App, event: &Event) -> NewEvent {
    let encoded = events::encode(event);
    NewEvent {
        id: EventId::from_uuid(app.new_id()),
        event_type: Cow::Borrowed(encoded.event_type),
        schema_version: encoded.schema_version,
        payload: encoded.payload,
        occurred_at: app.now(),
        actor_type: Cow::Borrowed(Actor::System.kind()),
        actor_id: Actor::System.id(),
        causation_id: None,
        correlation_id: None,
        body: None,
    }
}

/// Appends; an unknown outcome is found out by the same event ids.
async fn append_once(app: &App, append: Append) -> Result<Appended, AppendError> {
    let mut attempts = 0;
    loop {
        match app.store.append(append.clone()).await {
            Err(AppendError::OutcomeUnknown { .. }) if attempts < MAX_ATTEMPTS => attempts += 1,
            result => return result,
        }
    }
}

async fn finish(app: &App, appended: &Appended, replayed: bool) -> Result<Done, Refusal> {
    let position = app.store.wait_position(appended).await.map_err(fault::store)?;
    read_back(app, position).await?;
    let versions = Some(appended.first_version..=appended.last_version);
    Ok(Done { id: appended.stream.id.clone(), replayed, versions })
}

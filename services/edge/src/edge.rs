//! The edge as a component: built from its ports, run until it is told to stop.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use authz::Authorizer;
use axum::Router;
use backplane::{Clock, Journal, Notice, ReplicaHandle};
use bus::{Bus, SharedMemory};
use domain::server::Isolation;
use domain::{ProjectId, ServerId};
use events::ChangeKind;
use futures::FutureExt;
use futures::future::BoxFuture;
use mcp::ListKind;
use mcp::server::list_changed;
use metrics::{describe_counter, describe_gauge};
use secrecy::SecretBox;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attachments::{Attachment, Attachments, attach_all};
use crate::auth::is_still_allowed;
use crate::config::EdgeConfig;
use crate::denial::Denials;
use crate::merged::Catalogues;
use crate::origin::OriginRules;
use crate::outbox::Undelivered;
use crate::roaming::{self, Roaming};
use crate::scope::Scope;
use crate::session::{Cause, Session, Sessions};
use crate::stateless::Stateless;
use crate::view::tell_changes;

/// How long changes gather before clients are told.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How often it is looked at what ends by itself, and what is missing asked for again.
const SWEEP: Duration = Duration::from_secs(1);
/// How long it may take after the grace period to give up the sessions that are left.
const GIVE_UP: Duration = Duration::from_secs(5);

/// What an edge is built on.
pub struct EdgeDeps {
    /// The way to workers and the control-plane.
    pub bus: Arc<dyn Bus>,
    /// The configuration in memory.
    pub replica: ReplicaHandle,
    /// Where calls and denials are recorded.
    pub journal: Journal,
    /// What a role may do.
    pub authorizer: Arc<Authorizer>,
    /// What time it is.
    pub clock: Clock,
    /// What the edges share of their sessions; an edge that is alone does not use it.
    pub shared: Arc<dyn SharedMemory>,
    /// What signs the states that stateless clients bring back: one for all edges.
    pub state_key: SecretBox<[u8; 32]>,
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) config: EdgeConfig,
    pub(crate) origins: OriginRules,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) replica: ReplicaHandle,
    pub(crate) journal: Journal,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) clock: Clock,
    pub(crate) catalogues: Catalogues,
    pub(crate) sessions: Sessions,
    pub(crate) stateless: Stateless,
    pub(crate) denials: Denials,
    /// Where edges share their sessions.
    pub(crate) roaming: Option<Arc<Roaming>>,
    /// To servers that clients share.
    pub(crate) attachments: Attachments,
    pub(crate) permits: Arc<Semaphore>,
    /// Tasks that answer over a stream.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when no new request is taken.
    pub(crate) draining: CancellationToken,
    /// Cancelled when streams end.
    pub(crate) closing: CancellationToken,
}

/// The MCP endpoints of all projects.
#[derive(Clone)]
pub struct Edge {
    shared: Arc<Shared>,
}

impl Edge {
    /// Puts an edge together, inside a runtime. It serves nobody yet.
    pub fn build(config: EdgeConfig, deps: EdgeDeps) -> Self {
        describe();
        let roaming = config.shared_sessions.then(|| {
            let (bus, memory, clock) = (&deps.bus, &deps.shared, &deps.clock);
            let forwards = config.limits.forwards;
            Roaming::start(Arc::clone(bus), Arc::clone(memory), Arc::clone(clock), forwards)
        });
        let shared = Shared {
            origins: OriginRules::new(&config),
            catalogues: Catalogues::new(Arc::clone(&deps.bus), deps.replica.clone()),
            sessions: Sessions::new(config.limits.clone(), roaming.clone()),
            stateless: Stateless::new(&config.limits.stateless, &deps.state_key),
            roaming,
            permits: Arc::new(Semaphore::new(config.limits.calls_in_flight)),
            denials: Denials::default(),
            attachments: Attachments::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            bus: deps.bus,
            replica: deps.replica,
            journal: deps.journal,
            authorizer: deps.authorizer,
            clock: deps.clock,
            config,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The endpoints.
    pub fn router(&self) -> Router {
        crate::http::router(Arc::clone(&self.shared))
    }

    /// Follows changes and keeps sessions in order until `shutdown` is cancelled; then takes no
    /// new requests, lets calls finish within `grace`, and ends all streams.
    pub async fn run(&self, shutdown: CancellationToken, grace: Duration) {
        let mut changes = self.shared.replica.changes();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = Changed::default();
        // Beside the loop: what is no longer allowed ends at once, however long telling takes.
        let mut telling: Option<BoxFuture<'_, ()>> = None;
        let mut keeping: Option<BoxFuture<'_, ()>> = None;
        let there = self.be_there();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = sweep.tick() => {
                    self.sweep(&mut changed);
                    if self.shared.roaming.is_some() && keeping.is_none() {
                        keeping = Some(roaming::keep(&self.shared).boxed());
                    }
                }
                () = finished(&mut keeping), if keeping.is_some() => keeping = None,
                notice = changes.next() => match notice {
                    Some(notice) => self.note(&mut changed, &notice),
                    None => break,
                },
                () = finished(&mut telling), if telling.is_some() => telling = None,
                () = tokio::time::sleep_until(changed.due),
                    if changed.is_some() && telling.is_none() =>
                {
                    telling = Some(self.tell(std::mem::take(&mut changed)).boxed());
                }
            }
        }
        drop((telling, keeping));
        self.drain(grace).await;
        there.cancel();
    }

    /// Is there for other edges, until that is cancelled.
    fn be_there(&self) -> CancellationToken {
        let end = CancellationToken::new();
        if let Some(roaming) = &self.shared.roaming {
            let serving = roaming::serve(Arc::clone(roaming), self.router(), end.clone());
            tokio::spawn(serving);
        }
        end
    }

    fn sweep(&self, changed: &mut Changed) {
        self.shared.sessions.sweep();
        self.sweep_attachments();
        self.shared.stateless.sweep((self.shared.clock)());
        // Keys expire without a notice.
        self.end_revoked(|_| true);
        for scope in self.shared.catalogues.missing() {
            changed.begin();
            changed.projects.insert(scope.project().clone());
            changed.missing.insert(scope);
        }
    }

    fn sweep_attachments(&self) {
        let configuration = self.shared.replica.read();
        let is_shared = |server: &ServerId| {
            configuration.server(server).is_some_and(|entry| {
                !entry.server.disabled && entry.server.config.isolation == Isolation::Shared
            })
        };
        self.shared.attachments.sweep(is_shared);
        metrics::gauge!("mcp_orch_attachments").set(self.shared.attachments.len() as f64);
    }

    fn note(&self, changed: &mut Changed, notice: &Notice) {
        let catalogues = &self.shared.catalogues;
        match notice {
            Notice::Everything => {
                catalogues.forget_gone();
                catalogues.invalidate(None);
                self.end_revoked(|_| true);
                changed.begin();
                changed.everything = true;
            }
            Notice::Changed(change) => {
                let Some(project) = &change.project else {
                    return;
                };
                match change.kind {
                    ChangeKind::Nothing | ChangeKind::ConnectionState => return,
                    ChangeKind::ApiKey => {
                        self.end_revoked(|scope| scope.project() == project);
                        return;
                    }
                    ChangeKind::Catalogue => {}
                    ChangeKind::Project | ChangeKind::Server => {
                        self.end_revoked(|scope| scope.project() == project);
                    }
                    ChangeKind::ProjectDeleted | ChangeKind::ServerDeleted => {
                        catalogues.forget_gone();
                        self.end_revoked(|scope| scope.project() == project);
                    }
                }
                catalogues.invalidate(Some(project));
                changed.begin();
                changed.projects.insert(project.clone());
            }
        }
    }

    /// Ends the sessions whose key may no longer do what they were opened for.
    fn end_revoked(&self, concerns: impl Fn(&Scope) -> bool) {
        let now = (self.shared.clock)();
        let configuration = self.shared.replica.read();
        let sessions = self.shared.sessions.all();
        let revoked: Vec<_> = sessions
            .iter()
            .filter(|session| concerns(&session.scope))
            .filter(|session| !is_still_allowed(&configuration, session.key, &session.scope, now))
            .collect();
        self.shared.stateless.end_revoked(|key, scope| {
            !concerns(scope) || is_still_allowed(&configuration, key, scope, now)
        });
        drop(configuration);
        for session in revoked {
            self.shared.sessions.end(&session.id, Cause::Revoked);
        }
    }

    /// Tells the sessions of projects that changed which of their lists are others now.
    async fn tell(&self, changed: Changed) {
        let catalogues = &self.shared.catalogues;
        for scope in &changed.missing {
            catalogues.refresh(scope).await;
        }
        let mut scopes = HashMap::<_, Vec<Arc<Session>>>::new();
        for session in self.shared.sessions.all() {
            if changed.everything || changed.projects.contains(session.scope.project()) {
                scopes.entry(session.scope.clone()).or_default().push(session);
            }
        }
        for scope in self.shared.stateless.listeners.scopes() {
            if changed.everything || changed.projects.contains(scope.project()) {
                scopes.entry(scope).or_default();
            }
        }
        for (scope, sessions) in scopes {
            let mut told = BTreeSet::new();
            for kind in catalogues.changed_lists(&scope).await {
                // Resources and templates share a notification.
                if told.insert(kind.changed_method()) {
                    self.tell_sessions(&sessions, kind);
                    self.shared.stateless.listeners.list_changed(&scope, kind);
                }
            }
            for session in &sessions {
                self.follow(session).await;
            }
        }
    }

    /// Lets a session that hears its servers hear those that are there now, and tells it what
    /// changed in a view of its own.
    async fn follow(&self, session: &Arc<Session>) {
        let shared = &self.shared;
        tell_changes(shared, session).await;
        let merged = shared.catalogues.get(&session.scope).await;
        let is_there = |attachment: &Attachment| {
            let server = merged.servers.iter().find(|server| server.id == attachment.server());
            server.is_some_and(|server| {
                (server.isolation == Isolation::Session) == attachment.is_own()
            })
        };
        for gone in session.hearing.retain(is_there) {
            gone.leave(session.name());
        }
        if session.is_heard() || session.hearing.level().is_some() {
            attach_all(shared, session, &merged);
        }
    }

    fn tell_sessions(&self, sessions: &[Arc<Session>], kind: ListKind) {
        let message = list_changed(kind);
        // Who sees something of its own is told of that.
        for session in sessions.iter().filter(|session| !session.hearing.own.was_shown()) {
            if session.notify(&message) == Err(Undelivered::Stalled) {
                self.shared.sessions.end(&session.id, Cause::NotReading);
            }
        }
    }

    /// Takes no new requests, and lets calls finish within `grace`. Where edges share their
    /// sessions, those that nothing holds here are given up at once, and the calls that are left in
    /// the end go on elsewhere.
    async fn drain(&self, grace: Duration) {
        self.shared.draining.cancel();
        // What waits for a client's input would be waited for in vain.
        self.shared.stateless.close(&self.shared).await;
        let enough = CancellationToken::new();
        let giving_up = self.shared.roaming.is_some().then(|| {
            let (shared, enough) = (Arc::clone(&self.shared), enough.clone());
            tokio::spawn(async move { roaming::drain(&shared, enough).await })
        });
        self.shared.tasks.close();
        let all = u32::try_from(self.shared.config.limits.calls_in_flight).unwrap_or(u32::MAX);
        let finished = async {
            // All permits are free when no call is under way.
            let _ = self.shared.permits.acquire_many(all).await;
            self.shared.tasks.wait().await;
            self.shared.journal.flush().await;
        };
        if tokio::time::timeout(grace, finished).await.is_err() {
            tracing::warn!("calls were still under way when the grace period ended");
        }
        enough.cancel();
        if let Some(giving_up) = giving_up
            && tokio::time::timeout(GIVE_UP, giving_up).await.is_err()
        {
            tracing::warn!("some sessions are found elsewhere only once this edge is gone");
        }
        self.shared.closing.cancel();
    }
}

/// Says what the numbers mean.
fn describe() {
    describe_gauge!("mcp_orch_sessions", "Sessions of MCP clients that are open.");
    describe_counter!("mcp_orch_sessions_ended_total", "Sessions that ended, by their cause.");
    describe_counter!("mcp_orch_sessions_refused_total", "Sessions refused at a limit.");
    describe_counter!("mcp_orch_sessions_adopted_total", "Sessions taken over from other edges.");
    describe_counter!("mcp_orch_sessions_unshared_total", "Records other edges could not be told.");
    describe_counter!(
        "mcp_orch_replay_dropped_total",
        "Messages that no other edge can say again."
    );
    describe_counter!("mcp_orch_forwards_total", "Requests that were forwarded to other edges.");
    describe_gauge!("mcp_orch_attachments", "Attachments to servers that clients share.");
    describe_gauge!("mcp_orch_subscriptions", "Subscriptions of stateless clients.");
    describe_gauge!("mcp_orch_parked_calls", "Calls that wait for their client's input.");
    describe_counter!("mcp_orch_parked_calls_refused_total", "Calls that could not wait.");
    describe_counter!(
        "mcp_orch_calls_repeated_total",
        "Calls run again, as their project lets them."
    );
    describe_counter!("mcp_orch_calls_total", "Calls of MCP clients by how they ended.");
    describe_counter!("mcp_orch_denials_total", "Requests that were denied, by reason.");
    describe_counter!("mcp_orch_denials_unrecorded_total", "Denials the journal did not take.");
}

/// Waits for what is under way, if anything is.
async fn finished(telling: &mut Option<BoxFuture<'_, ()>>) {
    if let Some(telling) = telling {
        telling.await;
    }
}

/// What changed since clients were last told.
struct Changed {
    everything: bool,
    projects: HashSet<ProjectId>,
    /// Scopes whose catalogues are to be fetched again.
    missing: HashSet<Scope>,
    /// When they are told: a while after the first change, however many follow.
    due: Instant,
}

impl Default for Changed {
    fn default() -> Self {
        Self {
            everything: false,
            projects: HashSet::new(),
            missing: HashSet::new(),
            due: Instant::now(),
        }
    }
}

impl Changed {
    fn is_some(&self) -> bool {
        self.everything || !self.projects.is_empty()
    }

    fn begin(&mut self) {
        if !self.is_some() {
            self.due = Instant::now() + DEBOUNCE;
        }
    }
}

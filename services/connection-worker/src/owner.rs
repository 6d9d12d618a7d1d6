//! Which servers this worker owns, and what it runs for each.
//!
//! Owned is what is enabled and leased: with [`LeaseHandle::all`](backplane::LeaseHandle::all)
//! everything that is enabled.
//!
//! What always holds: the subjects of a server are served only while it is owned, so that nobody
//! answers for a server of somebody else; a lease is given up only after they are served no more;
//! when it is lost, everything of the server ends at once; the connection of another configuration
//! is gone before the next one is set up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backplane::{LeaseHandle, Owned as Leased, subject};
use bus::{BusError, Subject};
use domain::connection::{ConnectionState, Observation};
use domain::server::Isolation;
use domain::{ServerId, TenantId};
use mcp::Protocol;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::connection::{Actor, ActorDeps, ConnectionSpec, Observer, Report, Slot};
use crate::exchange::{self, Served};
use crate::plan::{Action, Desired, Hold, Kept, plan};
use crate::server_log;
use crate::session::Pool;

/// How soon what could not be done is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Most exchanges of a server that wait to be looked at.
const EXCHANGE_QUEUE: usize = 1_024;
/// How long what goes on besides may take to end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// Most requests for a server's log that wait.
const LOG_QUEUE: usize = 16;

/// What runs for one server.
struct Owned {
    slot: Arc<Slot>,
    /// As the slot's, but for the name.
    spec: Arc<ConnectionSpec>,
    pool: Option<Arc<Pool>>,
    stop: CancellationToken,
    /// The tasks that serve its subjects; none while it is only prepared.
    serving: Vec<JoinHandle<()>>,
    actor: JoinHandle<()>,
}

/// Owns servers.
pub(crate) struct Owner {
    deps: Arc<ActorDeps>,
    owned: BTreeMap<ServerId, Owned>,
    /// What still ends of servers that are kept no longer.
    ending: BTreeMap<ServerId, JoinHandle<()>>,
    /// Servers of which the record is being told that they are disabled.
    noted: BTreeMap<ServerId, watch::Sender<Report>>,
    /// Something that was prepared is ready.
    ready: Arc<Notify>,
}

impl Owner {
    /// Owns nothing yet.
    pub(crate) fn new(deps: Arc<ActorDeps>) -> Self {
        let (owned, ending, noted) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { deps, owned, ending, noted, ready: Arc::default() }
    }

    /// Until `shutdown`: then what others are ready for is handed over, nothing new is accepted,
    /// what is under way has its grace, and every connection and every process is gone.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let ready = tokio::select! {
            () = shutdown.cancelled() => false,
            ready = self.deps.replica.ready() => ready.is_ok(),
        };
        if ready {
            self.follow(shutdown.cancelled()).await;
        }
        shutdown.cancelled().await;
        if ready {
            self.hand_over().await;
        }
        self.drain().await;
    }

    /// Keeps what is configured and leased, until `end` or until the configuration ends.
    async fn follow(&mut self, end: impl Future<Output = ()>) {
        let mut changes = self.deps.replica.changes();
        let mut leases = self.deps.lease.owned();
        let ready = Arc::clone(&self.ready);
        tokio::pin!(end);
        loop {
            let complete = self.reconcile(&mut leases).await;
            tokio::select! {
                biased;
                () = &mut end => return,
                changed = leases.changed() => if changed.is_err() { return },
                notice = changes.next() => if notice.is_none() { return },
                () = ready.notified() => {}
                () = sleep(RETRY), if !complete => {}
            }
        }
    }

    /// Does what is to be done; whether all of it could be.
    async fn reconcile(&mut self, leases: &mut watch::Receiver<Leased>) -> bool {
        let leased = leases.borrow_and_update().clone();
        let desired = self.desired(&leased);
        self.ending.retain(|_, actor| !actor.is_finished());
        let enabled: Vec<ServerId> =
            desired.iter().filter(|want| want.enabled).map(|want| want.spec.server).collect();
        self.noted.retain(|server, _| {
            !enabled.contains(server) && desired.iter().any(|want| want.spec.server == *server)
        });
        let mut complete = true;
        for action in plan(&desired, &self.kept()) {
            if let Err(error) = self.perform(action).await {
                tracing::warn!(%error, "a server cannot be served yet");
                complete = false;
            }
        }
        // Nothing of it is served, so that there is nothing to wait for.
        for server in leased.to_let_go().filter(|server| !self.owned.contains_key(server)) {
            self.deps.lease.release(server);
        }
        for (server, owned) in &self.owned {
            if owned.serving.is_empty() && owned.slot.is_settled() {
                self.deps.lease.prepared(*server);
            }
        }
        complete
    }

    async fn perform(&mut self, action: Action) -> Result<(), BusError> {
        match action {
            Action::Start(spec) => {
                let server = spec.server;
                let spoken = self.recorded_protocol(&spec);
                self.connect(spec, spoken);
                self.serve(server).await?;
            }
            Action::Prepare(spec) => {
                let spoken = self.recorded_protocol(&spec);
                self.connect(spec, spoken);
            }
            Action::Serve(server) => self.serve(server).await?,
            // Another configuration may be of another program: what it speaks is not known.
            Action::Restart(spec) => {
                let server = spec.server;
                let was_served = self.owned.get(&server).is_some_and(|it| !it.serving.is_empty());
                self.stop(server).await;
                self.connect(spec, None);
                if was_served {
                    self.serve(server).await?;
                }
            }
            Action::Rename(spec) => {
                if let Some(owned) = self.owned.get_mut(&spec.server) {
                    owned.slot.rename(&spec.name);
                    owned.spec = spec;
                }
            }
            Action::Stop(server) => self.stop(server).await,
            Action::LetGo(server) => {
                self.stop(server).await;
                self.deps.lease.release(server);
                tracing::info!(%server, "the server goes to another worker");
            }
            Action::Lose(server) => {
                tracing::warn!(%server, "the server is owned no more");
                if let Some(owned) = self.owned.get(&server) {
                    owned.slot.cut.cancel();
                }
                self.stop(server).await;
            }
            Action::NoteDisabled(spec) => self.note_disabled(&spec),
        }
        Ok(())
    }

    fn desired(&self, leased: &Leased) -> Vec<Desired> {
        let configuration = self.deps.replica.read();
        configuration
            .servers()
            .map(|entry| {
                let view = configuration.connection(&entry.id);
                Desired {
                    spec: Arc::new(ConnectionSpec::of(entry)),
                    enabled: !entry.server.disabled,
                    hold: hold(leased, entry.id),
                    recorded: view.observed_at.map(|_| view.observation.state),
                }
            })
            .collect()
    }

    fn kept(&self) -> BTreeMap<ServerId, Kept> {
        let kept = self.owned.iter().map(|(server, owned)| {
            let is_served = !owned.serving.is_empty();
            (*server, Kept { spec: Arc::clone(&owned.spec), is_served })
        });
        kept.collect()
    }

    /// What the server was last seen to speak.
    fn recorded_protocol(&self, spec: &ConnectionSpec) -> Option<Protocol> {
        let view = self.deps.replica.read().connection(&spec.server);
        Protocol::parse(&view.observation.revision)
    }

    /// Keeps a connection to a server that was seen to speak `spoken`, once the one before is
    /// gone.
    fn connect(&mut self, spec: Arc<ConnectionSpec>, spoken: Option<Protocol>) {
        let stop = CancellationToken::new();
        let max_in_flight = self.deps.config.max_in_flight;
        let slot = Arc::new(Slot::new(Arc::clone(&spec), max_in_flight, spoken));
        let stands = Arc::new(Notify::new());
        let pool = (spec.config.isolation == Isolation::Session)
            .then(|| Pool::new(Arc::clone(&self.deps), Arc::clone(&slot), stop.clone()));
        let (shared, told) = (Arc::clone(&slot), Arc::clone(&stands));
        let actor = Actor::new(Arc::clone(&self.deps), shared, told, stop.clone());
        let before = self.ending.remove(&spec.server);
        let keeping = pool.clone();
        let actor = self.deps.tasks.spawn(async move {
            if let Some(before) = before {
                // Whatever became of it, it is over.
                drop(before.await);
            }
            match keeping {
                Some(pool) => drop(tokio::join!(actor.run(), pool.run(stands))),
                None => actor.run().await,
            }
        });
        self.noted.remove(&spec.server);
        if !self.deps.lease.is_all() {
            let (slot, ready) = (Arc::clone(&slot), Arc::clone(&self.ready));
            self.deps.tasks.spawn(async move {
                slot.settled().await;
                ready.notify_one();
            });
        }
        let server = spec.server;
        let owned = Owned { slot, spec, pool, stop, serving: Vec::new(), actor };
        self.owned.insert(server, owned);
    }

    /// Serves a server whose connection is kept.
    async fn serve(&mut self, server: ServerId) -> Result<(), BusError> {
        let bus = &self.deps.bus;
        let take = |subject: Subject, capacity| bus.serve(subject.into(), capacity);
        let Some(owned) = self.owned.get_mut(&server) else { return Ok(()) };
        let exchanges = take(subject::exchange(server), EXCHANGE_QUEUE).await?;
        let logs = take(subject::worker_stderr(server), LOG_QUEUE).await?;
        let served = Served {
            deps: Arc::clone(&self.deps),
            slot: Arc::clone(&owned.slot),
            pool: owned.pool.clone(),
            stop: owned.stop.clone(),
        };
        let log = server_log::serve(Arc::clone(&owned.slot), logs, owned.stop.clone());
        owned.serving = vec![tokio::spawn(exchange::serve(served, exchanges)), tokio::spawn(log)];
        Ok(())
    }

    /// No longer serves a server; its connection ends in time.
    async fn stop(&mut self, server: ServerId) {
        let Some(owned) = self.owned.remove(&server) else { return };
        owned.stop.cancel();
        for task in owned.serving {
            // They end at once; their subjects are free then.
            drop(task.await);
        }
        // The worker waits for it at its own end.
        self.ending.insert(server, owned.actor);
    }

    fn note_disabled(&mut self, spec: &Arc<ConnectionSpec>) {
        let deps = &self.deps;
        self.noted.entry(spec.server).or_insert_with(|| {
            let report = watch::Sender::new(Report::default());
            // It follows from the configuration, whoever owns the server.
            let observer = Observer::new(deps, spec, LeaseHandle::all());
            tokio::spawn(observer.run(report.subscribe()));
            let state = ConnectionState::Disabled;
            let observation = Observation { state, ..Observation::default() };
            report.send_modify(|report| report.observation = Some(observation));
            report
        });
    }

    /// Lets others take what they are ready for, if there are others.
    async fn hand_over(&mut self) {
        if self.deps.lease.is_all() || self.owned.is_empty() || !self.has_others().await {
            return;
        }
        self.deps.lease.drain();
        let mut leases = self.deps.lease.owned();
        let deadline = Instant::now() + self.deps.config.hand_over;
        let handed_over = async {
            // Nothing is left, or all of it is lost.
            drop(leases.wait_for(Leased::is_empty).await);
        };
        let over = async {
            drop(tokio::time::timeout_at(deadline, handed_over).await);
        };
        self.follow(over).await;
    }

    /// Whether there are other workers.
    async fn has_others(&self) -> bool {
        let bus = &self.deps.bus;
        let present = timeout(RETRY, bus.present(&subject::workers())).await;
        let own = subject::worker(bus.instance()).ok();
        // Where it is not known, there may be.
        present.map_or(true, |present| {
            present.map_or(true, |all| all.iter().any(|it| Some(&it.key) != own.as_ref()))
        })
    }

    async fn drain(mut self) {
        for owned in self.owned.values() {
            owned.stop.cancel();
        }
        let mut actors = Vec::new();
        for (_, owned) in std::mem::take(&mut self.owned) {
            for task in owned.serving {
                drop(task.await);
            }
            actors.push(owned.actor);
        }
        // Others need not wait for what is under way here.
        self.deps.lease.release_all().await;
        for actor in actors {
            drop(actor.await);
        }
        self.deps.tasks.close();
        if timeout(END_LIMIT, self.deps.tasks.wait()).await.is_err() {
            tracing::error!("the worker ends although something of it still runs");
        }
    }
}

/// What the leases allow of a server.
fn hold(leased: &Leased, server: ServerId) -> Hold {
    match (leased.holds(server), leased.is_to_let_go(server)) {
        (true, true) => Hold::LetGo,
        (true, false) => Hold::Serve,
        (false, _) if leased.is_to_prepare(server) => Hold::Prepare,
        (false, _) => Hold::Away,
    }
}

/// Whether a request that names its tenant is meant for a server as it is owned.
pub(crate) fn is_of_tenant(spec: &ConnectionSpec, tenant: &str) -> bool {
    tenant.parse::<TenantId>() == Ok(spec.tenant)
}

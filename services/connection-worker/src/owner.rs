//! Which servers this worker owns, and what it runs for each.
//!
//! All enabled servers are owned: there is one worker. With leases, what is desired here becomes
//! what is configured *and* leased; nothing else changes.
//!
//! What always holds: the subjects of a server are served exactly while it is owned, so that
//! nobody answers for a server that nobody owns; the connection of another configuration is gone
//! before the next one is set up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backplane::subject;
use bus::{BusError, Subject};
use domain::connection::{ConnectionState, Observation};
use domain::server::Isolation;
use domain::{ServerId, TenantId};
use mcp::Protocol;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connection::{Actor, ActorDeps, ConnectionSpec, Observer, Report, Slot};
use crate::exchange::{self, Served};
use crate::plan::{Action, Desired, plan};
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
    stop: CancellationToken,
    /// The tasks that serve its subjects.
    serving: Vec<JoinHandle<()>>,
    actor: JoinHandle<()>,
}

/// Owns servers.
pub(crate) struct Owner {
    deps: Arc<ActorDeps>,
    owned: BTreeMap<ServerId, Owned>,
    /// Servers of which the record is being told that they are disabled.
    noted: BTreeMap<ServerId, watch::Sender<Report>>,
}

impl Owner {
    /// Owns nothing yet.
    pub(crate) const fn new(deps: Arc<ActorDeps>) -> Self {
        Self { deps, owned: BTreeMap::new(), noted: BTreeMap::new() }
    }

    /// Until `shutdown`: then nothing new is accepted, what is under way has its grace, and every
    /// connection and every process is gone.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.deps.replica.changes();
        let ready = tokio::select! {
            () = shutdown.cancelled() => false,
            ready = self.deps.replica.ready() => ready.is_ok(),
        };
        while ready && !shutdown.is_cancelled() {
            let complete = self.reconcile().await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                notice = changes.next() => if notice.is_none() { break },
                () = tokio::time::sleep(RETRY), if !complete => {}
            }
        }
        shutdown.cancelled().await;
        self.drain().await;
    }

    /// Does what is to be done; whether all of it could be.
    async fn reconcile(&mut self) -> bool {
        let desired = self.desired();
        let kept = self.owned.iter().map(|(id, owned)| (*id, Arc::clone(&owned.spec))).collect();
        let enabled: Vec<ServerId> =
            desired.iter().filter(|want| want.enabled).map(|want| want.spec.server).collect();
        self.noted.retain(|server, _| {
            !enabled.contains(server) && desired.iter().any(|want| want.spec.server == *server)
        });
        let mut complete = true;
        for action in plan(&desired, &kept) {
            let done = match action {
                Action::Start(spec) => {
                    let spoken = self.recorded_protocol(&spec);
                    self.start(spec, spoken, None).await
                }
                // Another configuration may be of another program: what it speaks is not known.
                Action::Restart(spec) => {
                    let before = self.stop(spec.server).await;
                    self.start(spec, None, before).await
                }
                Action::Rename(spec) => {
                    if let Some(owned) = self.owned.get_mut(&spec.server) {
                        owned.slot.rename(&spec.name);
                        owned.spec = spec;
                    }
                    Ok(())
                }
                Action::Stop(server) => {
                    let actor = self.stop(server).await;
                    // It ends on its own; the worker waits for it at its own end.
                    self.deps.tasks.spawn(async move {
                        if let Some(actor) = actor {
                            drop(actor.await);
                        }
                    });
                    Ok(())
                }
                Action::NoteDisabled(spec) => {
                    self.note_disabled(&spec);
                    Ok(())
                }
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a server cannot be served yet");
                complete = false;
            }
        }
        complete
    }

    fn desired(&self) -> Vec<Desired> {
        let configuration = self.deps.replica.read();
        configuration
            .servers()
            .map(|entry| {
                let view = configuration.connection(&entry.id);
                Desired {
                    spec: Arc::new(ConnectionSpec::of(entry)),
                    enabled: !entry.server.disabled,
                    recorded: view.observed_at.map(|_| view.observation.state),
                }
            })
            .collect()
    }

    /// What the server was last seen to speak.
    fn recorded_protocol(&self, spec: &ConnectionSpec) -> Option<Protocol> {
        let view = self.deps.replica.read().connection(&spec.server);
        Protocol::parse(&view.observation.revision)
    }

    /// Serves a server, which was seen to speak `spoken`, and keeps its connection, once `before`
    /// is gone.
    async fn start(
        &mut self,
        spec: Arc<ConnectionSpec>,
        spoken: Option<Protocol>,
        before: Option<JoinHandle<()>>,
    ) -> Result<(), BusError> {
        let stop = CancellationToken::new();
        let max_in_flight = self.deps.config.max_in_flight;
        let exchanges = self.serve(subject::exchange(spec.server), EXCHANGE_QUEUE).await?;
        let logs = self.serve(subject::worker_stderr(spec.server), LOG_QUEUE).await?;
        let slot = Arc::new(Slot::new(Arc::clone(&spec), max_in_flight, spoken));
        let stands = Arc::new(Notify::new());
        let pool = (spec.config.isolation == Isolation::Session)
            .then(|| Pool::new(Arc::clone(&self.deps), Arc::clone(&slot), stop.clone()));
        let served = Served {
            deps: Arc::clone(&self.deps),
            slot: Arc::clone(&slot),
            pool: pool.clone(),
            stop: stop.clone(),
        };
        let serving = vec![
            tokio::spawn(exchange::serve(served, exchanges)),
            tokio::spawn(server_log::serve(Arc::clone(&slot), logs, stop.clone())),
        ];
        let (shared, told) = (Arc::clone(&slot), Arc::clone(&stands));
        let actor = Actor::new(Arc::clone(&self.deps), shared, told, stop.clone());
        let actor = self.deps.tasks.spawn(async move {
            if let Some(before) = before {
                // Whatever became of it, it is over.
                drop(before.await);
            }
            match pool {
                Some(pool) => drop(tokio::join!(actor.run(), pool.run(stands))),
                None => actor.run().await,
            }
        });
        self.noted.remove(&spec.server);
        self.owned.insert(spec.server, Owned { slot, spec, stop, serving, actor });
        Ok(())
    }

    async fn serve(&self, subject: Subject, capacity: usize) -> Result<bus::Server, BusError> {
        self.deps.bus.serve(subject.into(), capacity).await
    }

    /// No longer serves a server; its actor ends in time.
    async fn stop(&mut self, server: ServerId) -> Option<JoinHandle<()>> {
        let owned = self.owned.remove(&server)?;
        owned.stop.cancel();
        for task in owned.serving {
            // They end at once; their subjects are free then.
            drop(task.await);
        }
        Some(owned.actor)
    }

    fn note_disabled(&mut self, spec: &Arc<ConnectionSpec>) {
        let deps = &self.deps;
        self.noted.entry(spec.server).or_insert_with(|| {
            let report = watch::Sender::new(Report::default());
            tokio::spawn(Observer::new(deps, spec).run(report.subscribe()));
            let state = ConnectionState::Disabled;
            let observation = Observation { state, ..Observation::default() };
            report.send_modify(|report| report.observation = Some(observation));
            report
        });
    }

    async fn drain(mut self) {
        for owned in self.owned.values() {
            owned.stop.cancel();
        }
        for (_, owned) in std::mem::take(&mut self.owned) {
            for task in owned.serving {
                drop(task.await);
            }
            drop(owned.actor.await);
        }
        self.deps.tasks.close();
        if tokio::time::timeout(END_LIMIT, self.deps.tasks.wait()).await.is_err() {
            tracing::error!("the worker ends although something of it still runs");
        }
    }
}

/// Whether a request that names its tenant is meant for a server as it is owned.
pub(crate) fn is_of_tenant(spec: &ConnectionSpec, tenant: &str) -> bool {
    tenant.parse::<TenantId>() == Ok(spec.tenant)
}

//! Keeps one server's connection up.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use backplane::{Clock, Journal, LeaseHandle, ReplicaHandle};
use bus::Bus;
use domain::connection::{ConnectionState, Observation};
use mcp::client::{CloseCause, Events};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::catalogue::Shelf;
use super::listen;
use super::observe::{Observer, Report};
use super::slot::FAIL_FAST;
use super::upkeep::{Upkeep, millis};
use super::{
    ConnectionSpec, DialError, Dialed, Dialer, Introduction, Link, Phase, Slot, Step, cause,
};
use crate::backoff::Backoff;
use crate::config::WorkerConfig;
use crate::exchange::Lines;
use crate::session::Projects;
use crate::stdio::Process;
use crate::worker::{EventIds, Random};

/// For so long a start that nobody waits for counts against the limit of starts: one that hangs
/// holds up no other for longer.
const START_SHARE: Duration = Duration::from_secs(5);
/// The longest wait for a store of secrets that is away.
const STORE_WAIT: Duration = Duration::from_secs(5);
/// How long the closing of a connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What all actors of a worker share.
pub(crate) struct ActorDeps {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) dialer: Dialer,
    pub(crate) journal: Journal,
    pub(crate) replica: ReplicaHandle,
    pub(crate) lease: LeaseHandle,
    pub(crate) clock: Clock,
    pub(crate) event_ids: EventIds,
    pub(crate) random: Random,
    /// One permit for each start that nobody waits for.
    pub(crate) starts: Semaphore,
    /// How many connections of single clients each project may still have.
    pub(crate) projects: Projects,
    /// Calls that other edges may adopt.
    pub(crate) lines: Arc<Lines>,
    /// How many requests are under way.
    pub(crate) under_way: Arc<AtomicUsize>,
    /// What is to end before the worker does.
    pub(crate) tasks: TaskTracker,
}

impl ActorDeps {
    /// The hash of the catalogue in the record; empty without one.
    pub(crate) fn recorded_hash(&self, spec: &ConnectionSpec) -> String {
        let view = self.replica.read().connection(&spec.server);
        view.catalogue.as_ref().map(|known| known.hash.clone()).unwrap_or_default()
    }
}

/// One server's connection, as long as it is owned and enabled.
pub(crate) struct Actor {
    deps: Arc<ActorDeps>,
    slot: Arc<Slot>,
    stop: CancellationToken,
    report: watch::Sender<Report>,
    shelf: Shelf,
    backoff: Backoff,
    /// Told each time a connection stands.
    stands: Arc<Notify>,
}

/// How a connection, or an attempt at one, ended.
enum End {
    /// It is no longer wanted.
    Stopped,
    /// Why it is to be tried again.
    Failed(String),
}

impl Actor {
    /// Keeps the connection of `slot` up until `stop` is cancelled, reports on it, and tells
    /// `stands` whenever it stands.
    pub(crate) fn new(
        deps: Arc<ActorDeps>,
        slot: Arc<Slot>,
        stands: Arc<Notify>,
        stop: CancellationToken,
    ) -> Self {
        let observer = Observer::new(&deps, &slot.spec, deps.lease.clone());
        let report = watch::Sender::new(Report::default());
        // Not among the tasks that end before the worker: the record may be away.
        tokio::spawn(observer.run(report.subscribe()));
        let (shelf, backoff) = (Shelf::default(), Backoff::default());
        Self { deps, slot, stop, report, shelf, backoff, stands }
    }

    /// Until it is stopped; then the connection is closed and its process tree is gone.
    pub(crate) async fn run(mut self) {
        self.see(ConnectionState::Starting, "");
        let mut somebody_waits = false;
        loop {
            let cause = match self.attempt(somebody_waits).await {
                End::Stopped => break,
                End::Failed(cause) => cause,
            };
            tracing::info!(
                server = %self.slot.spec.server,
                name = self.slot.spec.name,
                cause,
                "connection failed"
            );
            let wait = self.wait(&cause);
            somebody_waits = tokio::select! {
                () = self.stop.cancelled() => break,
                () = sleep(wait) => false,
                () = self.slot.wanted.notified() => true,
            };
            self.slot.set_phase(Phase::Connecting);
        }
        self.slot.set_phase(Phase::Stopped);
    }

    /// Sets the connection up and keeps it until it ends.
    async fn attempt(&mut self, somebody_waits: bool) -> End {
        let dialed = tokio::select! {
            biased;
            () = self.stop.cancelled() => return End::Stopped,
            dialed = self.dial(somebody_waits) => dialed,
        };
        match dialed {
            Ok(dialed) => self.keep(dialed).await,
            Err(DialError { step, cause }) => {
                if matches!(step, Step::Connect | Step::Initialize) {
                    // It may speak another era by now.
                    self.slot.note_protocol(None);
                }
                self.fail(&cause, Some(Instant::now() + FAIL_FAST));
                End::Failed(cause)
            }
        }
    }

    /// How long until the next try. A store of secrets that is away concerns all servers alike,
    /// and none of them longer than the store: it is asked again soon.
    fn wait(&mut self, cause: &str) -> Duration {
        let wait = self.backoff.failed((self.deps.random)());
        if cause.starts_with(super::dial::STORE_UNAVAILABLE) { wait.min(STORE_WAIT) } else { wait }
    }

    /// Sets the connection up. Where nobody waits, it has its turn among the others.
    async fn dial(&self, somebody_waits: bool) -> Result<Dialed, DialError> {
        let permit = match somebody_waits {
            true => None,
            false => tokio::select! {
                permit = self.deps.starts.acquire() => permit.ok(),
                () = self.slot.urgent.notified() => None,
            },
        };
        let isolation = self.slot.spec.config.isolation;
        let introduction = Introduction::of_server(self.slot.era(), isolation);
        let dial = self.deps.dialer.dial(&self.slot.spec, &self.slot.stderr, &introduction);
        tokio::pin!(dial);
        let early = timeout(START_SHARE, &mut dial).await;
        drop(permit);
        match early {
            Ok(dialed) => dialed,
            Err(_) => dial.await,
        }
    }

    /// From the moment a connection stands to its end.
    async fn keep(&mut self, dialed: Dialed) -> End {
        let Dialed { link, mut events, process, steps } = dialed;
        let since = Instant::now();
        let setup = steps.iter().map(|(_, took)| *took).sum();
        self.slot.meters().set_up(setup);
        let hello = link.connection.hello();
        let times = link.connection.setup_times();
        let seen = Observation {
            state: ConnectionState::Starting,
            cause: String::new(),
            response_time_ms: millis(times.initialized.saturating_sub(times.established)),
            setup_time_ms: millis(setup),
            revision: hello.protocol.to_string(),
        };
        tracing::info!(
            server = %self.slot.spec.server,
            name = self.slot.spec.name,
            transport = %link.connection.transport(),
            revision = %hello.protocol,
            "connected"
        );
        self.slot.note_protocol(Some(hello.protocol));
        self.slot.set_phase(Phase::Ready(Arc::clone(&link)));
        self.stands.notify_one();
        let lists = Notify::new();
        let (slot, limit) = (Arc::clone(&self.slot), self.deps.config.list_timeout);
        let upkeep = Upkeep {
            deps: &self.deps,
            slot: &self.slot,
            link: &link,
            shelf: &mut self.shelf,
            report: &self.report,
            seen,
            catalogue_cause: String::new(),
            silent_pings: 0,
        };
        let cause = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            cause = lost(&link, process.as_ref()) => Some(cause),
            cause = upkeep.run(&lists) => Some(cause),
            () = listen::pump(&slot, &link, &slot.board, &mut events, &lists) => None,
            () = listen::renew(&link, &slot.board, limit) => None,
        };
        let end = match cause {
            Some(cause) => {
                self.backoff.stood(since.elapsed());
                self.fail(&cause, None);
                End::Failed(cause)
            }
            None => {
                self.drain(&link, &mut events, &lists).await;
                End::Stopped
            }
        };
        close(&link, process).await;
        end
    }

    /// Nothing new comes: what is under way has its time, and is listened to meanwhile.
    async fn drain(&self, link: &Link, events: &mut Events, lists: &Notify) {
        let drained = async {
            tokio::select! {
                () = self.slot.drained() => {}
                () = listen::pump(&self.slot, link, &self.slot.board, events, lists) => {}
            }
        };
        self.slot.within_grace(self.deps.config.grace, drained).await;
    }

    fn fail(&self, cause: &str, fail_fast_until: Option<Instant>) {
        let text = cause::cut(cause);
        self.slot.board.fail_waiting(&text);
        let cause = text.as_str().into();
        self.slot.set_phase(Phase::Failed { cause, fail_fast_until });
        self.see(ConnectionState::Failed, &text);
    }

    /// Reports a state in which there is no connection.
    fn see(&self, state: ConnectionState, cause: &str) {
        let seen = Observation { state, cause: cause.to_owned(), ..Observation::default() };
        self.report.send_modify(|report| report.observation = Some(seen));
    }
}

/// Waits until a connection is lost: returns why.
pub(crate) async fn lost(link: &Link, process: Option<&Process>) -> String {
    let Some(process) = process else {
        return cause::lost(&link.connection.closed().await, None, &link.masker);
    };
    tokio::select! {
        biased;
        exit = process.ended() => cause::lost(&CloseCause::Ended, Some(exit), &link.masker),
        close = link.connection.closed() => {
            // Its output ended: mostly because it did.
            let exit = timeout(CLOSE_LIMIT, process.ended()).await.ok();
            cause::lost(&close, exit, &link.masker)
        }
    }
}

/// Ends a connection, and the process with all it started.
pub(crate) async fn close(link: &Link, process: Option<Process>) {
    if timeout(CLOSE_LIMIT, link.connection.close()).await.is_err() {
        tracing::debug!("closing a connection took too long");
    }
    if let Some(process) = process {
        process.stop().await;
    }
}

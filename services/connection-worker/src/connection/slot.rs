//! Where exchanges find the connection of a server.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use mcp::Protocol;
use mcp::client::{Connection, EraChoice};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::ConnectionSpec;
use super::switchboard::{Clientele, Switchboard};
use crate::mask::Masker;
use crate::meters::Meters;
use crate::stdio::StderrRing;

/// For this long after an attempt that failed, who comes is told of it at once instead of trying
/// again.
pub(crate) const FAIL_FAST: Duration = Duration::from_secs(1);

/// A connection that stands.
pub(crate) struct Link {
    /// The connection.
    pub(crate) connection: Connection,
    /// Knows the server's secrets.
    pub(crate) masker: Arc<Masker>,
    /// Knows those of them that may not even stand in a catalogue.
    pub(crate) catalogue_masker: Masker,
}

impl Link {
    /// Whether the upstream speaks the stateless era.
    pub(crate) fn is_stateless(&self) -> bool {
        self.connection.hello().protocol.is_stateless()
    }
}

/// How a connection is doing, for who wants to use it.
#[derive(Clone)]
pub(crate) enum Phase {
    /// Being set up.
    Connecting,
    /// It stands.
    Ready(Arc<Link>),
    /// It does not; it is tried again later, or as soon as somebody wants it.
    Failed {
        /// Why, secrets masked.
        cause: Arc<str>,
        /// Until when who comes is told so instead of trying again; `None` for a connection that
        /// stood and was lost, which is tried again at once.
        fail_fast_until: Option<Instant>,
    },
    /// It ended for good.
    Stopped,
}

/// There is no connection; the text says why, secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unavailable(pub(crate) Arc<str>);

/// One server's place in the worker.
pub(crate) struct Slot {
    /// What it is configured to be.
    pub(crate) spec: Arc<ConnectionSpec>,
    /// One permit for each exchange that may be under way.
    pub(crate) in_flight: Arc<Semaphore>,
    /// How many those are.
    max_in_flight: usize,
    /// Who listens to the connection that all share.
    pub(crate) board: Arc<Switchboard>,
    /// What its processes said on stderr.
    pub(crate) stderr: Arc<StderrRing>,
    /// What is under way is not to be waited for: another worker serves the server by now.
    pub(crate) cut: CancellationToken,
    /// Wakes the actor when somebody wants a connection that is down.
    pub(super) wanted: Notify,
    /// Tells the actor that somebody waits for the attempt that is about to begin.
    pub(super) urgent: Notify,
    phase: watch::Sender<Phase>,
    /// What the upstream was last seen to speak.
    protocol: Mutex<Option<Protocol>>,
    meters: RwLock<Arc<Meters>>,
}

impl Slot {
    /// A place whose connection is not set up yet, of a server that was seen to speak `protocol`.
    pub(crate) fn new(
        spec: Arc<ConnectionSpec>,
        max_in_flight: usize,
        protocol: Option<Protocol>,
    ) -> Self {
        let meters = RwLock::new(Arc::new(Meters::of(&spec.project, &spec.name)));
        Self {
            spec,
            in_flight: Arc::new(Semaphore::new(max_in_flight)),
            max_in_flight,
            board: Switchboard::new(Clientele::Many),
            stderr: Arc::default(),
            cut: CancellationToken::new(),
            wanted: Notify::new(),
            urgent: Notify::new(),
            phase: watch::Sender::new(Phase::Connecting),
            protocol: Mutex::new(protocol),
            meters,
        }
    }

    /// Counts under another name from now on.
    pub(crate) fn rename(&self, name: &str) {
        let meters = Arc::new(Meters::of(&self.spec.project, name));
        *self.meters.write().unwrap_or_else(PoisonError::into_inner) = meters;
    }

    /// Where this server is counted.
    pub(crate) fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The era to speak with the upstream: the one that it was last seen to speak.
    pub(crate) fn era(&self) -> EraChoice {
        match *self.protocol.lock().unwrap_or_else(PoisonError::into_inner) {
            None => EraChoice::Probe,
            Some(Protocol::Stateless) => EraChoice::Stateless,
            Some(Protocol::Sessions(_)) => EraChoice::Sessions,
        }
    }

    /// Notes what the upstream speaks; `None` makes the next connection ask for it.
    pub(super) fn note_protocol(&self, protocol: Option<Protocol>) {
        *self.protocol.lock().unwrap_or_else(PoisonError::into_inner) = protocol;
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// The connection, which is set up now if it is down. All who wait share one attempt.
    ///
    /// # Errors
    /// [`Unavailable`] when that attempt fails, or one did less than a second ago.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, Unavailable> {
        if let Phase::Ready(link) = &*self.phase.borrow()
            && link.connection.close_cause().is_none()
        {
            return Ok(Arc::clone(link));
        }
        self.wait_for_link().await
    }

    /// Has the connection set up now if it is down and nobody else waits for it.
    ///
    /// # Errors
    /// [`Unavailable`] when an attempt failed less than a second ago.
    pub(crate) fn nudge(&self) -> Result<(), Unavailable> {
        match &*self.phase.borrow() {
            Phase::Ready(_) => Ok(()),
            Phase::Connecting => {
                self.urgent.notify_one();
                Ok(())
            }
            Phase::Failed { cause, fail_fast_until: Some(until) } if Instant::now() < *until => {
                Err(Unavailable(Arc::clone(cause)))
            }
            Phase::Failed { .. } => {
                self.wanted.notify_one();
                Ok(())
            }
            Phase::Stopped => Err(Unavailable("the server was stopped".into())),
        }
    }

    async fn wait_for_link(&self) -> Result<Arc<Link>, Unavailable> {
        let mut phase = self.phase.subscribe();
        loop {
            let now = phase.borrow_and_update().clone();
            match now {
                Phase::Ready(link) if link.connection.close_cause().is_none() => return Ok(link),
                // The actor is about to notice that it ended.
                Phase::Ready(_) => {}
                Phase::Connecting => self.urgent.notify_one(),
                Phase::Failed { cause, fail_fast_until: Some(until) } if Instant::now() < until => {
                    return Err(Unavailable(cause));
                }
                Phase::Failed { .. } => self.wanted.notify_one(),
                Phase::Stopped => return Err(Unavailable("the server was stopped".into())),
            }
            if phase.changed().await.is_err() {
                return Err(Unavailable("the server was stopped".into()));
            }
        }
    }

    /// Whether the first attempt at a connection is over, however it ended.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(&*self.phase.borrow(), Phase::Connecting)
    }

    /// Waits until that is so.
    pub(crate) async fn settled(&self) {
        let mut phase = self.phase.subscribe();
        // It ends with the slot, which is borrowed here.
        drop(phase.wait_for(|phase| !matches!(phase, Phase::Connecting)).await);
    }

    /// Waits for what is under way to be `over`, for as long as `grace`, and not at all once it is
    /// to be cut off.
    pub(crate) async fn within_grace(&self, grace: Duration, over: impl Future<Output = ()>) {
        let in_time = tokio::select! {
            () = self.cut.cancelled() => false,
            over = timeout(grace, over) => over.is_ok(),
        };
        if !in_time {
            let server = self.spec.server;
            tracing::warn!(%server, "exchanges, if any are under way, are cut off");
        }
    }

    /// Waits until no exchange is under way, and lets no more begin.
    pub(crate) async fn drained(&self) {
        let all = u32::try_from(self.max_in_flight).unwrap_or(u32::MAX);
        if let Ok(permits) = self.in_flight.acquire_many(all).await {
            permits.forget();
        }
    }
}

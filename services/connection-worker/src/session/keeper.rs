//! Keeps the connection of one client session from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp::client::EraChoice;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::entry::{Entry, Phase};
use crate::connection::{
    ActorDeps, DialError, Dialed, Introduction, Kept, Link, Shelf, Slot, Spare, Step, close, lost,
    pump, renew,
};

/// For so long further changes are waited for before the catalogue is learned again.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// When a catalogue that could not be learned whole is tried again.
const RELEARN: Duration = Duration::from_secs(60);

/// What a connection needs of its surroundings.
pub(super) struct Keeper {
    pub(super) deps: Arc<ActorDeps>,
    pub(super) slot: Arc<Slot>,
    pub(super) entry: Arc<Entry>,
}

/// Why a connection ends that could go on.
enum Over {
    /// It was lost.
    Lost(String),
    /// It is no longer wanted; what is under way has its time.
    Unwanted(&'static str),
}

impl Keeper {
    /// Sets the connection up, of `spare` if there is one, and keeps it to its end: then its
    /// process tree is gone.
    pub(super) async fn run(self, spare: Option<Spare>) {
        let entry = &self.entry;
        let dialed = tokio::select! {
            biased;
            () = entry.stop.cancelled() => {
                return self.end("the server was stopped".into());
            }
            dialed = self.dial(spare) => dialed,
        };
        match dialed {
            Ok(dialed) => self.keep(dialed).await,
            Err(error) => {
                let server = self.slot.spec.server;
                tracing::info!(%server, cause = error.cause, "connection for a session failed");
                self.end(error.cause.into());
            }
        }
    }

    async fn dial(&self, spare: Option<Spare>) -> Result<Dialed, DialError> {
        let (dialer, slot) = (&self.deps.dialer, &self.slot);
        let introduction = Introduction::of_client(slot.era(), self.entry.client.clone());
        let dialed = match spare {
            Some(spare) => dialer.wake(&slot.spec, spare, &slot.stderr, &introduction).await,
            None => dialer.dial(&slot.spec, &slot.stderr, &introduction).await,
        };
        match dialed {
            // The server may speak another era by now.
            Err(error)
                if error.step == Step::Initialize && introduction.era != EraChoice::Probe =>
            {
                let asking = introduction.in_era(EraChoice::Probe);
                dialer.dial(&slot.spec, &slot.stderr, &asking).await
            }
            dialed => dialed,
        }
    }

    async fn keep(self, dialed: Dialed) {
        let Dialed { link, mut events, process, steps } = dialed;
        let (deps, slot, entry) = (&self.deps, &self.slot, &self.entry);
        slot.meters().set_up(steps.iter().map(|(_, took)| *took).sum());
        entry.set_phase(Phase::Ready(Arc::clone(&link)));
        let lists = Notify::new();
        let over = tokio::select! {
            biased;
            () = entry.stop.cancelled() => Over::Unwanted("the server was stopped"),
            cause = lost(&link, process.as_ref()) => Over::Lost(cause),
            () = pump(slot, &link, &entry.board, &mut events, &lists) => Over::Unwanted("closed"),
            () = renew(&link, &entry.board, deps.config.list_timeout) => Over::Unwanted("closed"),
            () = self.learn(&link, &lists) => Over::Unwanted("closed"),
            () = self.unused() => Over::Unwanted("nobody used the connection"),
            () = sleep(deps.config.session_max_age) => {
                Over::Unwanted("the connection reached its age limit")
            }
        };
        entry.retire();
        let cause = match over {
            Over::Lost(cause) => cause,
            Over::Unwanted(cause) => {
                let drained = async {
                    tokio::select! {
                        () = entry.without_calls() => {}
                        () = pump(slot, &link, &entry.board, &mut events, &lists) => {}
                    }
                };
                slot.within_grace(deps.config.grace, drained).await;
                cause.to_owned()
            }
        };
        tracing::debug!(server = %slot.spec.server, cause, "connection of a session ended");
        self.end(cause.into());
        close(&link, process).await;
    }

    /// Nobody gets it any more, and who has it is told.
    fn end(&self, cause: Arc<str>) {
        self.entry.retire();
        self.entry.set_phase(Phase::Ended(cause));
        self.entry.board.end();
    }

    /// Returns when nobody used it for too long; it is given to nobody any more then.
    async fn unused(&self) {
        let config = &self.deps.config;
        let (idle, left) = (config.session_idle, config.session_left_idle);
        loop {
            let Some(deadline) = self.entry.idle_deadline(idle, left) else {
                self.entry.activity.notified().await;
                continue;
            };
            if deadline <= Instant::now() && self.entry.retire_if_idle() {
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = self.entry.activity.notified() => {}
            }
        }
    }

    /// Tells those who are attached what the connection offers. Never returns.
    async fn learn(&self, link: &Link, lists: &Notify) {
        let board = &self.entry.board;
        let mut shelf = Shelf::default();
        board.attached().await;
        let mut known = Bytes::new();
        loop {
            let (body, whole) = self.learn_once(link, &mut shelf).await;
            // Many say that their lists changed when they have only just begun.
            if body != known {
                board.offer_catalogue(&body);
                known = body;
            }
            loop {
                tokio::select! {
                    () = board.attached() => board.offer_catalogue(&known),
                    () = lists.notified() => {
                        sleep(DEBOUNCE).await;
                        break;
                    }
                    () = sleep(RELEARN), if !whole => break,
                }
            }
        }
    }

    async fn learn_once(&self, link: &Link, shelf: &mut Shelf) -> (Bytes, bool) {
        let spec = &self.slot.spec;
        let hash = self.deps.recorded_hash(spec);
        let kept = Kept { bus: &*self.deps.bus, spec, hash: &hash };
        let learned = shelf.learn(link, self.deps.config.list_timeout, kept).await;
        (learned.body, learned.cause.is_empty())
    }
}

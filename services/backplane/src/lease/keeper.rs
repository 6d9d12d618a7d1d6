//! The task that asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Bus, BusError};
use bytes::Bytes;
use prost::Message;
use proto::internal::v1::{LeaseRelease, LeaseReply};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::{Owned, WorkerIdentity};
use crate::hedge::{self, Patience};
use crate::jitter::Jitter;
use crate::subject;

/// Between two requests.
const PERIOD: Duration = Duration::from_secs(1);
/// The same while somebody waits for what the answer is likely to bring.
const EXPECTING: Duration = Duration::from_millis(250);
/// And after a request that failed: several tries fit into the time that an answer is good for.
const AGAIN: Duration = Duration::from_millis(200);
/// How long an answer may take; others are asked meanwhile.
const TIMEOUT: Duration = Duration::from_millis(2_500);
const PATIENCE: Patience = Patience { first: Duration::from_millis(250), growth: 1.0 };
/// How long telling what was given up may take.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

/// What the task and the handles share.
pub(super) struct Shared {
    book: Mutex<Book>,
    pub(super) owned: watch::Sender<Owned>,
    /// There is something to say at once.
    pub(super) poke: Notify,
    /// The moment at which everything is lost has moved.
    moved: Notify,
    /// Something was told.
    told: Notify,
}

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("the answer cannot be read")]
    Malformed(#[from] prost::DecodeError),
}

impl Shared {
    pub(super) fn new(identity: WorkerIdentity) -> Self {
        Self {
            book: Mutex::new(Book::new(identity)),
            owned: watch::Sender::new(Owned::default()),
            poke: Notify::new(),
            moved: Notify::new(),
            told: Notify::new(),
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is held, shows it, and has it said at once.
    pub(super) fn change(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.book());
        self.show();
        self.poke.notify_one();
    }

    fn show(&self) {
        // In the order of the changes: the book stays closed meanwhile.
        let book = self.book();
        self.owned.send_if_modified(|shown| {
            let differs = shown != book.owned();
            if differs {
                shown.clone_from(book.owned());
            }
            differs
        });
    }

    /// Waits until the others know of everything that was given up.
    pub(super) async fn told(&self) {
        loop {
            let told = self.told.notified();
            let mut told = std::pin::pin!(told);
            // Registered before the look: `notify_waiters` wakes only who waits.
            told.as_mut().enable();
            if self.book().untold().is_none() {
                return;
            }
            told.await;
        }
    }
}

/// Asks until `shutdown`, and then gives everything up.
pub(super) async fn run(shared: Arc<Shared>, bus: Arc<dyn Bus>, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = keep(&shared, bus.as_ref()) => {}
        () = watch_over(&shared) => {}
    }
    shared.change(|book| book.give_up_all(Instant::now()));
    tell(&shared, bus.as_ref()).await;
}

async fn keep(shared: &Shared, bus: &dyn Bus) {
    let mut jitter = Jitter::of(bus.instance());
    let mut is_away = false;
    loop {
        tell(shared, bus).await;
        let asked = ask(shared, bus).await;
        let pause = match &asked {
            Ok(()) if shared.book().is_expecting() => EXPECTING,
            Ok(()) => PERIOD,
            Err(_) => AGAIN,
        };
        match asked {
            Ok(()) => is_away = false,
            Err(error) => {
                metrics::counter!("mcp_orch_lease_failures_total").increment(1);
                // Once for each time that it goes away.
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%error, "leases are not renewed, trying again");
                }
            }
        }
        tokio::select! {
            () = sleep(pause.mul_f64(0.9 + jitter.next() / 5.0)) => {}
            () = shared.poke.notified() => {}
        }
    }
}

/// Gives everything up when nobody answered for too long.
async fn watch_over(shared: &Shared) {
    loop {
        let moved = shared.moved.notified();
        let valid_until = shared.book().valid_until();
        match valid_until {
            None => moved.await,
            Some(until) => tokio::select! {
                () = moved => {}
                () = sleep_until(until) => {
                    let lost = shared.book().expire(Instant::now());
                    if lost {
                        shared.show();
                        tracing::error!("no lease could be renewed: nothing is served any more");
                    }
                }
            },
        }
    }
}

async fn ask(shared: &Shared, bus: &dyn Bus) -> Result<(), AskError> {
    let request = Bytes::from(shared.book().request().encode_to_vec());
    let asked = hedge::request(bus, &subject::lease(), &request, TIMEOUT, PATIENCE).await;
    let (answer, sent) = asked?;
    let reply = LeaseReply::decode(answer)?;
    shared.book().take(reply, sent, Instant::now());
    shared.show();
    shared.moved.notify_one();
    Ok(())
}

/// Says what was given up; what cannot be said now is said again with the next request.
async fn tell(shared: &Shared, bus: &dyn Bus) {
    let Some(release) = shared.book().untold() else { return };
    let payload = Bytes::from(release.encode_to_vec());
    let subject = subject::lease_release();
    match hedge::request(bus, &subject, &payload, TELL_TIMEOUT, PATIENCE).await {
        Ok(_) => heard(shared, &release),
        Err(error) => tracing::debug!(%error, "released servers are not known to others yet"),
    }
}

fn heard(shared: &Shared, release: &LeaseRelease) {
    shared.book().told(release);
    shared.told.notify_waiters();
}

//! What is done with a connection while it stands: learn its catalogue, again when it changed,
//! ask now and then whether it still answers, and see whether it floods its stderr.

use std::sync::Arc;
use std::time::Duration;

use domain::connection::{ConnectionState, Observation};
use mcp::client::{Reply, RequestError, RequestOptions, SendFailure};
use mcp::{ErrorObject, code};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::catalogue::{Kept, Shelf};
use super::observe::Report;
use super::{ActorDeps, Link, Slot};

/// For so long further changes are waited for before the catalogue is learned again.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// When a catalogue that could not be learned whole is tried again, at first.
const RELEARN_FIRST: Duration = Duration::from_secs(60);
/// And at the longest.
const RELEARN_LONGEST: Duration = Duration::from_secs(900);
/// After so many pings in a row without an answer, and nothing under way, the connection is given
/// up.
const MAX_SILENT_PINGS: u32 = 3;

/// A connection that stands, under observation.
pub(super) struct Upkeep<'a> {
    pub(super) deps: &'a ActorDeps,
    pub(super) slot: &'a Slot,
    pub(super) link: &'a Arc<Link>,
    pub(super) shelf: &'a mut Shelf,
    pub(super) report: &'a watch::Sender<Report>,
    /// What is seen as of now.
    pub(super) seen: Observation,
    /// What is wrong with the catalogue; empty when nothing is.
    pub(super) catalogue_cause: String,
    /// Pings in a row that were not answered.
    pub(super) silent_pings: u32,
}

impl Upkeep<'_> {
    /// Until the connection should be given up: returns why. That it ended by itself is for
    /// others to see. `lists` says that a list changed.
    pub(super) async fn run(mut self, lists: &Notify) -> String {
        let mut relearn_wait = RELEARN_FIRST;
        let mut learn_at = Some(Instant::now());
        let mut ping_at = Instant::now() + self.deps.config.ping_interval;
        loop {
            tokio::select! {
                () = lists.notified() => {
                    let soon = Instant::now() + DEBOUNCE;
                    learn_at = Some(learn_at.map_or(soon, |at| at.min(soon)));
                }
                // Nothing is said before the first look at what it offers.
                () = self.slot.stderr.flooded(), if self.seen.state != ConnectionState::Starting => {
                    self.tell();
                }
                () = sleep_until(learn_at.unwrap_or(ping_at)), if learn_at.is_some() => {
                    let whole = self.learn().await;
                    relearn_wait = if whole {
                        RELEARN_FIRST
                    } else {
                        relearn_wait.saturating_mul(2).min(RELEARN_LONGEST)
                    };
                    learn_at = (!whole).then(|| Instant::now() + relearn_wait);
                }
                () = sleep_until(ping_at) => {
                    if let Some(cause) = self.ping().await {
                        return cause.to_owned();
                    }
                    ping_at = Instant::now() + self.deps.config.ping_interval;
                }
            }
        }
    }

    /// Whether all of the catalogue could be learned.
    async fn learn(&mut self) -> bool {
        let recorded = self.report.borrow().catalogue.as_ref().map(|(known, _)| known.hash.clone());
        let hash = recorded.unwrap_or_else(|| self.deps.recorded_hash(&self.slot.spec));
        let kept = Kept { bus: &*self.deps.bus, spec: &self.slot.spec, hash: &hash };
        let learned = self.shelf.learn(self.link, self.deps.config.list_timeout, kept).await;
        let whole = learned.cause.is_empty();
        self.catalogue_cause = learned.cause;
        self.report.send_modify(|report| report.catalogue = Some((learned.summary, learned.body)));
        self.tell();
        whole
    }

    /// Why the connection should be given up, if it should.
    async fn ping(&mut self) -> Option<&'static str> {
        let start = Instant::now();
        let method = if self.link.is_stateless() { "server/discover" } else { "ping" };
        let read_timeout = Some(self.deps.config.ping_timeout);
        let options = RequestOptions { read_timeout, ..RequestOptions::default() };
        let answer = self.link.connection.request(method, None, options).reply().await;
        if self.link.is_stateless() && is_of_another_era(&answer) {
            self.slot.note_protocol(None);
            return Some("the server no longer speaks the revision that it spoke");
        }
        if answer.is_ok() {
            // An error is an answer, too: many servers do not know pings.
            self.silent_pings = 0;
            self.seen.response_time_ms = millis(start.elapsed());
        } else {
            self.silent_pings += 1;
        }
        self.tell();
        // A server that works on a request and does not answer meanwhile is busy, not gone.
        let is_gone =
            self.silent_pings >= MAX_SILENT_PINGS && self.link.connection.in_flight() == 0;
        is_gone.then_some("pings were not answered")
    }

    fn tell(&mut self) {
        let silent = match self.silent_pings {
            0 => String::new(),
            _ => {
                let limit = self.deps.config.ping_timeout.as_secs_f32();
                format!("ping did not answer within {limit} s")
            }
        };
        let is_flooded = self.slot.stderr.is_flooded(Instant::now(), self.deps.config.flood_quiet);
        let flood = if is_flooded { super::cause::flood() } else { String::new() };
        let causes = [self.catalogue_cause.as_str(), silent.as_str(), flood.as_str()];
        let causes: Vec<&str> = causes.into_iter().filter(|cause| !cause.is_empty()).collect();
        self.seen.cause = super::cause::cut(&causes.join("; "));
        self.seen.state = match causes.as_slice() {
            [] => ConnectionState::Active,
            _ => ConnectionState::Degraded,
        };
        let seen = self.seen.clone();
        self.report.send_modify(|report| report.observation = Some(seen));
    }
}

/// Whether an upstream that spoke the stateless era refuses its first method: it was replaced, and
/// over HTTP no connection tells so.
fn is_of_another_era(answer: &Result<Reply, RequestError>) -> bool {
    match answer {
        Ok(Reply::Error(error)) => ErrorObject::parse(error).code != code::INTERNAL_ERROR,
        Err(RequestError::NotSent(SendFailure::Http(status))) => {
            matches!(status.as_u16(), 400 | 404 | 405)
        }
        Ok(Reply::Result(_)) | Err(_) => false,
    }
}

/// Whole milliseconds, at least 1: 0 means unknown.
pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}

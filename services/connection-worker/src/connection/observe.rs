//! Writes what was seen of a connection to the record.
//!
//! What always holds: the record has the latest state in the end, however long it was away; what
//! came and went meanwhile is passed over; a state that says nothing new is not written; nothing is
//! written of a server that this worker does not own, and the record refuses what is late.

use std::sync::Arc;
use std::time::Duration;

use backplane::entry::{Body, Entry, FENCED};
use backplane::{Clock, Journal, JournalOutcome, LeaseHandle, Owned, ReplicaHandle};
use bytes::Bytes;
use domain::connection::{CatalogueSummary, Observation};
use domain::event::ConnectionEvent;
use domain::{Actor, Event, StreamId, StreamKind};
use proto::internal::v1::JournalEntry;
use tokio::sync::watch;

use super::{ActorDeps, ConnectionSpec};
use crate::worker::EventIds;

/// Between two tries while the record is away.
const RETRY: Duration = Duration::from_secs(1);
/// Reasons of refusals that pass.
const WORTH_REPEATING: [&str; 3] = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CONFLICT"];
/// A response time that moved by less than this is no news.
const NEWS_MS: u32 = 50;

/// What is known of a connection now.
#[derive(Clone, Default)]
pub(crate) struct Report {
    /// Its state; `None` before the first look.
    pub(crate) observation: Option<Observation>,
    /// Its catalogue, as soon as one was learned.
    pub(crate) catalogue: Option<(CatalogueSummary, Bytes)>,
}

/// Writes reports; one for each connection.
pub(crate) struct Observer {
    /// Whose connection it is.
    spec: Arc<ConnectionSpec>,
    lease: LeaseHandle,
    /// Under which the last entry was written; what is in the record since is not known after
    /// another one.
    epoch: u64,
    replica: ReplicaHandle,
    journal: Journal,
    clock: Clock,
    event_ids: EventIds,
    /// The last state in the record, if there is one.
    recorded: Option<Observation>,
    /// The hash of the last catalogue in the record; empty without one.
    recorded_hash: String,
    /// What was sent and may be in the record or not.
    unsure: Option<(JournalEntry, News)>,
}

/// What an entry says.
#[derive(Clone)]
enum News {
    State(Observation),
    Catalogue(String),
}

impl Observer {
    /// Goes on from what the record has, and writes while `lease` says that the server is owned.
    pub(crate) fn new(deps: &ActorDeps, spec: &Arc<ConnectionSpec>, lease: LeaseHandle) -> Self {
        let view = deps.replica.read().connection(&spec.server);
        Self {
            spec: Arc::clone(spec),
            lease,
            epoch: 0,
            replica: deps.replica.clone(),
            journal: deps.journal.clone(),
            clock: Arc::clone(&deps.clock),
            event_ids: Arc::clone(&deps.event_ids),
            recorded: view.observed_at.map(|_| view.observation.clone()),
            recorded_hash: view.catalogue.as_ref().map(recorded_hash).unwrap_or_default(),
            unsure: None,
        }
    }

    /// Until the other side of `latest` is dropped and its last value was written once.
    pub(crate) async fn run(mut self, mut latest: watch::Receiver<Report>) {
        let mut owned = self.lease.owned();
        loop {
            let changed = tokio::select! {
                changed = latest.changed() => changed,
                changed = owned.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            loop {
                let report = latest.borrow_and_update().clone();
                if self.is_owned(&mut owned) && self.write(report).await {
                    break;
                }
                // Whatever is the latest by then is tried next.
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    changed = owned.changed() => if changed.is_err() { return },
                    changed = latest.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// Whether there is an epoch to write under.
    fn is_owned(&mut self, owned: &mut watch::Receiver<Owned>) -> bool {
        // What changes from now on is seen.
        drop(owned.borrow_and_update());
        let Some(epoch) = self.lease.epoch(self.spec.server) else { return false };
        if epoch != self.epoch {
            // Others may have written meanwhile.
            self.epoch = epoch;
            self.recorded = None;
            let view = self.replica.read().connection(&self.spec.server);
            self.recorded_hash = view.catalogue.as_ref().map(recorded_hash).unwrap_or_default();
        }
        true
    }

    /// Whether all that is new in the report is in the record now.
    async fn write(&mut self, report: Report) -> bool {
        if let Some(unsure) = self.unsure.take()
            && !self.send(unsure).await
        {
            return false;
        }
        if let Some((summary, body)) = report.catalogue
            && summary.hash != self.recorded_hash
        {
            let (project, hash) = (self.spec.project.clone(), summary.hash.clone());
            let event = ConnectionEvent::CatalogueObserved { project, summary };
            if !self.record(event, Body::Catalogue(body), News::Catalogue(hash)).await {
                return false;
            }
        }
        if let Some(observation) = report.observation
            && is_news(self.recorded.as_ref(), &observation)
        {
            let (project, seen) = (self.spec.project.clone(), observation.clone());
            let event = ConnectionEvent::StateObserved { project, observation };
            return self.record(event, Body::None, News::State(seen)).await;
        }
        true
    }

    async fn record(&mut self, event: ConnectionEvent, body: Body, news: News) -> bool {
        let entry = Entry {
            stream: StreamId::new(self.spec.tenant, StreamKind::Connection, self.spec.server),
            event_id: (self.event_ids)(),
            occurred_at: (self.clock)(),
            actor: Actor::System,
            epoch: self.epoch,
            event: Event::Connection(event),
            body,
        };
        match entry.into_message() {
            Ok(message) => self.send((message, news)).await,
            Err(error) => {
                tracing::error!(server = %self.spec.server, %error, "observation cannot be written");
                true
            }
        }
    }

    /// Whether the entry is done with: recorded, or refused for good. Else it is kept, for it may
    /// be recorded or not, and goes again under its own id.
    async fn send(&mut self, (message, news): (JournalEntry, News)) -> bool {
        let server = self.spec.server;
        let outcome = match self.journal.record(vec![message.clone()]).await {
            Ok(outcomes) => outcomes.into_iter().next(),
            Err(error) => {
                tracing::debug!(%server, %error, "observation not recorded yet");
                self.unsure = Some((message, news));
                return false;
            }
        };
        match outcome {
            Some(JournalOutcome::Refused { code, .. }) if WORTH_REPEATING.contains(&&*code) => {
                self.unsure = Some((message, news));
                return false;
            }
            Some(JournalOutcome::Refused { code, .. }) if code == FENCED => {
                tracing::info!(%server, "another worker owns the server by now");
                self.lease.lost(server, message.epoch);
                return false;
            }
            // E.g. the server was deleted meanwhile.
            Some(JournalOutcome::Refused { code, message }) => {
                tracing::warn!(%server, code, message, "observation refused");
            }
            Some(JournalOutcome::Recorded) | None => {}
        }
        match news {
            News::State(observation) => self.recorded = Some(observation),
            News::Catalogue(hash) => self.recorded_hash = hash,
        }
        true
    }
}

/// The hash of a catalogue that is in the record as it should be: one that was recorded before
/// definitions were is recorded once more.
fn recorded_hash(known: &CatalogueSummary) -> String {
    if known.tools > 0 && known.definitions.is_empty() {
        return String::new();
    }
    known.hash.clone()
}

/// Whether an observation is worth an event after the one before.
fn is_news(recorded: Option<&Observation>, seen: &Observation) -> bool {
    let Some(recorded) = recorded else {
        return true;
    };
    recorded.state != seen.state
        || recorded.cause != seen.cause
        || recorded.revision != seen.revision
        || has_moved(recorded.response_time_ms, seen.response_time_ms)
}

/// Whether a response time at least doubled or halved, and by something that is felt.
fn has_moved(before_ms: u32, now_ms: u32) -> bool {
    let (low, high) = (before_ms.min(now_ms), before_ms.max(now_ms));
    high - low >= NEWS_MS && high >= low.saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use domain::connection::{ConnectionState, ToolDefinition};

    use super::*;

    fn active(response_time_ms: u32) -> Observation {
        Observation {
            state: ConnectionState::Active,
            response_time_ms,
            setup_time_ms: 7,
            ..Observation::default()
        }
    }

    #[test]
    fn a_catalogue_without_definitions_counts_as_not_recorded() {
        let definition = ToolDefinition { tool: "echo".to_owned(), hash: "00".to_owned() };
        let known = |tools, definitions: &[ToolDefinition]| CatalogueSummary {
            hash: "hash".to_owned(),
            tools,
            definitions: definitions.into(),
            ..CatalogueSummary::default()
        };
        assert_eq!(recorded_hash(&known(1, &[])), "");
        assert_eq!(recorded_hash(&known(0, &[])), "hash");
        assert_eq!(recorded_hash(&known(1, &[definition])), "hash");
    }

    #[test]
    fn only_what_says_something_new_is_news() {
        assert!(is_news(None, &active(1)));
        assert!(!is_news(Some(&active(1)), &active(1)));
        assert!(!is_news(Some(&active(1)), &active(4)));
        assert!(!is_news(Some(&active(100)), &active(190)));
        assert!(is_news(Some(&active(100)), &active(200)));
        assert!(is_news(Some(&active(200)), &active(90)));
        let other_setup = Observation { setup_time_ms: 900, ..active(1) };
        assert!(!is_news(Some(&active(1)), &other_setup));
        let degraded =
            Observation { state: ConnectionState::Degraded, cause: "why".into(), ..active(1) };
        assert!(is_news(Some(&active(1)), &degraded));
        assert!(is_news(
            Some(&degraded),
            &Observation { cause: "else".into(), ..degraded.clone() }
        ));
    }
}

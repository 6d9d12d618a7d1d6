//! Appends what edges and workers saw, and answers after the commit.
//!
//! What always holds: only calls, denials and observations are taken; digests are keyed and made
//! here, over the masked bytes; bodies are cut at a limit and have their project's retention; an
//! entry that is refused leaves its neighbours as they are; the same event id twice is one event,
//! and so is the end of a call that two edges record;
//! what a worker saw of a server that another owns by now is refused as [`FENCED`].

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use backplane::entry::{Body as EntryBody, Entry, FENCED};
use bus::{Incoming, Server};
use domain::event::{CallEvent, ConnectionEvent};
use domain::{ErrorCode, Event, EventId, ProjectId, Refusal, StreamKind, TenantId, Timestamp};
use event_store::{Append, AppendError, Appended, Body, Expected, Fence, NewEvent, Retention};
use prost::Message as _;
use proto::internal::v1::{JournalEntry, JournalOutcome, JournalReply, JournalRequest};
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::body;
use super::digests::hex;
use super::share::{Share, Shares};
use crate::app::App;
use crate::fault;
use crate::ownership::lease_of;
use crate::use_case::server_delete::destroy_catalogue;

/// How much is journaled at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Requests that are worked on at the same time.
    pub requests: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Entries in one request.
    pub entries_per_request: usize,
    /// Entries of one tenant that are under way.
    pub entries_per_tenant: usize,
    /// Bytes of one tenant that are under way.
    pub bytes_per_tenant: usize,
    /// Bytes of arguments, and of a result, that are kept.
    pub body_bytes: usize,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self {
            requests: 256,
            waiting: 4_096,
            entries_per_request: 1_024,
            entries_per_tenant: 16_384,
            bytes_per_tenant: 64 * 1024 * 1024,
            body_bytes: 64 * 1024,
        }
    }
}

/// For how long a project's retention is taken as known.
const RETENTION_FRESH_SECONDS: i64 = 2;
const MAX_RETENTIONS: usize = 10_000;
/// How often an append whose outcome is unknown is repeated.
const ATTEMPTS: u32 = 3;

/// Serves the journal.
pub(crate) struct Journal {
    app: Arc<App>,
    limits: JournalLimits,
    shares: Arc<Shares>,
    retentions: Mutex<HashMap<(TenantId, ProjectId), (u32, Timestamp)>>,
}

impl Journal {
    /// A journal with these limits.
    pub(crate) fn new(app: Arc<App>, limits: JournalLimits) -> Arc<Self> {
        let shares = Shares::new(limits.entries_per_tenant, limits.bytes_per_tenant);
        Arc::new(Self { app, limits, shares, retentions: Mutex::default() })
    }

    /// Takes requests until `shutdown`; those that were taken are finished.
    pub(crate) async fn run(self: Arc<Self>, mut server: Server, shutdown: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.limits.requests));
        let mut running = JoinSet::new();
        loop {
            let permit = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                permit = Arc::clone(&permits).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let incoming = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                incoming = server.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            let journal = Arc::clone(&self);
            running.spawn(async move {
                let _permit = permit;
                journal.answer(incoming).await;
            });
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
    }

    async fn answer(&self, incoming: Incoming) {
        let Ok(request) = JournalRequest::decode(incoming.first) else {
            tracing::warn!("a journal request cannot be read");
            return;
        };
        let outcomes = self.record(request.entries).await;
        let reply = JournalReply { outcomes };
        incoming.exchange.reply(reply.encode_to_vec().into()).await.ok();
        incoming.exchange.finish();
    }

    /// One outcome per entry, in order; after the commit.
    async fn record(&self, entries: Vec<JournalEntry>) -> Vec<JournalOutcome> {
        if entries.len() > self.limits.entries_per_request {
            let refusal = Refusal::invalid("entries", "are more than one request may have");
            return entries.iter().map(|_| refused(&refusal)).collect();
        }
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut appends = Vec::with_capacity(entries.len());
        let mut shares = Vec::with_capacity(entries.len());
        for entry in entries {
            // Many entries come at once: calls that are under way go on between them.
            tokio::task::consume_budget().await;
            match self.admit(entry).await {
                Ok((append, share)) => {
                    appends.push((outcomes.len(), append));
                    shares.push(share);
                    outcomes.push(JournalOutcome::default());
                }
                Err(refusal) => outcomes.push(refused(&refusal)),
            }
        }
        let replaced = self.catalogues_before(&appends).await;
        let ids: HashMap<usize, EventId> = appends
            .iter()
            .filter_map(|(index, append)| Some((*index, append.events.first()?.id)))
            .collect();
        let ends_of_calls: HashSet<usize> = appends
            .iter()
            .filter(|(_, append)| ends_call(append))
            .map(|(index, _)| *index)
            .collect();
        for (index, result) in append_all(&self.app, appends).await {
            if !result.as_ref().is_ok_and(|appended| !appended.replayed)
                && let Some(id) = ids.get(&index)
            {
                self.app.views.decoded().forget(*id);
            }
            match result {
                // A repeated entry may be older than what is kept now.
                Ok(appended) if !appended.replayed => {
                    if let Some((tenant, event)) = replaced.get(&index) {
                        destroy_catalogue(&self.app, *tenant, Some(*event)).await;
                    }
                }
                Ok(_) => {}
                Err(AppendError::Fenced { .. }) => outcomes[index] = fenced(),
                // It is recorded how the call ended: by the edge that had it before.
                Err(AppendError::DuplicateEventId(_)) if ends_of_calls.contains(&index) => {}
                Err(error) => outcomes[index] = refused(&fault::append(error)),
            }
        }
        drop(shares);
        let written = outcomes.iter().filter(|outcome| outcome.refused.is_empty()).count();
        metrics::counter!("mcp_orch_journal_entries_total", "outcome" => "recorded")
            .increment(written as u64);
        metrics::counter!("mcp_orch_journal_entries_total", "outcome" => "refused")
            .increment((outcomes.len() - written) as u64);
        outcomes
    }

    /// The catalogues that these appends replace: only a server's last one is kept.
    async fn catalogues_before(
        &self,
        appends: &[(usize, Append)],
    ) -> HashMap<usize, (TenantId, EventId)> {
        let mut replaced = HashMap::new();
        for (index, append) in appends {
            let kept = |event: &NewEvent| {
                matches!(&event.body, Some(Body { retention: Retention::Forever, .. }))
            };
            let Some(new) = append.events.iter().find(|event| kept(event)) else { continue };
            let (tenant, server) = (append.stream.tenant, &append.stream.id);
            match self.app.views.last_catalogue_event(tenant, server).await {
                Ok(Some(event)) if event != new.id => {
                    replaced.insert(*index, (tenant, event));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a former catalogue was not looked up"),
            }
        }
        replaced
    }

    /// Checks one entry, takes its part of the tenant's share and makes the append.
    async fn admit(&self, message: JournalEntry) -> Result<(Append, Share), Refusal> {
        let weight = message.encoded_len();
        let entry = Entry::from_message(message)
            .map_err(|error| Refusal::new(ErrorCode::InvalidArgument, error.to_string()))?;
        check_stream(&entry)?;
        let tenant = entry.stream.tenant;
        let share = self.shares.take(tenant, weight).ok_or_else(|| {
            Refusal::new(ErrorCode::ResourceExhausted, "the tenant's journal is full")
        })?;
        let fence = fence_of(&entry)?;
        let append = self.append_of(entry).await?;
        Ok((Append { fence, ..append }, share))
    }

    async fn append_of(&self, mut entry: Entry) -> Result<Append, Refusal> {
        let tenant = entry.stream.tenant;
        let body = match (&mut entry.event, std::mem::take(&mut entry.body)) {
            (Event::Call(CallEvent::Finished(call)), EntryBody::Call { arguments, result }) => {
                let key = self.app.digests.of(&self.app, tenant).await?;
                call.arguments_digest = key.hex(&arguments);
                call.result_digest = key.hex(&result);
                call.arguments_bytes = call.arguments_bytes.max(arguments.len() as u64);
                call.result_bytes = call.result_bytes.max(result.len() as u64);
                let project = call.subject.project.clone();
                let days = self.retention_days(tenant, &project).await?;
                let kept = days > 0 && !(arguments.is_empty() && result.is_empty());
                kept.then(|| {
                    let stored = body::stored(&arguments, &result, self.limits.body_bytes);
                    call.body_truncated |= stored.truncated;
                    let until = entry.occurred_at.plus_seconds(i64::from(days) * 86_400);
                    Body { bytes: stored.json, retention: Retention::Until(until) }
                })
            }
            (
                Event::Connection(ConnectionEvent::CatalogueObserved { summary, .. }),
                EntryBody::Catalogue(catalogue),
            ) => {
                if hex(digest(&SHA256, &catalogue).as_ref()) != summary.hash {
                    return Err(Refusal::invalid("catalogue", "has another hash than it says"));
                }
                Some(Body { bytes: catalogue, retention: Retention::Forever })
            }
            _ => None,
        };
        let encoded = events::encode(&entry.event);
        self.app.views.decoded().keep(entry.event_id, entry.event, &encoded);
        let event = NewEvent {
            id: entry.event_id,
            event_type: Cow::Borrowed(encoded.event_type),
            schema_version: encoded.schema_version,
            payload: encoded.payload,
            occurred_at: entry.occurred_at,
            actor_type: Cow::Borrowed(entry.actor.kind()),
            actor_id: entry.actor.id(),
            causation_id: None,
            correlation_id: None,
            body,
        };
        Ok(Append::new(entry.stream, Expected::Any, vec![event]))
    }

    /// How long the project keeps bodies. One that is unknown keeps none.
    async fn retention_days(&self, tenant: TenantId, project: &ProjectId) -> Result<u32, Refusal> {
        let now = self.app.now();
        let key = (tenant, project.clone());
        let known = {
            let retentions = self.retentions.lock().unwrap_or_else(PoisonError::into_inner);
            retentions.get(&key).copied()
        };
        if let Some((days, until)) = known
            && now < until
        {
            return Ok(days);
        }
        let mut days = self.app.views.body_retention_days(tenant, project).await?;
        if days.is_none() {
            // Maybe another replica made it a moment ago.
            self.app.freshness.catch_up().await;
            days = self.app.views.body_retention_days(tenant, project).await?;
        }
        let Some(days) = days else { return Ok(0) };
        let mut retentions = self.retentions.lock().unwrap_or_else(PoisonError::into_inner);
        if retentions.len() >= MAX_RETENTIONS {
            retentions.clear();
        }
        retentions.insert(key, (days, now.plus_seconds(RETENTION_FRESH_SECONDS)));
        Ok(days)
    }
}

/// Appends; those whose outcome is unknown are found out by the same event ids.
async fn append_all(
    app: &App,
    mut appends: Vec<(usize, Append)>,
) -> Vec<(usize, Result<Appended, AppendError>)> {
    let mut done = Vec::with_capacity(appends.len());
    for attempt in 1..=ATTEMPTS {
        if appends.is_empty() {
            break;
        }
        let batch = appends.iter().map(|(_, append)| append.clone()).collect();
        let results = app.store.append_all(batch).await;
        let mut unknown = Vec::new();
        for ((index, append), result) in appends.into_iter().zip(results) {
            match result {
                Err(AppendError::OutcomeUnknown { .. }) if attempt < ATTEMPTS => {
                    unknown.push((index, append));
                }
                result => done.push((index, result)),
            }
        }
        appends = unknown;
    }
    done
}

/// The stream's id is one of its kind.
fn check_stream(entry: &Entry) -> Result<(), Refusal> {
    let id = &entry.stream.id;
    let fits = match entry.stream.kind {
        StreamKind::Call => id.parse::<domain::CallId>().is_ok(),
        StreamKind::Connection => id.parse::<domain::ServerId>().is_ok(),
        StreamKind::Access => id == "-" || id.parse::<ProjectId>().is_ok(),
        _ => false,
    };
    if fits { Ok(()) } else { Err(Refusal::invalid("stream", "is no id of its kind")) }
}

/// Whether it is the end of a call, which has the call's id: it is recorded once, whoever says it.
fn ends_call(append: &Append) -> bool {
    let is_of_call = |event: &NewEvent| event.id.to_string() == append.stream.id;
    append.stream.kind == StreamKind::Call && append.events.iter().any(is_of_call)
}

/// What must still hold when the entry is written: that the server's owner saw it.
fn fence_of(entry: &Entry) -> Result<Option<Fence>, Refusal> {
    match (entry.epoch, entry.stream.kind) {
        (0, _) => Ok(None),
        (epoch, StreamKind::Connection) => {
            Ok(Some(Fence { lease: lease_of(&entry.stream.id), epoch }))
        }
        _ => Err(Refusal::invalid("epoch", "belongs to observations of servers alone")),
    }
}

fn fenced() -> JournalOutcome {
    JournalOutcome {
        refused: FENCED.to_owned(),
        message: "another worker owns the server now".to_owned(),
    }
}

fn refused(refusal: &Refusal) -> JournalOutcome {
    JournalOutcome { refused: refusal.code.reason().to_owned(), message: refusal.message.clone() }
}

//! The record of each call, by the project's audit mode.
//!
//! `buffered`: queued in bounded memory. `acknowledged`: no answer is released before its
//! `call.finished` is durable. `strict`: besides, nothing is forwarded before its `call.started`
//! is durable. All modes refuse before forwarding when the journal has no room, and those that
//! wait for the record also while it cannot be reached; whether it can again is tried with the
//! start of a call, so that none runs for the trial.

use std::time::Duration;

use backplane::entry::{Body, Entry};
use backplane::{Journal, JournalError, JournalOutcome};
use bytes::Bytes;
use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::event::{CallEvent, Event};
use domain::project::AuditMode;
use domain::{
    Actor, ApiKeyId, CallId, ErrorCode, EventId, StreamId, StreamKind, TenantId, Timestamp,
};
use proto::internal::v1::JournalEntry;
use uuid::Uuid;

use crate::call::failure;

/// Most bytes of arguments and result that travel to the record, in one request to it. Larger
/// results are recorded without their content, instead of not at all.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Up to this size, in bytes, arguments are copied out of the buffer they were received in: the
/// record may wait, would hold all of the buffer, and the connection would need another one.
const COPIED_BYTES: usize = 16 * 1024;

/// How long the answer of a call that ran nowhere waits for its record, which is written all the
/// same when it can be.
const UNSENT_WAIT: Duration = Duration::from_secs(1);

/// Which call is recorded, and how.
#[derive(Clone, Debug)]
pub(crate) struct CallMeta {
    pub(crate) id: CallId,
    pub(crate) tenant: TenantId,
    pub(crate) key: ApiKeyId,
    pub(crate) mode: AuditMode,
    pub(crate) subject: CallSubject,
    pub(crate) client: String,
    pub(crate) mcp_session: String,
    /// Raw JSON, as the client sent it; empty where there is none, or where it is not known here.
    pub(crate) arguments: Bytes,
    /// The size of what the client sent.
    pub(crate) arguments_bytes: u64,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: CallOutcome,
    pub(crate) error_code: i32,
    pub(crate) queue_us: u64,
    pub(crate) upstream_us: u64,
    pub(crate) total_us: u64,
    /// How often a worker accepted it.
    pub(crate) attempts: u32,
    pub(crate) arguments: Arguments,
    /// What may be stored of the result or the error.
    pub(crate) stored_result: Bytes,
    /// Size of the result or the error, as the client gets it.
    pub(crate) result_bytes: usize,
    /// Whether the worker masked the result.
    pub(crate) result_masked: bool,
}

/// What may be stored of a call's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// The worker, which knows the server's secrets, found none.
    AsSent,
    /// The worker masked something: raw JSON of what is left.
    Masked(Bytes),
    /// No worker looked at them: nothing is stored.
    Withheld,
}

impl Ending {
    /// Without a word of the upstream.
    pub(crate) fn without_answer(outcome: CallOutcome) -> Self {
        Self {
            outcome,
            error_code: 0,
            queue_us: 0,
            upstream_us: 0,
            total_us: 0,
            attempts: 0,
            arguments: Arguments::Withheld,
            stored_result: Bytes::new(),
            result_bytes: 0,
            result_masked: false,
        }
    }
}

/// The record could not be made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrecorded {
    /// The memory of what is to be recorded is full.
    Full,
    /// It was refused, or cannot be reached; nothing is in it.
    Refused,
    /// Nobody knows whether it is in it.
    Unknown,
}

impl Unrecorded {
    /// The raw error for the client of a call that was not forwarded.
    pub(crate) fn error(self) -> Bytes {
        match self {
            Self::Full => failure(
                ErrorCode::ResourceExhausted.reason(),
                "too many calls wait to be recorded: retry later",
            ),
            Self::Refused | Self::Unknown => {
                let message = "the record cannot be written: retry later";
                failure(ErrorCode::Unavailable.reason(), message)
            }
        }
    }
}

/// Whether a call may be forwarded, as far as it can be known without waiting.
pub(crate) fn admit(
    journal: &Journal,
    tenant: TenantId,
    mode: AuditMode,
) -> Result<(), Unrecorded> {
    let may = match mode {
        AuditMode::Buffered => journal.has_room(tenant),
        AuditMode::Acknowledged | AuditMode::Strict => journal.can_record(tenant),
    };
    match may {
        true => Ok(()),
        false if journal.has_room(tenant) => Err(Unrecorded::Refused),
        false => Err(Unrecorded::Full),
    }
}

/// Whether the start of a call is recorded before it is forwarded.
pub(crate) fn is_started_first(journal: &Journal, mode: AuditMode) -> bool {
    match mode {
        AuditMode::Buffered => false,
        AuditMode::Acknowledged => !journal.is_sure(),
        AuditMode::Strict => true,
    }
}

/// Records that a call is about to be forwarded, by the edge of that name.
pub(crate) fn start(
    journal: &Journal,
    meta: &CallMeta,
    edge: &str,
) -> impl Future<Output = Result<(), Unrecorded>> + Send + use<> {
    let started = CallStarted { subject: meta.subject.clone(), edge: edge.to_owned() };
    let event = Event::Call(CallEvent::Started(started));
    let about = meta.about();
    let message = message(about, event, Body::None, meta.subject.started_at);
    let journal = journal.clone();
    async move { write(&journal, about, message?).await }
}

/// A call was not forwarded, because the record of its start was not made. If it was after all, its
/// end is recorded, too.
pub(crate) fn not_forwarded(journal: &Journal, meta: &CallMeta, unrecorded: Unrecorded) {
    if unrecorded != Unrecorded::Unknown {
        return;
    }
    let (about, now) = (meta.about(), meta.subject.started_at);
    let (event, body) = finished(meta.clone(), Ending::without_answer(CallOutcome::NotStarted));
    if let Ok(message) = message(about, Event::Call(CallEvent::Finished(event)), body, now)
        && journal.queue(message).is_err()
    {
        tracing::warn!(call = %about.call, "a call that was not forwarded may look unfinished");
    }
}

/// After the call ended, before its answer is released.
pub(crate) async fn finish(
    journal: &Journal,
    meta: CallMeta,
    ending: Ending,
    now: Timestamp,
) -> Result<(), Unrecorded> {
    let (about, outcome) = (meta.about(), ending.outcome);
    let (event, body) = finished(meta, ending);
    let message = message(about, Event::Call(CallEvent::Finished(event)), body, now)?;
    if about.mode == AuditMode::Buffered {
        return write(journal, about, message).await;
    }
    let again = message.clone();
    if outcome != CallOutcome::NotStarted {
        let written = write(journal, about, message).await;
        if let Err(Unrecorded::Unknown | Unrecorded::Refused) = written {
            // The client is told that it may be unrecorded. It is not to stay so: the record
            // takes it when it is back, once, by its id.
            journal.queue(again).ok();
        }
        return written;
    }
    // Nothing ran: the client is told of it soon, whatever becomes of the record.
    match tokio::time::timeout(UNSENT_WAIT, write(journal, about, message)).await {
        Ok(Err(Unrecorded::Unknown)) | Err(_) => journal.queue(again).map_err(|_| Unrecorded::Full),
        Ok(done) => done,
    }
}

fn finished(meta: CallMeta, ending: Ending) -> (CallFinished, Body) {
    let arguments_bytes = meta.arguments_bytes;
    let (arguments, arguments_masked) = match ending.arguments {
        Arguments::AsSent if meta.arguments.is_empty() => (Bytes::new(), arguments_bytes > 0),
        Arguments::AsSent => (alone(meta.arguments), false),
        Arguments::Masked(masked) => (masked, true),
        Arguments::Withheld => (Bytes::new(), arguments_bytes > 0),
    };
    let too_large = arguments.len() + ending.stored_result.len() > MAX_BODY_BYTES;
    let event = CallFinished {
        subject: meta.subject,
        outcome: ending.outcome,
        error_code: ending.error_code,
        queue_us: ending.queue_us,
        upstream_us: ending.upstream_us,
        total_us: ending.total_us,
        attempts: ending.attempts,
        arguments_bytes,
        result_bytes: ending.result_bytes as u64,
        arguments_digest: String::new(),
        result_digest: String::new(),
        body_truncated: too_large,
        body_masked: arguments_masked || ending.result_masked,
        client: meta.client,
        mcp_session: meta.mcp_session,
    };
    let result = if too_large { Bytes::new() } else { ending.stored_result };
    (event, Body::Call { arguments, result })
}

/// The same bytes, without what else was received with them, unless they are large.
fn alone(bytes: Bytes) -> Bytes {
    if bytes.len() <= COPIED_BYTES { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// Where an entry belongs.
#[derive(Clone, Copy)]
struct About {
    call: CallId,
    tenant: TenantId,
    key: ApiKeyId,
    mode: AuditMode,
}

impl CallMeta {
    const fn about(&self) -> About {
        About { call: self.id, tenant: self.tenant, key: self.key, mode: self.mode }
    }
}

fn message(
    about: About,
    event: Event,
    body: Body,
    now: Timestamp,
) -> Result<JournalEntry, Unrecorded> {
    // The end of a call has the call's id: it is recorded once, whichever edge says it.
    let id = match &event {
        Event::Call(CallEvent::Finished(_)) => about.call.as_uuid(),
        _ => Uuid::now_v7(),
    };
    let entry = Entry {
        stream: StreamId::new(about.tenant, StreamKind::Call, about.call),
        event_id: EventId::from_uuid(id),
        occurred_at: now,
        actor: Actor::ApiKey(about.key),
        epoch: 0,
        event,
        body,
    };
    entry.into_message().map_err(|error| {
        tracing::error!(%error, call = %about.call, "a call's record cannot be written");
        Unrecorded::Refused
    })
}

async fn write(journal: &Journal, about: About, message: JournalEntry) -> Result<(), Unrecorded> {
    if about.mode == AuditMode::Buffered {
        return journal.queue(message).map_err(|_| Unrecorded::Full);
    }
    match journal.record(vec![message]).await {
        Ok(outcomes) if outcomes.iter().all(|done| *done == JournalOutcome::Recorded) => Ok(()),
        Ok(outcomes) => {
            tracing::error!(?outcomes, call = %about.call, "a call's record was refused");
            Err(Unrecorded::Refused)
        }
        Err(error) => {
            report(&error, about.call);
            Err(match error {
                JournalError::Full(_) => Unrecorded::Full,
                JournalError::TooLarge | JournalError::NoTenant => Unrecorded::Refused,
                JournalError::Unavailable(_) | JournalError::Malformed | JournalError::Stopped => {
                    Unrecorded::Unknown
                }
            })
        }
    }
}

fn report(error: &JournalError, call: CallId) {
    tracing::error!(%error, %call, "a call's record is not known to be durable");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> CallMeta {
        CallMeta {
            id: CallId::from_uuid(Uuid::now_v7()),
            tenant: TenantId::SYSTEM,
            key: ApiKeyId::from_uuid(Uuid::now_v7()),
            mode: AuditMode::Acknowledged,
            subject: CallSubject {
                project: "p".parse().unwrap(),
                server: domain::ServerId::from_uuid(Uuid::now_v7()),
                server_name: "s".into(),
                method: "tools/call".into(),
                target: "t".into(),
                api_key: None,
                started_at: Timestamp::from_micros(0),
            },
            client: String::new(),
            mcp_session: String::new(),
            arguments: Bytes::from_static(b"{\"a\":1}"),
            arguments_bytes: 7,
        }
    }

    fn ending(arguments: Arguments, result: Bytes) -> Ending {
        Ending {
            outcome: CallOutcome::Ok,
            error_code: 0,
            queue_us: 1,
            upstream_us: 2,
            total_us: 3,
            attempts: 1,
            arguments,
            result_bytes: result.len(),
            stored_result: result,
            result_masked: false,
        }
    }

    #[test]
    fn what_no_worker_looked_at_is_not_stored() {
        let recorded = |arguments| {
            let (event, body) = finished(meta(), ending(arguments, Bytes::new()));
            let Body::Call { arguments, .. } = body else { panic!("{body:?}") };
            (arguments, event.body_masked, event.arguments_bytes)
        };
        let sent = meta().arguments;
        assert_eq!(recorded(Arguments::AsSent), (sent, false, 7));
        assert_eq!(recorded(Arguments::Withheld), (Bytes::new(), true, 7));
        let masked = Bytes::from_static(b"{}");
        assert_eq!(recorded(Arguments::Masked(masked.clone())), (masked, true, 7));
    }

    #[test]
    fn a_result_that_is_too_large_is_recorded_without_its_content() {
        let large = Bytes::from(vec![b'1'; MAX_BODY_BYTES]);
        let (event, body) = finished(meta(), ending(Arguments::AsSent, large));
        assert!(event.body_truncated);
        assert_eq!(event.result_bytes, MAX_BODY_BYTES as u64);
        assert_eq!(body, Body::Call { arguments: meta().arguments, result: Bytes::new() });
    }
}

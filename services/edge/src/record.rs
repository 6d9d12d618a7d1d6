//! The record of each call, by the project's audit mode.
//!
//! `buffered`: queued in bounded memory. `acknowledged`: no answer is released before its
//! `call.finished` is durable. `strict`: besides, nothing is forwarded before its `call.started`
//! is durable. All modes refuse before forwarding when the journal has no room.

use backplane::entry::{Body, Entry};
use backplane::{Journal, JournalError, JournalOutcome};
use bytes::Bytes;
use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::event::{CallEvent, Event};
use domain::project::AuditMode;
use domain::{Actor, ApiKeyId, CallId, EventId, StreamId, StreamKind, TenantId, Timestamp};
use uuid::Uuid;

/// Most bytes of arguments and result that travel to the record, in one request to it. Larger
/// results are recorded without their content, instead of not at all.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Up to this size, in bytes, arguments are copied out of the buffer they were received in: the
/// record may wait, would hold all of the buffer, and the connection would need another one.
const COPIED_BYTES: usize = 16 * 1024;

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
    /// Raw JSON, as the client sent it; empty where there is none.
    pub(crate) arguments: Bytes,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: CallOutcome,
    pub(crate) error_code: i32,
    pub(crate) queue_us: u64,
    pub(crate) upstream_us: u64,
    pub(crate) total_us: u64,
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

/// The record could not be made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unrecorded;

/// Before anything is forwarded.
pub(crate) async fn admit(
    journal: &Journal,
    meta: &CallMeta,
    now: Timestamp,
) -> Result<(), Unrecorded> {
    if !journal.has_room(meta.tenant) {
        return Err(Unrecorded);
    }
    if meta.mode != AuditMode::Strict {
        return Ok(());
    }
    let started = CallStarted { subject: meta.subject.clone() };
    write(journal, meta.about(), Event::Call(CallEvent::Started(started)), Body::None, now).await
}

/// After the call ended, before its answer is released.
pub(crate) async fn finish(
    journal: &Journal,
    meta: CallMeta,
    ending: Ending,
    now: Timestamp,
) -> Result<(), Unrecorded> {
    let about = meta.about();
    let (event, body) = finished(meta, ending);
    write(journal, about, Event::Call(CallEvent::Finished(event)), body, now).await
}

fn finished(meta: CallMeta, ending: Ending) -> (CallFinished, Body) {
    let arguments_bytes = meta.arguments.len() as u64;
    let (arguments, arguments_masked) = match ending.arguments {
        Arguments::AsSent => (alone(meta.arguments), false),
        Arguments::Masked(masked) => (masked, true),
        Arguments::Withheld => (Bytes::new(), !meta.arguments.is_empty()),
    };
    let too_large = arguments.len() + ending.stored_result.len() > MAX_BODY_BYTES;
    let event = CallFinished {
        subject: meta.subject,
        outcome: ending.outcome,
        error_code: ending.error_code,
        queue_us: ending.queue_us,
        upstream_us: ending.upstream_us,
        total_us: ending.total_us,
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

async fn write(
    journal: &Journal,
    about: About,
    event: Event,
    body: Body,
    now: Timestamp,
) -> Result<(), Unrecorded> {
    let entry = Entry {
        stream: StreamId::new(about.tenant, StreamKind::Call, about.call),
        event_id: EventId::from_uuid(Uuid::now_v7()),
        occurred_at: now,
        actor: Actor::ApiKey(about.key),
        event,
        body,
    };
    let message = entry.into_message().map_err(|error| {
        tracing::error!(%error, call = %about.call, "a call's record cannot be written");
        Unrecorded
    })?;
    if about.mode == AuditMode::Buffered {
        return journal.queue(message).map_err(|_| Unrecorded);
    }
    match journal.record(vec![message]).await {
        Ok(outcomes) if outcomes.iter().all(|done| *done == JournalOutcome::Recorded) => Ok(()),
        Ok(outcomes) => {
            tracing::error!(?outcomes, call = %about.call, "a call's record was refused");
            Err(Unrecorded)
        }
        Err(error) => {
            report(&error, about.call);
            Err(Unrecorded)
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
        }
    }

    fn ending(arguments: Arguments, result: Bytes) -> Ending {
        Ending {
            outcome: CallOutcome::Ok,
            error_code: 0,
            queue_us: 1,
            upstream_us: 2,
            total_us: 3,
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

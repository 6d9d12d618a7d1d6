//! Going on with a session whose edge is gone.

use std::sync::Arc;

use bus::{MemoryError, Revision};
use bytes::Bytes;
use mcp::Id;
use mcp::server::SessionId;
use prost::Message as _;
use proto::internal::v1::{McpSession, StreamedCall};

use super::{Kept, MEMORY_WAIT, Roaming, digest_of, millis, session_key};
use crate::attachments::{attach, attach_all};
use crate::call::{Running, adopted};
use crate::edge::Shared;
use crate::http::Passed;
use crate::replay::StreamLog;
use crate::session::{Refused, Restored, Session};
use crate::telling::{Sink, Telling};
use crate::view::view;

/// Why a session is not taken over.
pub(super) enum NotAdopted {
    /// It is over.
    Over,
    /// Its record is another than it was.
    Changed,
    /// There is no room for it.
    Refused(Refused),
    /// What edges share cannot be reached.
    Unavailable,
}

/// Takes a session over by its record, with its calls in flight. The caller has seen that its home
/// is gone and that the key is the session's.
pub(super) async fn adopt(
    passed: &Passed,
    id: &str,
    (revision, record): (Revision, McpSession),
) -> Result<Arc<Session>, NotAdopted> {
    let (shared, grant) = (&passed.shared, &passed.grant);
    let Some(roaming) = &shared.roaming else { return Err(NotAdopted::Over) };
    let session_id = SessionId::parse(id).ok_or(NotAdopted::Over)?;
    if record.ends_with_stream || is_silent(roaming, shared, &record) {
        let key = session_key(&digest_of(id.as_bytes()));
        let removing = roaming.memory.remove(&key);
        let _ = tokio::time::timeout(MEMORY_WAIT, removing).await;
        return Err(NotAdopted::Over);
    }
    shared.sessions.check_room(grant.key).map_err(NotAdopted::Refused)?;
    let record = McpSession {
        home: roaming.instance.clone(),
        generation: record.generation + 1,
        seen_at_ms: roaming.now_ms(),
        ..record
    };
    let revision = take(roaming, id, revision, &record).await?;
    let kept = Kept::new(roaming, id, record.generation, Some(revision));
    let restored = Restored { id: session_id, record: &record, kept: Arc::clone(&kept) };
    let session = shared.sessions.restore(grant.key, grant.scope.clone(), restored);
    metrics::counter!("mcp_orch_sessions_adopted_total").increment(1);
    tracing::info!(session = ?session.id, calls = record.calls.len(), "session taken over");
    for streamed in record.calls {
        adopt_call(shared, &session, &kept, streamed);
    }
    hear(shared, &session);
    Ok(session)
}

/// Whether nobody spoke in the session for longer than it may be silent.
fn is_silent(roaming: &Roaming, shared: &Shared, record: &McpSession) -> bool {
    let limits = &shared.config.limits;
    let silent_ms = roaming.now_ms().saturating_sub(record.seen_at_ms);
    silent_ms > millis(limits.session_idle).saturating_add(millis(limits.session_refresh()))
}

/// Puts this edge's name into the record. An answer that was lost is looked for.
async fn take(
    roaming: &Roaming,
    id: &str,
    before: Revision,
    record: &McpSession,
) -> Result<Revision, NotAdopted> {
    let digest = digest_of(id.as_bytes());
    let key = session_key(&digest);
    let value = Bytes::from(record.encode_to_vec());
    let writing = roaming.memory.write(&key, value, Some(before));
    match tokio::time::timeout(MEMORY_WAIT, writing).await {
        Ok(Ok(revision)) => return Ok(revision),
        Ok(Err(MemoryError::Changed)) => return Err(NotAdopted::Changed),
        Ok(Err(error)) => tracing::warn!(%error, "a session was not surely taken over"),
        Err(_) => tracing::warn!("a session was not taken over in time"),
    }
    match roaming.read_session(&digest).await {
        Ok(Some((revision, read))) if read.home == roaming.instance => Ok(revision),
        _ => Err(NotAdopted::Unavailable),
    }
}

/// Goes on with one call: what it said is said again on the stream that its client knows, which
/// passes over what it has; the rest follows.
fn adopt_call(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    kept: &Arc<Kept>,
    streamed: StreamedCall,
) {
    let (Some(id), Some(call)) = (Id::from_raw(streamed.request.clone()), streamed.call.clone())
    else {
        return;
    };
    let log = session.reopen_stream(streamed.stream);
    kept.stream(&log, streamed);
    // Before anything is waited for, so that no cancellation comes too early.
    let caller = session.adopter(&id);
    let (shared, session) = (Arc::clone(shared), Arc::clone(session));
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let merged = view(&shared, &session).await;
        match adopted(&shared, merged, caller, call, 0).await {
            Ok(running) => tell(shared, session, id, running, log).await,
            Err(error) => {
                let message = mcp::envelope::error_response(Some(&id), &error);
                log.send_at(crate::telling::LAST, &message).await;
                log.end();
            }
        }
    });
}

async fn tell(
    shared: Arc<Shared>,
    session: Arc<Session>,
    id: Id,
    running: Running,
    log: Arc<StreamLog>,
) {
    let sink = Sink::Log(Arc::clone(&log));
    let telling = Telling { shared, session, id, running, sink };
    telling.run(None).await;
    log.end();
}

/// Lets the session hear what it heard before.
fn hear(shared: &Arc<Shared>, session: &Arc<Session>) {
    let (shared, session) = (Arc::clone(shared), Arc::clone(session));
    tokio::spawn(async move {
        // From here on, changes of lists are told against what is there now.
        let merged = shared.catalogues.get(&session.scope).await;
        shared.catalogues.note_shown(&session.scope, &merged);
        let wanted = session.hearing.subscribed();
        if wanted.is_empty() && session.hearing.level().is_none() {
            return;
        }
        let merged = view(&shared, &session).await;
        attach_all(&shared, &session, &merged);
        for server in merged.servers.iter().filter(|server| wanted.contains(&server.id)) {
            attach(&shared, &session, &merged, server);
        }
        for attachment in session.hearing.attachments() {
            attachment.tell_wants().await;
        }
    });
}

//! Keeps the records of this edge's sessions as they are, and gives the sessions up when it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::{future::ready, stream};
use mcp::Id;
use proto::internal::v1::{ForwardedCall, StreamedCall};
use tokio_util::sync::CancellationToken;

use super::Unsaved;
use crate::edge::Shared;
use crate::replay::StreamLog;
use crate::session::{Cause, Session};

/// Records that are written at the same time.
const WRITES: usize = 32;
/// Larger parameters are not shared: every change of the session would carry them.
const MAX_PARAMS_BYTES: usize = 64 * 1024;
/// How often a draining edge looks for sessions that nothing holds here any more.
const LOOK: Duration = Duration::from_millis(50);

/// Writes the records that are behind, and those that would be forgotten else.
pub(crate) async fn keep(shared: &Arc<Shared>) {
    let refresh = shared.config.limits.session_refresh();
    let due = shared.sessions.all().into_iter().filter(|session| {
        let Some(kept) = &session.kept else { return false };
        kept.prune();
        let is_due = kept.is_due(refresh);
        if is_due && !kept.is_behind() {
            kept.change();
        }
        is_due
    });
    let saving = due.map(|session| async move { save(shared, &session).await });
    stream::iter(saving).buffer_unordered(WRITES).for_each(|_| ready(())).await;
}

/// Writes a session's record; whether the session is still of this edge. One that another edge took
/// over is let go.
pub(crate) async fn save(shared: &Shared, session: &Arc<Session>) -> bool {
    let Some(kept) = &session.kept else { return true };
    let is_moved = kept.save(session).await == Err(Unsaved::Moved);
    if is_moved {
        shared.sessions.end(&session.id, Cause::Moved);
    }
    !is_moved
}

/// Writes a session's record because something of it is another than before.
pub(crate) async fn changed(shared: &Shared, session: &Arc<Session>) {
    if let Some(kept) = &session.kept {
        kept.change();
        save(shared, session).await;
    }
}

/// Notes a call whose client is about to know of a stream to come back to, where edges share
/// sessions. False if the session is another edge's by now: then nobody could come back for it.
pub(crate) async fn record_call(
    shared: &Shared,
    session: &Arc<Session>,
    id: &Id,
    call: Option<ForwardedCall>,
    log: &Arc<StreamLog>,
) -> bool {
    let (Some(kept), Some(mut call)) = (&session.kept, call) else { return true };
    if call.params.len() > MAX_PARAMS_BYTES {
        call.params = Bytes::new();
    }
    let (stream, request) = (log.number(), id.raw().clone());
    kept.stream(log, StreamedCall { stream, request, call: Some(call) });
    save(shared, session).await
}

/// Gives up the sessions of which nothing is under way here, until all are given up or `enough`
/// is cancelled; then the others, whose calls are left for whoever takes them over.
pub(crate) async fn drain(shared: &Arc<Shared>, enough: CancellationToken) {
    loop {
        let sessions = movable(shared);
        if sessions.is_empty() {
            return;
        }
        let is_last = enough.is_cancelled();
        let still = sessions.into_iter().filter(|session| is_last || session.is_still());
        let giving = still.map(|session| async move { give_up(shared, &session).await });
        stream::iter(giving).buffer_unordered(WRITES).collect::<()>().await;
        if is_last {
            return;
        }
        tokio::select! {
            () = enough.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The sessions that can go on elsewhere.
fn movable(shared: &Shared) -> Vec<Arc<Session>> {
    let mut sessions = shared.sessions.all();
    sessions.retain(|session| session.kept.as_ref().is_some_and(|kept| !kept.ends_with_stream()));
    sessions
}

async fn give_up(shared: &Shared, session: &Arc<Session>) {
    let Some(kept) = &session.kept else { return };
    // From here on nothing new begins in it, and what runs is left as it is.
    shared.sessions.withdraw(&session.id);
    session.left.cancel();
    if !kept.give_up(session).await {
        tracing::warn!(session = ?session.id, "a session was not given up: it is found once this edge is gone");
    }
    session.leave();
}

//! `tasks/list` over all servers that have tasks.
//!
//! A server that clients share lists the tasks of all: only those that the key made are shown.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use domain::server::Isolation;
use futures::future::join_all;
use mcp::catalogue::Feature;
use mcp::server::Method;
use mcp::{Id, splice};
use tokio_util::sync::CancellationToken;

use crate::auth::Grant;
use crate::call::{self, Said};
use crate::edge::Shared;
use crate::merged::Merged;
use crate::session::Session;

/// Most pages that are read of one server's list.
const MAX_PAGES: usize = 20;
/// Most tasks that are listed in all.
const MAX_TASKS: usize = 10_000;

/// The raw result: all tasks on one page. What a server does not answer is left out.
pub(crate) async fn list_tasks(
    shared: &Arc<Shared>,
    grant: &Grant,
    session: &Arc<Session>,
    id: &Id,
    merged: &Arc<Merged>,
) -> Bytes {
    // One for all: the client cancels all of it by one id.
    let guard = session.begin(id);
    let cancel = &guard.cancel;
    let places: Vec<_> = merged.catalogue.servers_offering(Feature::TaskList).collect();
    let lists =
        places.into_iter().map(|place| of_server(shared, grant, session, cancel, merged, place));
    let tasks = join_all(lists).await.into_iter().flatten().take(MAX_TASKS);
    let mut out = BytesMut::from(b"{\"tasks\":[".as_slice());
    for (index, task) in tasks.enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(&task);
    }
    out.put_slice(b"]}");
    out.freeze()
}

async fn of_server(
    shared: &Arc<Shared>,
    grant: &Grant,
    session: &Arc<Session>,
    cancel: &CancellationToken,
    merged: &Arc<Merged>,
    place: usize,
) -> Vec<Bytes> {
    let mut tasks = Vec::new();
    let mut params = Bytes::from_static(b"{}");
    for _ in 0..MAX_PAGES {
        let placed = call::place_at(shared, merged, place, Method::ListTasks, params);
        let Ok(placed) = placed else { return tasks };
        let caller = session.part(cancel.clone(), placed.isolation);
        let Ok(mut running) = call::begin(shared, grant, caller, placed) else {
            return tasks;
        };
        let page = loop {
            match running.next().await {
                Said::Notification(_) | Said::Paused(_) => {}
                Said::Request(request) => running.refuse(&request.id).await,
                Said::Answer(Some(Ok(page))) => break page,
                Said::Answer(_) => return tasks,
            }
        };
        let Ok(Some(spans)) = splice::elements(&page, &["tasks"]) else { return tasks };
        for task in spans.into_iter().map(|span| page.slice(span)) {
            if is_shown(merged, place, session, &task).await {
                tasks.push(task);
            }
        }
        let cursor = splice::slice(&page, &["nextCursor"]).ok().flatten();
        match cursor.filter(|cursor| cursor.first() == Some(&b'"')) {
            Some(cursor) if tasks.len() < MAX_TASKS => {
                params = [b"{\"cursor\":".as_slice(), &cursor, b"}"].concat().into();
            }
            _ => return tasks,
        }
    }
    tasks
}

async fn is_shown(merged: &Merged, place: usize, session: &Session, task: &Bytes) -> bool {
    let Some(server) = merged.servers.get(place) else { return false };
    if server.isolation == Isolation::Session {
        return true;
    }
    let exposed = splice::find_string(task, &["taskId"]).ok().flatten();
    let id = exposed
        .as_deref()
        .and_then(|id| merged.catalogue.namespace(place).and_then(|space| space.original_task(id)));
    let Some(id) = id else { return false };
    session.tasks.learn(server.id, id).await;
    session.tasks.is_of(server.id, id, session.key)
}

//! Calls of which only the start is recorded and that nobody ends any more: they may have run, and
//! nobody knows how they ended. They are closed as `unknown`.
//!
//! In one process these are the ones of the process before. In the cluster they are those whose
//! edge is gone: its presence on the bus ended a while ago, and the bus was there all the time;
//! and those that are older than any call may be.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::SubjectFilter;
use domain::call::{CallFinished, CallOutcome, CallSubject};
use domain::event::CallEvent;
use domain::{Event, EventId, Refusal, StreamId, StreamKind, TenantId};
use event_store::{Append, AppendError, Expected, NewEvent, Position, Recorded};
use tokio::time::Instant;

use super::Leader;
use crate::app::App;
use crate::fault;
use crate::shell;
use crate::views::CallView;

/// Calls that are closed in one go.
const BATCH: u32 = 200;
/// Most open calls that are looked at in one go, the oldest first.
const MAX_OPEN: usize = 20_000;
/// How often open calls are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// No call takes longer: the longest limit that a server may have, and some minutes.
const MAX_CALL_SECONDS: i64 = 86_400 + 600;
/// How long an edge is not there before its calls are over.
pub(crate) const EDGE_GONE: Duration = Duration::from_secs(10);

/// Closes the calls that were started up to `until` and never finished. Returns how many.
pub(crate) async fn close_unfinished(app: &App, until: Position) -> Result<u64, Refusal> {
    let mut closed = 0;
    loop {
        let open = app.views.open_calls(0, until.as_u64(), BATCH).await?;
        if open.is_empty() {
            return Ok(closed);
        }
        let appends = open.iter().map(|(tenant, call)| unknown(app, *tenant, call)).collect();
        closed += close(app, appends).await?;
    }
}

/// Appends, and waits until the views show it.
async fn close(app: &App, appends: Vec<Append>) -> Result<u64, Refusal> {
    let mut closed = 0;
    for result in app.store.append_all(appends).await {
        match result {
            // A conflict: its finish was recorded at the same time.
            Ok(_) | Err(AppendError::Conflict { .. }) => closed += 1,
            Err(error) => return Err(fault::append(error)),
        }
    }
    let head = app.store.head().await.map_err(fault::store)?;
    shell::read_back(app, head).await?;
    Ok(closed)
}

/// Closes calls of edges that are gone, until it is dropped.
pub(crate) async fn close_gone(app: Arc<App>, leader: Leader) {
    let mut ticks = tokio::time::interval(EVERY.min(app.edge_gone));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut edges = Edges::default();
    loop {
        ticks.tick().await;
        match sweep(&app, &leader, &mut edges).await {
            Ok(0) => {}
            Ok(calls) => tracing::warn!(calls, "calls whose edge is gone are closed as unknown"),
            Err(error) => tracing::warn!(%error, "unfinished calls were not looked at"),
        }
    }
}

/// What is known of the edges of open calls.
#[derive(Default)]
struct Edges {
    /// Since when an edge is not there.
    missing: HashMap<String, Instant>,
    /// Who forwards an open call, by the event that says so: its last one.
    of: HashMap<EventId, Forwarding>,
}

/// What an open call's last event says.
#[derive(Clone)]
struct Forwarding {
    /// Empty when it was not said.
    edge: String,
    version: u64,
}

/// Looks at every open call once. Returns how many were closed.
async fn sweep(app: &App, leader: &Leader, edges: &mut Edges) -> Result<u64, Refusal> {
    let present = present(app).await;
    if present.is_none() {
        // Nothing is known of who is there: what was counted so far does not count.
        edges.missing.clear();
    }
    let (mut after, mut closed, mut open) = (0, 0, HashSet::new());
    loop {
        let page = app.views.open_calls(after, i64::MAX as u64, BATCH).await?;
        let Some((_, last)) = page.last() else { break };
        after = last.position;
        let mut appends = Vec::new();
        for (tenant, call) in &page {
            open.insert(call.event);
            let forwarding = forwarding(app, *tenant, call, edges).await?;
            if is_gone(app, call, &forwarding.edge, &mut edges.missing, present.as_ref()) {
                appends.push(Append {
                    expected: Expected::Exactly(forwarding.version),
                    fence: leader.fence(),
                    ..unknown(app, *tenant, call)
                });
            }
        }
        if !appends.is_empty() {
            closed += close(app, appends).await?;
        }
        if open.len() >= MAX_OPEN {
            break;
        }
    }
    edges.of.retain(|event, _| open.contains(event));
    Ok(closed)
}

/// The names of the edges that are there; none while the bus does not say.
async fn present(app: &App) -> Option<HashSet<String>> {
    let edges = SubjectFilter::new("edge.*").ok()?;
    let connected = app.bus.connectivity().borrow().is_connected();
    let present = app.bus.present(&edges).await.ok().filter(|_| connected)?;
    let name = |key: &bus::Subject| key.as_str().strip_prefix("edge.").map(str::to_owned);
    Some(present.iter().filter_map(|one| name(&one.key)).collect())
}

fn is_gone(
    app: &App,
    call: &CallView,
    edge: &str,
    missing: &mut HashMap<String, Instant>,
    present: Option<&HashSet<String>>,
) -> bool {
    if call.started_at.plus_seconds(MAX_CALL_SECONDS) < app.now() {
        return true;
    }
    let Some(present) = present.filter(|_| !edge.is_empty()) else { return false };
    if present.contains(edge) {
        missing.remove(edge);
        return false;
    }
    let since = *missing.entry(edge.to_owned()).or_insert_with(Instant::now);
    since.elapsed() >= app.edge_gone
}

/// Who forwards the call.
async fn forwarding(
    app: &App,
    tenant: TenantId,
    call: &CallView,
    edges: &mut Edges,
) -> Result<Forwarding, Refusal> {
    if let Some(known) = edges.of.get(&call.event) {
        return Ok(known.clone());
    }
    let recorded = app.store.event(tenant, call.event).await.map_err(fault::store)?;
    let forwarding = match recorded {
        None => Forwarding { edge: String::new(), version: 1 },
        Some(event) => Forwarding { edge: edge_in(&event), version: event.version },
    };
    edges.of.insert(call.event, forwarding.clone());
    Ok(forwarding)
}

fn edge_in(event: &Recorded) -> String {
    match events::decode(&event.event_type, event.schema_version, &event.payload) {
        Ok(Event::Call(CallEvent::Started(started))) => started.edge,
        _ => String::new(),
    }
}

fn unknown(app: &App, tenant: TenantId, call: &CallView) -> Append {
    let finished = CallFinished {
        subject: CallSubject {
            project: call.project.clone(),
            server: call.server,
            server_name: call.server_name.clone(),
            method: call.method.clone(),
            target: call.target.clone(),
            api_key: call.api_key,
            started_at: call.started_at,
        },
        outcome: CallOutcome::Unknown,
        error_code: 0,
        queue_us: 0,
        upstream_us: 0,
        total_us: 0,
        arguments_bytes: 0,
        result_bytes: 0,
        arguments_digest: String::new(),
        result_digest: String::new(),
        body_truncated: false,
        body_masked: false,
        client: String::new(),
        mcp_session: String::new(),
        attempts: 0,
    };
    let event = shell::system_event(app, &Event::Call(CallEvent::Finished(finished)));
    // The id that every end of the call has: an edge that knows better by now adds nothing.
    let id = EventId::from_uuid(call.id.as_uuid());
    let event = NewEvent { id, causation_id: Some(call.event), ..event };
    let stream = StreamId::new(tenant, StreamKind::Call, call.id);
    Append::new(stream, Expected::Exactly(1), vec![event])
}

//! Calls of which only the start is recorded when the process starts: they may have run, and
//! nobody knows how they ended. They are closed as `unknown`.

use std::borrow::Cow;

use domain::call::{CallFinished, CallOutcome, CallSubject};
use domain::event::CallEvent;
use domain::{Actor, Event, EventId, Refusal, StreamId, StreamKind, TenantId};
use event_store::{Append, AppendError, Expected, NewEvent, Position};

use crate::app::App;
use crate::fault;
use crate::shell;
use crate::views::CallView;

/// Calls that are closed in one go.
const BATCH: u32 = 200;

/// Closes the calls that were started up to `until` and never finished. Returns how many.
pub(crate) async fn close_unfinished(app: &App, until: Position) -> Result<u64, Refusal> {
    let mut closed = 0;
    loop {
        let open = app.views.open_calls(until.as_u64(), BATCH).await?;
        if open.is_empty() {
            return Ok(closed);
        }
        let appends = open.iter().map(|(tenant, call)| unknown(app, *tenant, call)).collect();
        for result in app.store.append_all(appends).await {
            match result {
                // A conflict: its finish was recorded at the same time.
                Ok(_) | Err(AppendError::Conflict { .. }) => closed += 1,
                Err(error) => return Err(fault::append(error)),
            }
        }
        let head = app.store.head().await.map_err(fault::store)?;
        shell::read_back(app, head).await?;
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
    };
    let encoded = events::encode(&Event::Call(CallEvent::Finished(finished)));
    let event = NewEvent {
        id: EventId::from_uuid(app.new_id()),
        event_type: Cow::Borrowed(encoded.event_type),
        schema_version: encoded.schema_version,
        payload: encoded.payload,
        occurred_at: app.now(),
        actor_type: Cow::Borrowed(Actor::System.kind()),
        actor_id: Actor::System.id(),
        causation_id: Some(call.event),
        correlation_id: None,
        body: None,
    };
    let stream = StreamId::new(tenant, StreamKind::Call, call.id);
    Append::new(stream, Expected::Exactly(1), vec![event])
}

//! One call, with its arguments and result while they are kept.

use authz::Action;
use domain::{CallId, ProjectId, Refusal, StreamId, StreamKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::authorize::{authorize, missing};
use crate::app::App;
use crate::context::Ctx;
use crate::fault;
use crate::views::{CallView, CallWithBody};

/// The stored body of a call: one JSON object.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct StoredBody {
    /// What was sent; a JSON string of its beginning when it was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<Box<RawValue>>,
    /// What was answered, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Box<RawValue>>,
}

/// The call. Its body is left out for who may not read it.
///
/// # Errors
/// `NotFound`.
pub async fn get_call(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    call: CallId,
) -> Result<CallWithBody, Refusal> {
    let role = authorize(app, ctx, project, Action::CallsRead).await?;
    let stream = StreamId::new(ctx.tenant, StreamKind::Call, call);
    let events = app.store.read_stream(&stream, 0, 2).await.map_err(fault::store)?;
    let positions: Vec<_> = events.iter().map(|event| event.position.as_u64()).collect();
    let Some(found) = app.views.call(ctx.tenant, project, call, &positions).await? else {
        let id = call.to_string();
        return Err(missing(app, ctx, project, Action::CallsRead, "call", &id).await);
    };
    if app.authorizer.allows(role, Action::CallsReadBody) {
        with_body(app, ctx, found).await
    } else {
        Ok(CallWithBody { call: found, arguments: None, result: None })
    }
}

/// Adds the body, where it is still kept.
pub(crate) async fn with_body(
    app: &App,
    ctx: &Ctx,
    call: CallView,
) -> Result<CallWithBody, Refusal> {
    let body = app.store.body(ctx.tenant, call.event).await.map_err(fault::store)?;
    let body = body.as_deref().map(parse).unwrap_or_default();
    Ok(CallWithBody { call, arguments: body.arguments, result: body.result })
}

fn parse(body: &[u8]) -> StoredBody {
    serde_json::from_slice(body).unwrap_or_else(|error| {
        tracing::error!(%error, bytes = body.len(), "unreadable call body");
        StoredBody::default()
    })
}

//! The last lines that a stdio server wrote to its stderr.

use std::time::Duration;

use authz::Action;
use bus::Subject;
use domain::{ProjectId, Refusal, ServerId};
use prost::Message as _;
use proto::internal::v1::{StderrReply, StderrRequest};

use super::server_get::require_server;
use super::server_test::bus_refusal;
use crate::app::App;
use crate::context::Ctx;
use crate::fault;

/// Most lines in an answer.
pub const MAX_LINES: u32 = 1_000;
/// Lines in an answer when nobody says.
pub const DEFAULT_LINES: u32 = 100;
const LIMIT: Duration = Duration::from_secs(5);

/// The lines, oldest first, secrets masked by the worker. Developer.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, `InvalidArgument`; `Unavailable` when no worker owns it.
pub async fn server_log(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    server: ServerId,
    max_lines: u32,
) -> Result<Vec<String>, Refusal> {
    if max_lines > MAX_LINES {
        return Err(Refusal::invalid("max_lines", "must be 0 to 1000"));
    }
    require_server(app, ctx, project, server, Action::ServersLog).await?;
    let request = StderrRequest {
        tenant: ctx.tenant.to_string(),
        server: server.to_string(),
        max_lines: if max_lines == 0 { DEFAULT_LINES } else { max_lines },
    };
    let subject =
        Subject::new(format!("worker.stderr.{server}")).map_err(|error| fault::internal(&error))?;
    let answer = app.bus.request(&subject, request.encode_to_vec().into(), LIMIT).await;
    let answer = answer.map_err(|error| bus_refusal(&error))?;
    let reply = StderrReply::decode(answer).map_err(|error| fault::internal(&error))?;
    Ok(reply.lines)
}

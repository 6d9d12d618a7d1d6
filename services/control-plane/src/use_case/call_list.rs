//! The record of calls, newest first.

use authz::Action;
use domain::call::CallOutcome;
use domain::{ApiKeyId, ProjectId, Refusal, ServerId, Timestamp};

use super::authorize::authorize;
use super::call_get::with_body;
use crate::app::{App, Page, Paging};
use crate::context::Ctx;
use crate::views::CallWithBody;

const LIST: &str = "calls";
/// A page ends after the call whose body exceeds this: what clients of gRPC take is 4 MiB.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// Which calls are wanted. What is absent lets everything through.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// To this server.
    pub server: Option<ServerId>,
    /// Of exactly this tool, prompt or URI.
    pub target: Option<String>,
    /// By this key.
    pub api_key: Option<ApiKeyId>,
    /// That ended in one of these ways; empty for all.
    pub outcomes: Vec<CallOutcome>,
    /// That came at this time or later.
    pub from: Option<Timestamp>,
    /// That came before this time.
    pub to: Option<Timestamp>,
    /// That took at least so long, in microseconds.
    pub min_total_us: u64,
    /// Of this session of an edge.
    pub mcp_session: Option<String>,
    /// Arguments and results in the answer, for those who may.
    pub include_arguments: bool,
}

/// The calls of the project. Bodies are left out, without an error, for who may not read them.
///
/// # Errors
/// `NotFound`; `InvalidArgument` for a page token of another list.
pub async fn list_calls(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    filter: &CallFilter,
    paging: &Paging,
) -> Result<Page<CallWithBody>, Refusal> {
    let role = authorize(app, ctx, project, Action::CallsRead).await?;
    let before = paging.after(LIST)?.map(|key| key.parse::<u64>()).transpose();
    let before = before.map_err(|_| Refusal::invalid("page_token", "is not one of ours"))?;
    let calls = app.views.calls(ctx.tenant, project, filter, before, paging.size()).await?;
    let page = Page::cut(calls, paging, LIST, |call| call.position.to_string());
    let bodies = filter.include_arguments && app.authorizer.allows(role, Action::CallsReadBody);
    let mut shown = Page { items: Vec::with_capacity(page.items.len()), next: page.next };
    let mut bytes = 0;
    for call in page.items {
        if bytes > MAX_BODY_BYTES {
            // The rest comes with the next page.
            let last = shown.items.last().map(|last: &CallWithBody| last.call.position);
            shown.next = last.map(|position| Page::<()>::token(LIST, &position.to_string()));
            break;
        }
        let with_body = if bodies {
            with_body(app, ctx, call).await?
        } else {
            CallWithBody { call, arguments: None, result: None }
        };
        bytes += with_body.body_bytes();
        shown.items.push(with_body);
    }
    Ok(shown)
}

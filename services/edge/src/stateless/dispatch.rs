//! One request of a stateless client: checked, and handed to whoever answers it.

use std::collections::VecDeque;
use std::sync::Arc;

use authz::Action;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use mcp::server::Method;
use mcp::server::stateless::{
    CacheHint, CallMethod, Refusal, RequestMeta, StatelessMethod, check_param_headers,
    check_request_headers, declares_tasks, without_hop, without_input,
};
use mcp::{Envelope, Id, ListKind, splice};

use crate::auth::Grant;
use crate::call::{self, Placed};
use crate::edge::Shared;
use crate::facts::TaskSupport;
use crate::session::RunningGuard;

use super::answer::Whole;
use super::caller::caller;
use super::conversation::{Conversation, Resumed};
use super::elsewhere;
use super::input::{Answers, Bound, Brought, brought, sort};
use super::listen::{self, Wanted};
use super::parking::Parked;
use super::tasks;

/// A request, as it came in.
pub(crate) struct Asking<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) grant: &'a Grant,
    /// `None` over HTTP+SSE, whose clients send none of this revision.
    pub(crate) headers: Option<&'a HeaderMap>,
    pub(crate) envelope: &'a Envelope,
    /// Over HTTP+SSE, where going away is no way to cancel one request: by its id.
    pub(crate) guard: Option<RunningGuard>,
}

/// What becomes of a request.
pub(crate) enum Reply {
    /// The answer is there.
    Whole(Whole),
    /// It was forwarded.
    Conversation(Box<Conversation>),
    /// It is answered by a stream of what was accepted.
    Listen(Wanted),
    /// What it is about waits at that edge.
    Elsewhere(String),
}

/// A request whose metadata is good.
pub(super) struct Asked<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) grant: &'a Grant,
    pub(super) headers: Option<&'a HeaderMap>,
    pub(super) id: &'a Id,
    pub(super) params: Bytes,
    pub(super) meta: RequestMeta,
    pub(super) guard: Option<RunningGuard>,
}

/// Handles a request.
pub(crate) async fn request(asking: Asking<'_>) -> Reply {
    let Asking { shared, grant, headers, envelope, guard } = asking;
    let Some(id) = envelope.id() else {
        return Reply::Whole(Whole { status: StatusCode::ACCEPTED, message: Bytes::new() });
    };
    let (method, meta) = match check(headers, envelope) {
        Ok(checked) => checked,
        Err(refusal) => return Reply::Whole(Whole::refusal(id, &refusal)),
    };
    let params = envelope.body().unwrap_or_default();
    let action = match method {
        StatelessMethod::Discover => None,
        StatelessMethod::List(_) | StatelessMethod::Listen => Some(Action::McpList),
        StatelessMethod::Call(_) | StatelessMethod::Task(_) => Some(Action::McpCall),
    };
    if let Some(action) = action.filter(|action| !shared.authorizer.allows(grant.role, *action)) {
        let message = crate::dispatch::forbidden(shared, grant, id, action, Some(&params));
        return Reply::Whole(Whole { status: StatusCode::FORBIDDEN, message });
    }
    let asked = Asked { shared, grant, headers, id, params, meta, guard };
    let reply = match method {
        StatelessMethod::Discover => Ok(Reply::Whole(discover(&asked).await)),
        StatelessMethod::List(kind) => Ok(Reply::Whole(list(&asked, kind).await)),
        StatelessMethod::Listen => listen::wanted(&asked).await.map(Reply::Listen),
        StatelessMethod::Call(method) => call(asked, method).await,
        StatelessMethod::Task(method) => tasks::request(asked, method).await,
    };
    reply.unwrap_or_else(|error| Reply::Whole(Whole::error(id, &error)))
}

/// The checks that come before anything is done, in this order: metadata, headers, revision,
/// method.
fn check(
    headers: Option<&HeaderMap>,
    envelope: &Envelope,
) -> Result<(StatelessMethod, RequestMeta), Refusal> {
    let params = envelope.body();
    let meta = RequestMeta::parse(params.as_ref())?;
    if let Some(headers) = headers {
        let params = params.unwrap_or_default();
        check_request_headers(headers, &meta, envelope.method(), &params)?;
    }
    meta.check_version()?;
    let method = StatelessMethod::parse(envelope.method());
    let method = method.ok_or_else(|| Refusal::UnknownMethod(envelope.method().to_owned()))?;
    Ok((method, meta))
}

async fn discover(asked: &Asked<'_>) -> Whole {
    let Asked { shared, grant, id, .. } = asked;
    let merged = shared.catalogues.get(&grant.scope).await;
    shared.catalogues.note_shown(&grant.scope, &merged);
    let result = super::discover::result(&merged, &shared.stateless.server_info);
    Whole::result(id, &result)
}

async fn list(asked: &Asked<'_>, kind: ListKind) -> Whole {
    let Asked { shared, grant, id, params, .. } = asked;
    let invalid = || Whole::refusal(id, &Refusal::Parameters("Invalid cursor"));
    let cursor = match splice::slice(params, &["cursor"]) {
        Ok(None) => None,
        Ok(Some(raw)) if &raw[..] == b"null" => None,
        Ok(Some(raw)) => match splice::unquote(&raw) {
            Some(text) => Some(text.into_owned()),
            None => return invalid(),
        },
        Err(_) => return invalid(),
    };
    let merged = crate::dispatch::first_list(shared, grant).await;
    shared.catalogues.note_shown(&grant.scope, &merged);
    match merged.catalogue.page(kind, cursor.as_deref()) {
        // What a list holds depends on the key's project and changes at any time.
        Ok(page) => Whole::completed(shared, id, page, Some(CacheHint::NONE)),
        Err(_) => invalid(),
    }
}

async fn call(asked: Asked<'_>, kind: CallMethod) -> Result<Reply, Bytes> {
    let method = match kind {
        CallMethod::Tool => Method::CallTool,
        CallMethod::Prompt => Method::GetPrompt,
        CallMethod::Resource => Method::ReadResource,
        CallMethod::Complete => Method::Complete,
    };
    let Asked { shared, grant, params, .. } = &asked;
    let merged = shared.catalogues.get(&grant.scope).await;
    let placed = call::place(shared, &merged, method, Some(params.clone()))?;
    if let (CallMethod::Tool, Some(headers)) = (kind, asked.headers) {
        let declared = placed.server().facts.param_headers(placed.target());
        let arguments = splice::slice(params, &["arguments"]).ok().flatten();
        if let Err(refusal) = check_param_headers(declared, arguments.as_ref(), headers) {
            return Ok(Reply::Whole(Whole::refusal(asked.id, &refusal)));
        }
    }
    // Before a call that waited is taken up: with a request that is refused it would be lost.
    let ambiguous = |_| Refusal::Parameters("the parameters are ambiguous").error();
    let forwarded = without_hop(placed.params()).map_err(ambiguous)?;
    let bound = kind.may_ask().then(|| Bound::new(grant, method.as_str(), params));
    let brought = match &bound {
        Some(bound) => brought(&asked, &merged, bound).await?,
        None => Brought::Nothing,
    };
    let params = match brought {
        Brought::Nothing if placed.server().facts.has_sessions() => {
            let params = without_input(&forwarded).map_err(ambiguous)?;
            match task_support(kind, &placed) {
                Some(_) if declares_tasks(&asked.meta.capabilities) => tasks::as_task(&params)?,
                Some(TaskSupport::Required) => {
                    return Ok(Reply::Whole(tasks::undeclared(&asked)));
                }
                Some(TaskSupport::Optional) | None => tasks::not_as_task(&params)?,
            }
        }
        Brought::Nothing => forwarded,
        Brought::Upstream { server, state } => {
            if server != placed.server().id.to_string() {
                let what = "requestState is not valid for this request";
                return Err(Refusal::Parameters(what).error());
            }
            let state = splice::quote(&state);
            splice::set(&forwarded, &["requestState"], &state).map_err(ambiguous)?
        }
        Brought::Elsewhere(home) => return Ok(Reply::Elsewhere(home)),
        Brought::Call { number, parked, answers } => {
            let cache = (kind == CallMethod::Resource).then_some(CacheHint::NONE);
            let conversation = waiting(asked, &placed, bound, cache);
            return resume(conversation, number, parked, answers).await;
        }
    };
    let placed = placed.with_params(params);
    let cache = (kind == CallMethod::Resource).then_some(CacheHint::NONE);
    forward(asked, placed, bound, cache).await
}

/// Whether a call may become a task of an older server: what the server decides itself in this
/// revision is decided by whoever calls in that one.
fn task_support(kind: CallMethod, placed: &Placed) -> Option<TaskSupport> {
    let facts = &placed.server().facts;
    (kind == CallMethod::Tool).then(|| facts.task_support(placed.target())).flatten()
}

/// A conversation whose call does not run yet.
fn waiting(
    asked: Asked<'_>,
    placed: &Placed,
    bound: Option<Bound>,
    cache: Option<CacheHint>,
) -> Conversation {
    let cancel = asked.guard.as_ref().map(|guard| guard.cancel.clone()).unwrap_or_default();
    Conversation {
        shared: Arc::clone(asked.shared),
        key: asked.grant.key,
        scope: asked.grant.scope.clone(),
        id: asked.id.clone(),
        meta: asked.meta,
        running: None,
        server: placed.server().id,
        bound,
        cache,
        resumed: Some(Resumed { cancel, _guard: asked.guard }),
        queue: VecDeque::new(),
        missing: None,
    }
}

/// Sends a request to its server.
pub(super) async fn forward(
    mut asked: Asked<'_>,
    placed: Placed,
    bound: Option<Bound>,
    cache: Option<CacheHint>,
) -> Result<Reply, Bytes> {
    let guard = asked.guard.take();
    let (shared, grant) = (asked.shared, asked.grant);
    let caller = caller(shared, grant, &asked.meta, placed.isolation, guard);
    let mut conversation = waiting(asked, &placed, bound, cache);
    conversation.resumed = None;
    conversation.running = Some(call::begin(shared, grant, caller, placed)?);
    Ok(Reply::Conversation(Box::new(conversation)))
}

/// Takes up a call that waited, with what its client brought.
async fn resume(
    mut conversation: Conversation,
    number: [u8; 16],
    parked: Box<Parked>,
    answers: Answers,
) -> Result<Reply, Bytes> {
    let (given, open) = match sort(&parked.asked, answers) {
        Ok(sorted) => sorted,
        Err(error) => {
            // It can be answered better with the same state, as long as it holds.
            let _ = conversation.shared.stateless.parking.put_back(number, *parked);
            elsewhere::share(&conversation.shared, number).await;
            return Err(error);
        }
    };
    let mut running = parked.running;
    for (id, answer) in given {
        running.answer(&id, Ok(answer)).await;
    }
    conversation.running = Some(running);
    if open.is_empty() {
        return Ok(Reply::Conversation(Box::new(conversation)));
    }
    // The rest is asked again.
    Ok(Reply::Whole(conversation.park(open).await))
}

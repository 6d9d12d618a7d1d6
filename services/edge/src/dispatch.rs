//! One request of a client: answered from memory, or forwarded.

use std::sync::Arc;

use authz::Action;
use backplane::{Changes, Notice};
use bytes::Bytes;
use domain::connection::ConnectionState;
use domain::server::Isolation;
use domain::{ErrorCode, ServerId};
use mcp::catalogue::Feature;
use mcp::envelope::{self, code};
use mcp::server::{EMPTY_RESULT, InitializeRequest, InitializeResult, Method, ServerInfo};
use mcp::{Envelope, Id, ListKind, Revision, splice};
use tokio::time::Instant;

use crate::attachments::attach_all;
use crate::auth::Grant;
use crate::call::{self, Running};
use crate::denial::Denial;
use crate::edge::Shared;
use crate::interests::{set_log_level, subscribe, unsubscribe};
use crate::merged::Merged;
use crate::scope::Scope;
use crate::session::{Opening, Session};
use crate::task_list::list_tasks;
use crate::view::{shown_view, view};

/// Most bytes of each thing that a client says of itself when it opens a session.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// What became of a request.
pub(crate) enum Dispatched {
    /// The whole answer.
    Answer(Bytes),
    /// The whole answer: the role is too small.
    Forbidden(Bytes),
    /// It was forwarded.
    Call(Running),
}

/// Handles a request.
pub(crate) async fn request(
    shared: &Arc<Shared>,
    grant: &Grant,
    session: &Arc<Session>,
    envelope: &Envelope,
) -> Dispatched {
    let Some(id) = envelope.id() else {
        return Dispatched::Answer(Bytes::new());
    };
    let params = envelope.body();
    let Some(method) = Method::parse(envelope.method()) else {
        return Dispatched::Answer(unknown_method(id, envelope.method()));
    };
    let action = match method {
        Method::List(_) => Some(Action::McpList),
        Method::CallTool
        | Method::GetPrompt
        | Method::ReadResource
        | Method::Complete
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::GetTask
        | Method::TaskResult
        | Method::CancelTask
        | Method::ListTasks => Some(Action::McpCall),
        Method::Initialize | Method::Ping | Method::SetLogLevel | Method::UpdateTask => None,
    };
    if let Some(action) = action.filter(|action| !shared.authorizer.allows(grant.role, *action)) {
        return Dispatched::Forbidden(forbidden(shared, grant, id, action, params.as_ref()));
    }
    if let Some(feature) = feature(method) {
        let merged = view(shared, session).await;
        if merged.catalogue.servers_offering(feature).next().is_none() {
            // What no server has is not offered.
            return Dispatched::Answer(unknown_method(id, method.as_str()));
        }
    }
    match method {
        Method::Initialize => {
            Dispatched::Answer(initialize(shared, grant, session, id, params).await)
        }
        Method::Ping => Dispatched::Answer(envelope::response(id, EMPTY_RESULT)),
        Method::List(kind) => {
            Dispatched::Answer(list(shared, grant, session, id, (kind, params)).await)
        }
        Method::CallTool
        | Method::GetPrompt
        | Method::ReadResource
        | Method::Complete
        | Method::GetTask
        | Method::TaskResult
        | Method::CancelTask => match begin(shared, grant, session, id, (method, params)).await {
            Ok(running) => Dispatched::Call(running),
            Err(error) => Dispatched::Answer(envelope::error_response(Some(id), &error)),
        },
        Method::ListTasks => {
            let merged = view(shared, session).await;
            let tasks = list_tasks(shared, grant, session, id, &merged).await;
            Dispatched::Answer(envelope::response(id, &tasks))
        }
        Method::SetLogLevel => answered(id, &set_log_level(shared, session, params.as_ref()).await),
        // Of the stateless era alone.
        Method::UpdateTask => Dispatched::Answer(unknown_method(id, method.as_str())),
        Method::Subscribe => answered(id, &subscribe(shared, session, params).await),
        Method::Unsubscribe => answered(id, &unsubscribe(shared, session, params).await),
    }
}

/// What a server must have for a request to be known.
const fn feature(method: Method) -> Option<Feature> {
    Some(match method {
        Method::Complete => Feature::Completions,
        Method::SetLogLevel => Feature::Logging,
        Method::Subscribe | Method::Unsubscribe => Feature::Subscriptions,
        Method::GetTask | Method::TaskResult => Feature::Tasks,
        Method::CancelTask => Feature::TaskCancel,
        Method::ListTasks => Feature::TaskList,
        _ => return None,
    })
}

fn answered(id: &Id, answer: &Result<Bytes, Bytes>) -> Dispatched {
    Dispatched::Answer(call::answer_message(id, answer))
}

/// Forwards a request. An error is the raw error for the client.
async fn begin(
    shared: &Arc<Shared>,
    grant: &Grant,
    session: &Arc<Session>,
    id: &Id,
    (method, params): (Method, Option<Bytes>),
) -> Result<Running, Bytes> {
    let merged = view(shared, session).await;
    let placed = call::place(shared, &merged, method, params)?;
    if method.is_of_task() && placed.isolation == Isolation::Shared {
        shared.sessions.tasks.learn(placed.server().id, placed.target()).await;
    }
    // Before anything is waited for, so that no cancellation comes too early.
    let caller = session.caller(id, placed.isolation);
    call::begin(shared, grant, caller, placed)
}

fn unknown_method(id: &Id, method: &str) -> Bytes {
    let shown: String = method.chars().take(100).collect();
    envelope::error(Some(id), code::METHOD_NOT_FOUND, &format!("Method not found: {shown}"), None)
}

pub(crate) fn forbidden(
    shared: &Shared,
    grant: &Grant,
    id: &Id,
    action: Action,
    params: Option<&Bytes>,
) -> Bytes {
    let target = params.and_then(|params| {
        ["name", "uri"].iter().find_map(|key| splice::find_string(params, &[key]).ok()?)
    });
    let denial = Denial {
        tenant: grant.tenant,
        key: grant.key,
        project: grant.scope.project().clone(),
        action: action.as_str(),
        code: ErrorCode::PermissionDenied,
        target: target.unwrap_or_default().into_owned(),
    };
    shared.denials.record(&shared.journal, denial, (shared.clock)());
    let message = format!("the role {} may not do this: {action}", grant.role);
    let error = call::failure(ErrorCode::PermissionDenied.reason(), &message);
    envelope::error_response(Some(id), &error)
}

async fn initialize(
    shared: &Arc<Shared>,
    grant: &Grant,
    session: &Arc<Session>,
    id: &Id,
    params: Option<Bytes>,
) -> Bytes {
    let asked = params.as_ref().and_then(|params| InitializeRequest::parse(params).ok().flatten());
    let Some(asked) = asked else {
        let message = "protocolVersion is missing";
        return envelope::error(Some(id), code::INVALID_PARAMS, message, None);
    };
    let revision: Revision = asked.revision();
    let (name, version) = asked.client_name_and_version();
    let client = format!("{name} {version}").trim().chars().take(100).collect();
    let kept = [&asked.capabilities, &asked.client_info];
    if kept.into_iter().flatten().any(|raw| raw.len() > MAX_KEPT_BYTES) {
        let message = "capabilities or clientInfo is too large";
        return envelope::error(Some(id), code::INVALID_PARAMS, message, None);
    }
    // Copies, lest a session keep the whole request.
    let [capabilities, client_info] =
        kept.map(|raw| raw.as_ref().map(|raw| Bytes::copy_from_slice(raw)));
    session.open(Opening { revision, client, capabilities, client_info });
    let merged = shared.catalogues.get(&grant.scope).await;
    shared.catalogues.note_shown(&grant.scope, &merged);
    if session.is_heard() {
        // Over HTTP+SSE the stream is there before.
        attach_all(shared, session, &merged);
    }
    let result = InitializeResult {
        revision,
        capabilities: merged.catalogue.capabilities(),
        server_info: ServerInfo {
            name: "mcp-orch",
            title: None,
            version: env!("CARGO_PKG_VERSION"),
        },
        instructions: merged.catalogue.instructions(),
    };
    envelope::response(id, &result.to_json())
}

async fn list(
    shared: &Arc<Shared>,
    grant: &Grant,
    session: &Arc<Session>,
    id: &Id,
    (kind, params): (ListKind, Option<Bytes>),
) -> Bytes {
    let cursor = match params.as_ref().map(|params| splice::find(params, &["cursor"])) {
        None | Some(Ok(None)) => None,
        Some(Ok(Some(span))) => {
            let raw = params.as_ref().map(|params| params.slice(span));
            match raw.as_deref().map(|raw| (raw, splice::unquote(raw))) {
                Some((_, Some(text))) => Some(text.into_owned()),
                Some((b"null", None)) | None => None,
                Some(_) => return invalid_cursor(id),
            }
        }
        Some(Err(_)) => return invalid_cursor(id),
    };
    let merged = first_list(shared, grant).await;
    shared.catalogues.note_shown(&grant.scope, &merged);
    let merged = shown_view(shared, session, merged).await;
    match merged.catalogue.page(kind, cursor.as_deref()) {
        Ok(page) => envelope::response(id, page),
        Err(_) => invalid_cursor(id),
    }
}

fn invalid_cursor(id: &Id) -> Bytes {
    envelope::error(Some(id), code::INVALID_PARAMS, "Invalid cursor", None)
}

/// The scope, after waiting a little for servers that were never seen. Each is waited for once:
/// one that never shows its catalogue does not delay every list.
pub(crate) async fn first_list(shared: &Arc<Shared>, grant: &Grant) -> Arc<Merged> {
    let (catalogues, scope) = (&shared.catalogues, &grant.scope);
    let mut merged = catalogues.get(scope).await;
    if merged.unseen.is_empty() {
        return merged;
    }
    // From here on no change is missed.
    let mut changes = shared.replica.changes();
    loop {
        if is_seen(shared, &merged) {
            // Whoever follows the changes does so too, but maybe later than this.
            catalogues.invalidate_scope(scope);
            merged = catalogues.get(scope).await;
        }
        let unseen = starting(shared, &merged);
        let deadline = catalogues.wait_until(&unseen, shared.config.limits.first_list_wait);
        let Some(deadline) = deadline.filter(|deadline| *deadline > Instant::now()) else {
            return merged;
        };
        let change = tokio::time::timeout_at(deadline, next_change(&mut changes, scope)).await;
        if change.ok().flatten().is_none() {
            return merged;
        }
    }
}

/// Waits until something of the scope's project changed; `None` at the end of all changes.
async fn next_change(changes: &mut Changes, scope: &Scope) -> Option<()> {
    loop {
        match changes.next().await? {
            Notice::Everything => return Some(()),
            Notice::Changed(change) if change.project.as_ref() == Some(scope.project()) => {
                return Some(());
            }
            Notice::Changed(_) => {}
        }
    }
}

/// The servers whose catalogue was not there for the merge, and may come yet.
fn starting(shared: &Shared, merged: &Merged) -> Vec<ServerId> {
    let configuration = shared.replica.read();
    let may_show = |id: &&ServerId| {
        let state = configuration.connection(id).observation.state;
        // One that became active shows its catalogue next.
        configuration.server(id).is_some()
            && matches!(state, ConnectionState::Starting | ConnectionState::Active)
    };
    merged.unseen.iter().filter(may_show).copied().collect()
}

/// Whether a catalogue came since the merge.
fn is_seen(shared: &Shared, merged: &Merged) -> bool {
    let configuration = shared.replica.read();
    merged.unseen.iter().any(|id| configuration.connection(id).catalogue.is_some())
}

//! One call on its way: routed, sent through the bus to the worker that owns the server, recorded,
//! answered. It knows nothing of the era that its client speaks: see [`Caller`].
//!
//! The body is never parsed: a name or URI is spliced in on the way there, namespaced URIs on the
//! way back. The client's id is put around an answer by whoever sends it.

mod adoption;
mod elicitations;
mod ending;
mod live;
mod open;
mod opening;
mod patience;
mod repeating;
mod rounds;
mod running;

use std::sync::Arc;
use std::time::{Duration, Instant};

use backplane::exchange::Answer;
use bytes::Bytes;
use domain::call::CallSubject;
use domain::server::Isolation;
use domain::{CallId, ErrorCode};
use mcp::catalogue::Feature;
use mcp::envelope;
use mcp::server::Method;
use mcp::{Id, splice};
use proto::internal::v1::{ExchangeOpen, Peer};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Grant;
use crate::edge::Shared;
use crate::merged::{Merged, MergedServer};
use crate::record::{self, CallMeta};
use crate::route::{Routed, Unroutable, check_offered, route};
use crate::session::RunningGuard;

pub(crate) use adoption::adopted;
pub(crate) use running::{Running, Said, notification_message};

/// The JSON-RPC code of what went wrong between client and upstream; the reason says what.
pub(crate) const GATEWAY_ERROR: i64 = -32000;

/// Who calls, as far as a call must know.
pub(crate) struct Caller {
    /// The client's name and version, for the record.
    pub(crate) client: String,
    /// What its calls are grouped by in the record; empty for nothing.
    pub(crate) session: String,
    /// The right to one more call, until its answer was taken. `None` at the limit: it is refused.
    pub(crate) slot: Option<OwnedSemaphorePermit>,
    /// Cancelled when the client wants no answer any more.
    pub(crate) cancel: CancellationToken,
    /// Dropped when the call is over.
    pub(crate) guard: Option<RunningGuard>,
    /// How the upstream gets to know it.
    pub(crate) peer: Option<Peer>,
    pub(crate) conduct: Conduct,
    /// How long its call goes on, and its answer is kept, when this edge dies: another one may take
    /// it over. Zero: not at all.
    pub(crate) orphan: Duration,
}

/// What the client's era says of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// A call whose [`Running`] is dropped runs to its end. What an upstream requires as input is
    /// asked of the client, and the call goes on with it.
    Sessions,
    /// A call whose [`Running`] is dropped is cancelled. A result that requires input is an answer
    /// like others.
    Stateless,
}

/// A request whose server is known.
pub(crate) struct Placed {
    merged: Arc<Merged>,
    server: usize,
    method: Method,
    routed: Routed,
    /// Whether the server keeps a connection for each client.
    pub(crate) isolation: Isolation,
    arrived: Instant,
}

impl Placed {
    /// The server that it goes to.
    pub(crate) fn server(&self) -> &MergedServer {
        &self.merged.servers[self.server]
    }

    /// The server's place in the scope.
    pub(crate) fn place(&self) -> usize {
        self.server
    }

    /// The upstream's own name, or URI.
    pub(crate) fn target(&self) -> &str {
        &self.routed.target
    }

    /// The parameters with the upstream's own name.
    pub(crate) fn params(&self) -> &Bytes {
        &self.routed.params
    }

    /// The same with other parameters, which name the same target.
    pub(crate) fn with_params(mut self, params: Bytes) -> Self {
        self.routed.params = params;
        self
    }
}

/// Finds the server of a request among those that its client sees. An error is the raw error for
/// the client.
pub(crate) fn place(
    shared: &Shared,
    merged: &Arc<Merged>,
    method: Method,
    params: Option<Bytes>,
) -> Result<Placed, Bytes> {
    let arrived = Instant::now();
    let params = params.unwrap_or_else(|| Bytes::from_static(b"{}"));
    let routed =
        route(&merged.catalogue, method, &params).map_err(|unroutable| unroutable.error())?;
    placed(shared, merged, method, routed, arrived)
}

/// A request for the server at a place of those that its client sees. An error is the raw error
/// for the client.
pub(crate) fn place_at(
    shared: &Shared,
    merged: &Arc<Merged>,
    server: usize,
    method: Method,
    params: Bytes,
) -> Result<Placed, Bytes> {
    let (target, asked) = (String::new(), String::new());
    let routed = Routed { server, target, params, asked };
    placed(shared, merged, method, routed, Instant::now())
}

fn placed(
    shared: &Shared,
    merged: &Arc<Merged>,
    method: Method,
    mut routed: Routed,
    arrived: Instant,
) -> Result<Placed, Bytes> {
    let server = &merged.servers[routed.server];
    let isolation = check_offered(&shared.replica.read(), server.id, method, &routed)
        .map_err(|unroutable| unroutable.error())?;
    // Only where there are tasks a request can belong to one.
    if merged.catalogue.offers(routed.server, Feature::Tasks)
        && let Some(space) = merged.catalogue.namespace(routed.server)
        && let Ok(params) = space.restore(&routed.params)
    {
        routed.params = params;
    }
    Ok(Placed {
        merged: Arc::clone(merged),
        server: routed.server,
        method,
        routed,
        isolation,
        arrived,
    })
}

/// A call, from its admission to its end.
struct Call {
    shared: Arc<Shared>,
    method: Method,
    merged: Arc<Merged>,
    server: usize,
    meta: CallMeta,
    peer: Option<Peer>,
    conduct: Conduct,
    orphan: Duration,
    /// Whether it may be run again when nobody knows whether it ran.
    is_repeatable: bool,
    arrived: Instant,
    cancel: CancellationToken,
    guard: Option<RunningGuard>,
    _permit: OwnedSemaphorePermit,
}

/// Admits a request, and has it forwarded as its [`Running`] goes on. An error is the raw error for
/// the client: nothing was sent.
///
/// Nothing waits in here: from the first moment the call is in the hands of its [`Running`], which
/// sees to its end and its record however it is dropped.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    grant: &Grant,
    caller: Caller,
    placed: Placed,
) -> Result<Running, Bytes> {
    let server = &placed.merged.servers[placed.server];
    // Where clients share a connection, the server cannot tell whose task is whose.
    let task = placed.method.is_of_task() && placed.isolation == Isolation::Shared;
    if task && shared.sessions.tasks.is_of_another(server.id, &placed.routed.target, grant.key) {
        return Err(Unroutable::Unknown("task", placed.routed.asked).error());
    }
    let permit = Arc::clone(&shared.permits).try_acquire_owned().ok();
    let (Some(permit), Some(slot)) = (permit, caller.slot) else {
        let message = "too many calls are under way: retry";
        return Err(failure(ErrorCode::ResourceExhausted.reason(), message));
    };
    let mode = grant.settings.audit_mode;
    record::admit(&shared.journal, grant.tenant, mode).map_err(|refused| refused.error())?;
    let params = placed.routed.params;
    let is_repeatable = repeating::is_repeatable(
        grant.settings.retry_policy,
        placed.method,
        server.facts.hints(&placed.routed.target),
        &params,
    );
    let arguments = splice::slice(&params, &["arguments"]).ok().flatten().unwrap_or_default();
    let meta = CallMeta {
        id: CallId::from_uuid(Uuid::now_v7()),
        tenant: grant.tenant,
        key: grant.key,
        mode,
        subject: CallSubject {
            project: grant.scope.project().clone(),
            server: server.id,
            server_name: server.name.clone(),
            method: placed.method.as_str().to_owned(),
            target: placed.routed.target,
            api_key: Some(grant.key),
            started_at: (shared.clock)(),
        },
        client: caller.client,
        mcp_session: caller.session,
        arguments_bytes: arguments.len() as u64,
        arguments,
    };
    let call = Call {
        shared: Arc::clone(shared),
        method: placed.method,
        server: placed.server,
        merged: placed.merged,
        meta,
        peer: caller.peer,
        conduct: caller.conduct,
        orphan: caller.orphan,
        is_repeatable,
        arrived: placed.arrived,
        cancel: caller.cancel,
        guard: caller.guard,
        _permit: permit,
    };
    Ok(Running::new(live::Live::begin(call, params), slot))
}

impl Call {
    fn server(&self) -> &MergedServer {
        &self.merged.servers[self.server]
    }

    fn exchange_open(&self, params: Bytes) -> ExchangeOpen {
        // Most calls have no token, and need no look through their parameters.
        let token = memchr::memmem::find(&params, b"progressToken")
            .and_then(|_| splice::slice(&params, &["_meta", "progressToken"]).ok().flatten());
        ExchangeOpen {
            tenant: self.meta.tenant.to_string(),
            project: self.meta.subject.project.to_string(),
            server: self.server().id.to_string(),
            call_id: self.meta.id.to_string(),
            method: self.method.as_str().to_owned(),
            params,
            progress_token: token.unwrap_or_default(),
            record: true,
            deadline_ms: 0,
            peer: self.peer.clone(),
            orphan_ms: u64::try_from(self.orphan.as_millis()).unwrap_or(u64::MAX),
            ..ExchangeOpen::default()
        }
    }
}

/// A raw error of ours, with its stable reason.
pub(crate) fn failure(reason: &str, message: &str) -> Bytes {
    let data = format!("{{\"reason\":\"{reason}\"}}");
    envelope::error_object(GATEWAY_ERROR, message, Some(data.as_bytes()))
}

/// An answer as a message under its request's id.
pub(crate) fn answer_message(id: &Id, answer: &Answer) -> Bytes {
    match answer {
        Ok(result) => envelope::response(id, result),
        Err(error) => envelope::error_response(Some(id), error),
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

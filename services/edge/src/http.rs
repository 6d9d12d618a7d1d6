//! The endpoints, and the checks that every request passes first.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use domain::ErrorCode;
use mcp::envelope;
use serde::Deserialize;

use crate::auth::{Asked, Denied, Grant, authenticate, query_has_credential};
use crate::call::GATEWAY_ERROR;
use crate::denial::{self, Denial};
use crate::edge::Shared;
use crate::roaming::FromEdge;
use crate::{sse, streamable};

/// The URL's variable parts.
#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    project: String,
    /// The server's name; without one the place is the unified endpoint.
    name: Option<String>,
}

impl Place {
    fn asked(&self) -> Asked<'_> {
        match &self.name {
            None => Asked::Unified { project: &self.project },
            Some(name) => Asked::Server { project: &self.project, name },
        }
    }
}

/// All endpoints.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new();
    for base in ["/projects/{project}/unified", "/projects/{project}/servers/{name}"] {
        router = router
            .route(&format!("{base}/sse"), get(sse::open))
            .route(&format!("{base}/messages"), post(sse::message))
            .route(&format!("{base}/messages/"), post(sse::message))
            .route(
                &format!("{base}/mcp"),
                post(streamable::message).get(streamable::listen).delete(streamable::end),
            );
    }
    router.with_state(shared)
}

/// The checks that come before anything of the request is looked at: in this order draining,
/// origin, freshness, key. The refusal is the whole answer.
fn pass(
    shared: &Shared,
    place: &Place,
    headers: &HeaderMap,
    query: Option<&str>,
    is_from_edge: bool,
) -> Result<Grant, Box<Response>> {
    // What has its session here is served until that was given up.
    if shared.draining.is_cancelled() && !is_from_edge {
        return Err(refuse(ErrorCode::Unavailable, "shutting down: connect again").into());
    }
    if !shared.origins.allow(headers) {
        let message = "this origin or host may not speak to this server";
        return Err(refuse(ErrorCode::PermissionDenied, message).into());
    }
    let now = (shared.clock)();
    let fresh = shared.replica.freshness(now);
    if fresh.is_none_or(|age| age > shared.config.limits.stale_after) {
        let message = "the configuration is too old to decide from: retry later";
        return Err(refuse(ErrorCode::Unavailable, message).into());
    }
    if query.is_some_and(query_has_credential) {
        // A URL ends up in logs and histories: such a credential should not work even once.
        denial::count_anonymous();
        let message = "a credential does not belong into a URL: send it in a header";
        return Err(unauthenticated(message).into());
    }
    let denied = match authenticate(&shared.replica.read(), headers, &place.asked(), now) {
        Ok(grant) => return Ok(grant),
        Err(denied) => denied,
    };
    let refusal = match denied {
        Denied::Unauthenticated => {
            denial::count_anonymous();
            unauthenticated("a valid API key is needed: send Authorization: Bearer api_key_…")
        }
        Denied::NotFound { tenant, key, project } => {
            let target = match place.asked() {
                Asked::Unified { project } => project.to_owned(),
                Asked::Server { project, name } => format!("{project}/{name}"),
            };
            let code = ErrorCode::NotFound;
            let denial = Denial { tenant, key, project, action: "mcp.open", code, target };
            shared.denials.record(&shared.journal, denial, now);
            refuse(ErrorCode::NotFound, "not found")
        }
    };
    Err(refusal.into())
}

fn unauthenticated(message: &str) -> Response {
    let mut response = refuse(ErrorCode::Unauthenticated, message);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// A refusal with our reason, as JSON-RPC so that MCP clients can show it.
pub(crate) fn refuse(code: ErrorCode, message: &str) -> Response {
    let data = format!("{{\"reason\":\"{}\"}}", code.reason());
    let body = envelope::error(None, GATEWAY_ERROR, message, Some(data.as_bytes()));
    json(runtime::error::http_status(code), body)
}

/// A JSON-RPC error as an answer with a status of its own.
pub(crate) fn protocol_error(status: StatusCode, code: i64, message: &str) -> Response {
    json(status, envelope::error(None, code, message, None))
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, content_type)], Body::from(body)).into_response()
}

/// What came with a request that passed the checks, but for its body.
pub(crate) struct Passed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) grant: Grant,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Option<String>,
    pub(crate) path: String,
    /// Whether another edge got it, and forwarded it.
    pub(crate) is_from_edge: bool,
}

impl FromRequestParts<Arc<Shared>> for Passed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let Ok(Path(place)) = Path::<Place>::from_request_parts(parts, shared).await else {
            return Err(refuse(ErrorCode::NotFound, "not found"));
        };
        let shared = Arc::clone(shared);
        let is_from_edge = parts.extensions.get::<FromEdge>().is_some();
        let grant = pass(&shared, &place, &parts.headers, parts.uri.query(), is_from_edge)
            .map_err(|refusal| *refusal)?;
        Ok(Self {
            shared,
            grant,
            headers: std::mem::take(&mut parts.headers),
            query: parts.uri.query().map(str::to_owned),
            path: parts.uri.path().to_owned(),
            is_from_edge,
        })
    }
}

impl Passed {
    /// A request's body, within the limits of size and time.
    pub(crate) async fn read(&self, body: Body) -> Result<Bytes, Response> {
        let limits = &self.shared.config.limits;
        let reading = axum::body::to_bytes(body, limits.body_bytes);
        match tokio::time::timeout(limits.body_wait, reading).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => {
                let most = limits.body_bytes;
                let message =
                    format!("the body must have at most {most} bytes and must arrive whole");
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                Err(protocol_error(status, envelope::code::INVALID_REQUEST, &message))
            }
            Err(_) => {
                let message = "the body did not arrive in time";
                let status = StatusCode::REQUEST_TIMEOUT;
                Err(protocol_error(status, envelope::code::INVALID_REQUEST, message))
            }
        }
    }
}

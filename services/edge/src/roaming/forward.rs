//! A client's request that another edge answers, through this one.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use backplane::subject;
use bus::{BusError, ClientSide};
use bytes::Bytes;
use domain::ErrorCode;
use futures::stream;
use prost::Message as _;
use proto::internal::v1::forward_frame::Kind;
use proto::internal::v1::{ForwardFrame, ForwardHead, ForwardRequest, Header};
use tokio::sync::OwnedSemaphorePermit;

use super::{HOP, NOT_HERE, Request, Roaming};
use crate::http::{Passed, refuse};

/// What became of a request that was forwarded.
pub(crate) enum Forwarded {
    /// The other edge's answer; its body comes as that edge says it.
    Answered(Response),
    /// The other edge is gone: nothing was done.
    NotThere,
    /// The other edge is there, and does not have the session: nothing was done.
    NotHere,
    /// The other edge went away before it answered: it may have acted.
    Lost,
    /// It cannot be forwarded now.
    Refused(Response),
}

/// Sends a request to another edge. When the client goes away, dropping this ends it there, too.
pub(crate) async fn forward(
    roaming: &Arc<Roaming>,
    home: &str,
    passed: &Passed,
    request: &Request,
) -> Forwarded {
    let Ok(subject) = subject::edge(home) else { return Forwarded::NotThere };
    let Ok(permit) = Arc::clone(&roaming.forwards).try_acquire_owned() else {
        let message = "too many requests are for sessions of other edges: retry";
        return Forwarded::Refused(refuse(ErrorCode::ResourceExhausted, message));
    };
    let first = Bytes::from(message(passed, request).encode_to_vec());
    let side = match roaming.bus.open(&subject, first).await {
        Ok(side) => side,
        Err(BusError::NoResponders) => return Forwarded::NotThere,
        Err(error) => {
            tracing::warn!(%error, "a request was not forwarded");
            let message = "the edge that has the session cannot be reached now: retry";
            return Forwarded::Refused(refuse(ErrorCode::Unavailable, message));
        }
    };
    metrics::counter!("mcp_orch_forwards_total").increment(1);
    match head(&side).await {
        Ok(Some(head)) if head.status == u32::from(NOT_HERE.as_u16()) => Forwarded::NotHere,
        Ok(Some(head)) => Forwarded::Answered(response(head, side, permit)),
        Err(BusError::NoResponders) => Forwarded::NotThere,
        Ok(None) | Err(_) => Forwarded::Lost,
    }
}

fn message(passed: &Passed, request: &Request) -> ForwardRequest {
    let target = match &passed.query {
        Some(query) => format!("{}?{query}", passed.path),
        None => passed.path.clone(),
    };
    let headers = passed.headers.iter().filter(|(name, _)| !HOP.contains(name));
    let headers = headers.map(|(name, value)| Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    });
    ForwardRequest {
        method: request.method.as_str().to_owned(),
        target,
        headers: headers.collect(),
        body: request.body.clone(),
        peer: String::new(),
    }
}

/// The head of the answer; `None` if what came is none.
async fn head(side: &ClientSide) -> Result<Option<ForwardHead>, BusError> {
    let Some(frame) = side.next_frame().await else { return Ok(None) };
    let frame = ForwardFrame::decode(frame?).ok().and_then(|frame| frame.kind);
    Ok(match frame {
        Some(Kind::Head(head)) => Some(head),
        Some(Kind::Body(_)) | None => None,
    })
}

fn response(head: ForwardHead, side: ClientSide, permit: OwnedSemaphorePermit) -> Response {
    let pieces = stream::unfold(Some((side, permit)), |open| async move {
        let (side, permit) = open?;
        match side.next_frame().await? {
            Ok(frame) => match ForwardFrame::decode(frame).ok()?.kind? {
                Kind::Body(piece) => Some((Ok(piece), Some((side, permit)))),
                Kind::Head(_) => None,
            },
            // The client must see that there was more.
            Err(error) => Some((Err(error), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let status = u16::try_from(head.status).ok();
    *response.status_mut() = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::BAD_GATEWAY);
    for Header { name, value } in head.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

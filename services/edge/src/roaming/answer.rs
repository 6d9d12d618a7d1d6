//! Requests that other edges forward here: answered as if they had come from the client, all
//! checks included.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use axum::response::Response;
use backplane::subject;
use bus::{Announcement, BusError, Incoming, Server, ServerSide};
use bytes::Bytes;
use prost::Message as _;
use proto::internal::v1::forward_frame::Kind;
use proto::internal::v1::{ForwardFrame, ForwardHead, ForwardRequest, Header};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{FromEdge, HOP, Roaming};

/// Requests that wait to be taken.
const WAITING: usize = 1_024;
/// Most bytes of a body in one frame.
const PIECE_BYTES: usize = 256 * 1024;
/// How long it takes until it is tried again to be there for others.
const AGAIN: Duration = Duration::from_millis(500);

/// Tells other edges that this one is there, and answers what they forward, until `end`.
pub(crate) async fn serve(roaming: Arc<Roaming>, router: Router, end: CancellationToken) {
    let serving = async {
        loop {
            serve_once(&roaming, &router).await;
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = serving => {}
        () = roaming.follow_company() => {}
    }
}

/// Until the bus ends it.
async fn serve_once(roaming: &Arc<Roaming>, router: &Router) {
    let (mut server, _announcement) = match open(roaming).await {
        Ok(open) => open,
        Err(error) => {
            tracing::warn!(%error, "other edges cannot be told that this one is there");
            return;
        }
    };
    while let Some(incoming) = server.accept().await {
        // At the limit what waits is refused by the bus, and its edge tries again.
        let Ok(permit) = Arc::clone(&roaming.answers).acquire_owned().await else { return };
        let router = router.clone();
        tokio::spawn(async move {
            answer(router, incoming).await;
            drop(permit);
        });
    }
}

async fn open(roaming: &Roaming) -> Result<(Server, Announcement), BusError> {
    let invalid = |_| BusError::Unavailable { detail: "the instance has no legal name".to_owned() };
    let subject = subject::edge(&roaming.instance).map_err(invalid)?;
    let server = roaming.bus.serve(subject.clone().into(), WAITING).await?;
    let announcement = roaming.bus.announce(subject, Bytes::new()).await?;
    Ok((server, announcement))
}

async fn answer(router: Router, incoming: Incoming) {
    let exchange = incoming.exchange;
    let Some(request) = ForwardRequest::decode(incoming.first).ok().and_then(read) else {
        tracing::warn!("a request that was forwarded cannot be read");
        return;
    };
    let response = tokio::select! {
        // Its client went away: so does the request, as if it had come from there.
        () = exchange.closed() => return,
        response = router.oneshot(request) => match response {
            Ok(response) => response,
            Err(never) => match never {},
        },
    };
    if pass(&exchange, response).await.is_some() {
        exchange.finish();
    }
}

/// The request as its edge got it.
fn read(message: ForwardRequest) -> Option<Request<Body>> {
    let mut request = Request::new(Body::from(message.body));
    *request.method_mut() = Method::from_bytes(message.method.as_bytes()).ok()?;
    *request.uri_mut() = message.target.parse::<Uri>().ok()?;
    for Header { name, value } in message.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(&value).ok()?);
    }
    request.extensions_mut().insert(FromEdge);
    Some(request)
}

/// Sends an answer back as it comes; `None` when nobody waits for it any more.
async fn pass(exchange: &ServerSide, response: Response) -> Option<()> {
    let (parts, mut body) = response.into_parts();
    let headers = parts.headers.iter().filter(|(name, _)| !HOP.contains(name));
    let headers = headers.map(|(name, value)| Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    });
    let head = ForwardHead { status: parts.status.as_u16().into(), headers: headers.collect() };
    reply(exchange, Kind::Head(head)).await?;
    loop {
        let frame = tokio::select! {
            () = exchange.closed() => return None,
            frame = std::future::poll_fn(|context| {
                std::pin::Pin::new(&mut body).poll_frame(context)
            }) => frame,
        };
        // A body that breaks is one that does not end.
        let Some(frame) = frame else { return Some(()) };
        let Ok(mut data) = frame.ok()?.into_data() else { continue };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE_BYTES));
            reply(exchange, Kind::Body(piece)).await?;
        }
    }
}

async fn reply(exchange: &ServerSide, kind: Kind) -> Option<()> {
    let frame = ForwardFrame { kind: Some(kind) };
    exchange.reply(frame.encode_to_vec().into()).await.ok()
}

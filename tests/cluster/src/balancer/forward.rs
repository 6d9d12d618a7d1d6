//! One request to one backend, and its answer back, as they come.

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::backend::{Member, Pool};

/// What goes back to a client.
pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// Sends the request to the first backend that takes a connection. Once it is sent nothing is
/// tried again: whether it ran is not known here.
pub(super) async fn forward(pool: &Pool, request: Request<Incoming>) -> Response<Body> {
    for member in pool.in_turn() {
        match TcpStream::connect(member.backend.address).await {
            Ok(stream) => return exchange(member, stream, request).await,
            Err(_) => member.is_away(),
        }
    }
    refusal(StatusCode::SERVICE_UNAVAILABLE, "no process of this service can be reached")
}

async fn exchange(
    member: &Member,
    stream: TcpStream,
    request: Request<Incoming>,
) -> Response<Body> {
    let _ = stream.set_nodelay(true);
    let answered = async {
        if request.version() == Version::HTTP_2 {
            over_http2(stream, request).await
        } else {
            over_http1(stream, request).await
        }
    };
    tokio::select! {
        answered = answered => match answered {
            Ok(response) => response.map(BodyExt::boxed),
            Err(error) => refusal(StatusCode::BAD_GATEWAY, &format!("the backend failed: {error}")),
        },
        () = member.hangs() => refusal(StatusCode::GATEWAY_TIMEOUT, "the backend does not answer"),
    }
}

/// A connection of its own for each request: none is reused that the backend just closed.
async fn over_http1(
    stream: TcpStream,
    mut request: Request<Incoming>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Ok(path) = path.parse() {
        *request.uri_mut() = path;
    }
    one_hop(request.headers_mut());
    let mut response = sender.send_request(request).await?;
    one_hop(response.headers_mut());
    Ok(response)
}

async fn over_http2(
    stream: TcpStream,
    mut request: Request<Incoming>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    // HTTP/2 names the host in the URI.
    request.headers_mut().remove(HOST);
    sender.send_request(request).await
}

/// Takes out what is said from one hop to the next only.
fn one_hop(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

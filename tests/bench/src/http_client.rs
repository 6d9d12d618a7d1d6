//! Raw HTTP/1.1 connections: no pool, no redirects, no cost beyond the wire.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::error::Error;

/// The longest answer that is read, in bytes.
const BODY_MAX: usize = 16 << 20;

/// One keep-alive connection.
pub(crate) type Connection = SendRequest<Full<Bytes>>;

/// Opens a connection; it ends when the handle is dropped.
pub(crate) async fn connect(address: SocketAddr) -> Result<Connection, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads a body to its end.
pub(crate) async fn read(body: Incoming) -> Result<Bytes, Error> {
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(Error::unexpected(format!("unreadable body: {error}"))),
    }
}

/// Where a URL points: address and path with query.
pub(crate) fn split(url: &str) -> Result<(SocketAddr, String), Error> {
    let uri: http::Uri = url.parse().map_err(http::Error::from)?;
    let address = uri
        .authority()
        .and_then(|authority| authority.as_str().replace("localhost", "127.0.0.1").parse().ok())
        .ok_or_else(|| Error::unexpected(format!("not a URL with an address: {url}")))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((address, path.to_owned()))
}

/// One JSON request on a connection of its own.
pub(crate) async fn json_request(
    method: Method,
    url: &str,
    bearer: Option<&str>,
    body: Option<&Value>,
) -> Result<(StatusCode, Value), Error> {
    let (address, path) = split(url)?;
    let mut connection = connect(address).await?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(bearer) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let response = connection.send_request(request.body(Full::from(body))?).await?;
    let status = response.status();
    let text = read(response.into_body()).await?;
    let value = if text.is_empty() { Value::Null } else { serde_json::from_slice(&text)? };
    Ok((status, value))
}

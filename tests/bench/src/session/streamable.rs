//! A session over Streamable HTTP: one connection, one POST per message.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;

use super::event::Events;
use super::{Endpoint, Expectation, answer, call, initialize, initialized, list};
use crate::error::Error;
use crate::http_client::{self, Connection};

pub(crate) struct Session {
    connection: Connection,
    uri: Uri,
    headers: HeaderMap,
    tool: String,
    expectation: Expectation,
    last_id: u64,
}

impl Session {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let mut session = Self {
            connection: http_client::connect(endpoint.address).await?,
            uri: endpoint.path.parse().map_err(http::Error::from)?,
            headers: headers(endpoint)?,
            tool: endpoint.tool.clone(),
            expectation: endpoint.expectation,
            last_id: 0,
        };
        let response = session.post(initialize().into()).await?;
        let id = response.headers().get("mcp-session-id").cloned();
        message(response, 0).await?;
        if let Some(id) = id {
            session.headers.insert("mcp-session-id", id);
        }
        session.headers.insert("mcp-protocol-version", HeaderValue::from_static("2025-06-18"));
        let response = session.post(initialized().into()).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(status_error("notifications/initialized", response.status()));
        }
        http_client::read(response.into_body()).await?;
        Ok(session)
    }

    pub(crate) async fn echo(&mut self, text: &str) -> Result<Duration, Error> {
        self.last_id += 1;
        let body = call(self.last_id, &self.tool, text);
        let start = Instant::now();
        let response = self.post(body).await?;
        let message = message(response, self.last_id).await?;
        let latency = start.elapsed();
        answer::check(&message, self.last_id, text, self.expectation)?;
        Ok(latency)
    }

    pub(crate) async fn list(&mut self) -> Result<Duration, Error> {
        self.last_id += 1;
        let start = Instant::now();
        let response = self.post(list(self.last_id)).await?;
        message(response, self.last_id).await?;
        Ok(start.elapsed())
    }

    pub(crate) async fn close(mut self) -> Result<(), Error> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        let response = self.connection.send_request(request).await?;
        http_client::read(response.into_body()).await.map(drop)
    }

    async fn post(&mut self, body: String) -> Result<Response<Incoming>, Error> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        self.connection.ready().await?;
        Ok(self.connection.send_request(request).await?)
    }
}

/// The headers of each request to an endpoint.
pub(crate) fn headers(endpoint: &Endpoint) -> Result<HeaderMap, Error> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(http::Error::from);
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, value(&endpoint.address.to_string())?);
    headers.insert(header::CONTENT_TYPE, value("application/json")?);
    headers.insert(header::ACCEPT, value("application/json, text/event-stream")?);
    if let Some(bearer) = &endpoint.bearer {
        headers.insert(header::AUTHORIZATION, value(&format!("Bearer {bearer}"))?);
    }
    Ok(headers)
}

/// The answer to the request `id` in a response, be it JSON or a stream of events.
async fn message(response: Response<Incoming>, id: u64) -> Result<Bytes, Error> {
    let status = response.status();
    let streams = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let body = http_client::read(response.into_body()).await?;
    if status != StatusCode::OK {
        let text = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        return Err(Error::unexpected(format!("status {status}: {text}")));
    }
    if !streams {
        return Ok(body);
    }
    let mut events = Events::default();
    events.push(&body);
    while let Some(event) = events.next() {
        if answer::answers(&event.data, id) {
            return Ok(event.data.into());
        }
    }
    Err(Error::unexpected(format!("the stream ended without an answer to {id}")))
}

/// A status that the contract does not allow.
pub(crate) fn status_error(what: &str, status: StatusCode) -> Error {
    Error::unexpected(format!("{what} was answered with {status}"))
}

//! A session over legacy SSE: one connection for the stream, one for the posts.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::event::{Event, Events};
use super::streamable::{headers, status_error};
use super::{Endpoint, Expectation, answer, call, initialize, initialized, list};
use crate::error::Error;
use crate::http_client::{self, Connection};

pub(crate) struct Session {
    posts: Posts,
    stream: Stream,
    tool: String,
    expectation: Expectation,
    last_id: u64,
}

struct Posts {
    connection: Connection,
    uri: Uri,
    headers: HeaderMap,
}

struct Stream {
    /// Keeps the connection of the stream open.
    _connection: Connection,
    body: Incoming,
    events: Events,
}

impl Session {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let headers = headers(endpoint)?;
        let mut stream = Stream::open(endpoint, &headers).await?;
        let first = stream.next().await?;
        if first.name != "endpoint" {
            return Err(Error::unexpected(format!("the first event is {}", first.name)));
        }
        let posts = Posts {
            connection: http_client::connect(endpoint.address).await?,
            uri: post_uri(&String::from_utf8_lossy(&first.data))?,
            headers,
        };
        let (tool, expectation) = (endpoint.tool.clone(), endpoint.expectation);
        let mut session = Self { posts, stream, tool, expectation, last_id: 0 };
        session.request(initialize().to_owned(), 0).await?;
        session.posts.send(initialized().to_owned()).await?;
        Ok(session)
    }

    pub(crate) async fn echo(&mut self, text: &str) -> Result<Duration, Error> {
        self.last_id += 1;
        let body = call(self.last_id, &self.tool, text);
        let (message, latency) = self.request(body, self.last_id).await?;
        answer::check(&message, self.last_id, text, self.expectation)?;
        Ok(latency)
    }

    pub(crate) async fn list(&mut self) -> Result<Duration, Error> {
        self.last_id += 1;
        let (_, latency) = self.request(list(self.last_id), self.last_id).await?;
        Ok(latency)
    }

    /// Posts a request and waits for both: the post's status and the answer on the stream. The
    /// latency is that of the answer.
    async fn request(&mut self, body: String, id: u64) -> Result<(Vec<u8>, Duration), Error> {
        let start = Instant::now();
        let stream = &mut self.stream;
        let answer = async {
            loop {
                let event = stream.next().await?;
                if answer::answers(&event.data, id) {
                    return Ok((event.data, start.elapsed()));
                }
            }
        };
        let (posted, answered) = tokio::join!(self.posts.send(body), answer);
        posted?;
        answered
    }
}

impl Posts {
    async fn send(&mut self, body: String) -> Result<(), Error> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        self.connection.ready().await?;
        let response = self.connection.send_request(request).await?;
        let status = response.status();
        http_client::read(response.into_body()).await?;
        if status.is_success() { Ok(()) } else { Err(status_error("a post", status)) }
    }
}

impl Stream {
    async fn open(endpoint: &Endpoint, headers: &HeaderMap) -> Result<Self, Error> {
        let mut connection = http_client::connect(endpoint.address).await?;
        let mut request = Request::new(Full::default());
        *request.uri_mut() = endpoint.path.parse().map_err(http::Error::from)?;
        request.headers_mut().clone_from(headers);
        let accept = HeaderValue::from_static("text/event-stream");
        request.headers_mut().insert(header::ACCEPT, accept);
        let response = connection.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(status_error("the stream", response.status()));
        }
        let (body, events) = (response.into_body(), Events::default());
        Ok(Self { _connection: connection, body, events })
    }

    async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.events.next() {
                return Ok(event);
            }
            let frame = self.body.frame().await;
            let frame = frame.ok_or_else(|| Error::unexpected("the stream ended"))??;
            if let Some(data) = frame.data_ref() {
                self.events.push(data);
            }
        }
    }
}

/// The path to post to; an endpoint is a URI, absolute or relative.
fn post_uri(endpoint: &str) -> Result<Uri, Error> {
    let uri: Uri = endpoint.parse().map_err(http::Error::from)?;
    match uri.path_and_query() {
        Some(path) => Ok(Uri::from(path.clone())),
        None => Err(Error::unexpected(format!("not an endpoint: {endpoint}"))),
    }
}

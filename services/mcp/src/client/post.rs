//! Posting messages to one URL: the hot path.
//!
//! Plain HTTP without a proxy goes straight through hyper, which costs about two thirds of the CPU
//! of the full client; everything else (TLS, a proxy, a redirect) goes through the full client.
//! Both keep connections, and neither sends a message again that may have left.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::LOCATION;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use super::SendFailure;
use super::http::{self as web, HttpClients};

/// A client for plain HTTP.
pub(super) type PlainClient = Client<HttpConnector, Full<Bytes>>;

/// Makes a client for plain HTTP.
pub(super) fn plain_client(
    connect_timeout: Duration,
    pool_idle: Duration,
    keepalive: Duration,
) -> PlainClient {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect_timeout));
    connector.set_keepalive(Some(keepalive));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(pool_idle)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

/// A message that was not accepted, and whether it may have been.
pub(super) type Refusal = (SendFailure, bool);

/// Posts messages to one URL.
pub(super) struct Poster {
    clients: HttpClients,
    url: Url,
    /// The URL for the short way, if that is open.
    plain: Option<Uri>,
    /// The server answers with redirects: the full client follows them.
    redirected: AtomicBool,
}

impl Poster {
    pub(super) fn new(clients: HttpClients, url: Url) -> Self {
        let short = url.scheme() == "http" && clients.plain.is_some();
        let plain = if short { url.as_str().parse().ok() } else { None };
        Self { clients, url, plain, redirected: AtomicBool::new(false) }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Posts a message with headers that all messages have and some of its own, which count more;
    /// the answer's body is still to be read.
    pub(super) async fn post(
        &self,
        headers: &HeaderMap,
        own: Option<&HeaderMap>,
        message: Bytes,
    ) -> Result<Answer, Refusal> {
        if let (Some(client), Some(uri)) = (&self.clients.plain, &self.plain)
            && !self.redirected.load(Ordering::Relaxed)
        {
            let mut request = Request::new(Full::new(message.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = joined(headers, own);
            let response = client.request(request).await.map_err(|error| {
                let cause = deepest(&error);
                match (error.is_connect(), timed_out(&error)) {
                    (true, true) => (SendFailure::TimedOut, false),
                    (true, false) => (SendFailure::Unreachable(cause), false),
                    (false, _) => (SendFailure::Broken(cause), true),
                }
            })?;
            let Some(location) = redirect(&self.url, &response) else {
                return Ok(Answer::Plain(response));
            };
            // Who redirects has not acted. The full client goes on from here, and from now on.
            self.redirected.store(true, Ordering::Relaxed);
            return self.post_full(&location, joined(headers, own), message).await;
        }
        self.post_full(&self.url, joined(headers, own), message).await
    }

    async fn post_full(
        &self,
        url: &Url,
        headers: HeaderMap,
        message: Bytes,
    ) -> Result<Answer, Refusal> {
        let request = web::request(Method::POST, url, headers, Some(message));
        let response = self.clients.post.execute(request).await.map_err(web::send_failure)?;
        Ok(Answer::Full(response))
    }
}

/// The headers of one message.
fn joined(headers: &HeaderMap, own: Option<&HeaderMap>) -> HeaderMap {
    let mut all = headers.clone();
    for (name, value) in own.into_iter().flatten() {
        all.insert(name.clone(), value.clone());
    }
    all
}

/// Where an answer says the message belongs, if that is a redirect to follow.
fn redirect(url: &Url, response: &Response<Incoming>) -> Option<Url> {
    if !web::keeps_method(response.status()) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    url.join(location).ok().filter(|location| web::same_origin(url, location))
}

/// The innermost cause of an error.
fn deepest(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn timed_out(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|error| {
        let io = error.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
    })
}

/// The answer to a message, its body unread.
pub(super) enum Answer {
    Plain(Response<Incoming>),
    Full(reqwest::Response),
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Plain(response) => response.status(),
            Self::Full(response) => response.status(),
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        match self {
            Self::Plain(response) => response.headers(),
            Self::Full(response) => response.headers(),
        }
    }

    /// The next piece of the body; the failure's cause in words. May be dropped while it waits.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Self::Full(response) => response.chunk().await.map_err(web::cause),
            Self::Plain(response) => loop {
                let Some(frame) = response.body_mut().frame().await else { return Ok(None) };
                // Trailers say nothing to us.
                if let Ok(data) = frame.map_err(|error| deepest(&error))?.into_data() {
                    return Ok(Some(data));
                }
            },
        }
    }

    /// The body up to a limit; `None` if it is larger.
    pub(super) async fn body(&mut self, max_bytes: usize) -> Result<Option<Bytes>, String> {
        let Some(first) = self.chunk().await? else { return Ok(Some(Bytes::new())) };
        if first.len() > max_bytes {
            return Ok(None);
        }
        // Small answers come in one piece, which is passed on without a copy.
        let Some(second) = self.chunk().await? else { return Ok(Some(first)) };
        let mut all = BytesMut::from(&first[..]);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if all.len() + chunk.len() > max_bytes {
                return Ok(None);
            }
            all.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(Some(all.freeze()))
    }
}

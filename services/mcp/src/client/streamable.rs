//! Streamable HTTP: each message is a POST, its answer is a JSON body or an event stream.
//!
//! In a session, a stream that breaks before its answer is read on with a GET, if the server gave
//! its events ids; a request is never posted again. Without a session there is no such thing.

mod listening;
mod stream;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub(super) use self::listening::start_listening;
use super::http::{self as web, HttpClients};
use super::link::Link;
use super::post::{Answer, Poster, Refusal};
use super::{CloseCause, HttpTarget, Reply, RequestError, SendFailure};
use crate::Protocol;
use crate::envelope::{Envelope, Kind};
use crate::server::{PROTOCOL_VERSION, SESSION_ID, SessionId};

/// The most that is read of an answer that carries no result.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// How long we wait for the answer to the end of a session.
const DELETE_TIMEOUT: Duration = Duration::from_secs(2);

/// The name of the header that resumes a stream.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The session with one upstream.
pub(super) struct HttpSession {
    clients: HttpClients,
    poster: Poster,
    /// Before the session is there.
    first_headers: HeaderMap,
    /// With the session and the revision: made once.
    headers: OnceLock<HeaderMap>,
    session: OnceLock<HeaderValue>,
}

impl HttpSession {
    pub(super) fn new(clients: HttpClients, target: &HttpTarget) -> Self {
        let ours =
            [(CONTENT_TYPE, "application/json"), (ACCEPT, "application/json, text/event-stream")];
        Self {
            poster: Poster::new(clients.clone(), target.url.clone()),
            clients,
            first_headers: web::headers(&target.headers, &ours),
            headers: OnceLock::new(),
            session: OnceLock::new(),
        }
    }

    fn headers(&self) -> &HeaderMap {
        self.headers.get().unwrap_or(&self.first_headers)
    }

    /// Fixes the headers once it is known what is spoken.
    pub(super) fn establish(&self, protocol: Protocol) {
        let mut headers = self.first_headers.clone();
        if let (Protocol::Sessions(_), Some(session)) = (protocol, self.session.get()) {
            headers.insert(SESSION_ID, session.clone());
        }
        let has_version = match protocol {
            Protocol::Sessions(revision) => revision.has_version_header(),
            Protocol::Stateless => true,
        };
        if has_version {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(protocol.as_str()));
        }
        // A second call would say the same.
        let _ = self.headers.set(headers);
    }

    /// Posts a notification or an answer.
    pub(super) async fn post_message(
        &self,
        message: Bytes,
        own: Option<&HeaderMap>,
    ) -> Result<(), SendFailure> {
        let mut response = self.post(message, own).await.map_err(|(failure, _)| failure)?;
        let status = response.status();
        if !status.is_success() {
            return Err(SendFailure::Http(status));
        }
        // Read so that the connection can be used again; it says nothing.
        let _ = response.body(MAX_REFUSAL_BYTES).await;
        Ok(())
    }

    async fn post(&self, message: Bytes, own: Option<&HeaderMap>) -> Result<Answer, Refusal> {
        self.poster.post(self.headers(), own, message).await
    }

    /// Posts a request and reads until its answer; what else the answer's stream brings is acted
    /// on.
    pub(super) async fn exchange(
        &self,
        link: &Arc<Link>,
        id: u64,
        message: Bytes,
        own: Option<&HeaderMap>,
    ) -> Result<Reply, RequestError> {
        let end = &link.events.end;
        tokio::select! {
            biased;
            reply = self.ask(link, id, message, own) => reply,
            cause = end.wait() => Err(RequestError::Unknown(SendFailure::Closed(cause))),
        }
    }

    async fn ask(
        &self,
        link: &Arc<Link>,
        id: u64,
        message: Bytes,
        own: Option<&HeaderMap>,
    ) -> Result<Reply, RequestError> {
        let response = self.post(message, own).await.map_err(|(failure, may_have_run)| {
            if may_have_run {
                RequestError::Unknown(failure)
            } else {
                RequestError::NotSent(failure)
            }
        })?;
        if response.status() != StatusCode::OK {
            return self.refused(link, id, response).await;
        }
        // Only a server that has sessions can begin one.
        if own.is_none() {
            self.note_session(response.headers())?;
        }
        match content_type(response.headers()) {
            ContentType::Json => self.read_json(link, id, response).await,
            ContentType::EventStream => self.read_stream(link, id, response).await,
            ContentType::Other => Err(RequestError::InvalidResponse),
        }
    }

    /// The session's id comes with the first answer that has one, which is that to `initialize`.
    fn note_session(&self, headers: &HeaderMap) -> Result<(), RequestError> {
        if self.headers.get().is_some() || self.session.get().is_some() {
            return Ok(());
        }
        let Some(value) = headers.get(SESSION_ID) else {
            return Ok(());
        };
        if value.to_str().ok().and_then(SessionId::parse).is_none() {
            return Err(RequestError::InvalidResponse);
        }
        let mut value = value.clone();
        value.set_sensitive(true);
        // Only the first answer comes here.
        let _ = self.session.set(value);
        Ok(())
    }

    async fn refused(
        &self,
        link: &Arc<Link>,
        id: u64,
        mut response: Answer,
    ) -> Result<Reply, RequestError> {
        let status = response.status();
        if status == StatusCode::NOT_FOUND && self.session.get().is_some() {
            link.end(CloseCause::SessionEnded);
            let failure = SendFailure::Closed(CloseCause::SessionEnded);
            return Err(RequestError::NotSent(failure));
        }
        if status.is_success() {
            return Err(RequestError::InvalidResponse);
        }
        // Some servers say in the body what is wrong, as a JSON-RPC error under our id.
        if matches!(content_type(response.headers()), ContentType::Json)
            && let Ok(Some(body)) = response.body(MAX_REFUSAL_BYTES).await
            && let Ok(message) = Envelope::parse(body, MAX_REFUSAL_BYTES)
            && message.kind() == Kind::Error
            // One that could not make out our id has none.
            && message.id().is_none_or(|found| found.as_u64() == Some(id))
            && let Some(error) = message.body()
        {
            return Ok(Reply::Error(error));
        }
        let failure = SendFailure::Http(status);
        // A refusal by the HTTP layer (4xx, a redirect) has run nothing.
        Err(if status.is_server_error() {
            RequestError::Unknown(failure)
        } else {
            RequestError::NotSent(failure)
        })
    }

    async fn read_json(
        &self,
        link: &Arc<Link>,
        id: u64,
        mut response: Answer,
    ) -> Result<Reply, RequestError> {
        let limit = link.max_message_bytes;
        let body = response
            .body(limit)
            .await
            .map_err(|cause| RequestError::Unknown(SendFailure::Broken(cause)))?
            .ok_or(RequestError::TooLarge(limit))?;
        let reply = stream::read_messages(link, id, body).await;
        reply.unwrap_or(Err(RequestError::InvalidResponse))
    }

    /// Tells the server that the session is over. Whether it heard does not matter.
    pub(super) async fn delete(&self) {
        if self.session.get().is_none() {
            return;
        }
        let request = web::request(Method::DELETE, self.poster.url(), self.headers().clone(), None);
        let sent = tokio::time::timeout(DELETE_TIMEOUT, self.clients.post.execute(request)).await;
        if !matches!(sent, Ok(Ok(_))) {
            tracing::debug!("the end of a session could not be told to an upstream");
        }
    }

    /// Asks for a stream of messages: the rest of one that had come to this event, or else that of
    /// messages that belong to no request.
    async fn listen(&self, last_event: Option<&str>) -> Listen {
        let mut headers = self.headers().clone();
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(value) = last_event.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, value);
        }
        let request = web::request(Method::GET, self.poster.url(), headers, None);
        let Ok(response) = self.clients.get.execute(request).await else {
            return Listen::Failed;
        };
        let is_stream = matches!(content_type(response.headers()), ContentType::EventStream);
        match response.status() {
            StatusCode::OK if is_stream => Listen::Stream(response),
            StatusCode::NOT_FOUND if self.session.get().is_some() => Listen::NoSession,
            status if status.is_server_error() => Listen::Failed,
            _ => Listen::Refused,
        }
    }
}

/// What came of asking for a stream.
enum Listen {
    Stream(reqwest::Response),
    /// There is none.
    Refused,
    /// The server does not know the session; or knows no such URL for a GET.
    NoSession,
    /// This time.
    Failed,
}

enum ContentType {
    Json,
    EventStream,
    Other,
}

fn content_type(headers: &HeaderMap) -> ContentType {
    let value = headers.get(CONTENT_TYPE).map_or(b"".as_slice(), HeaderValue::as_bytes);
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        ContentType::Json
    } else if essence.eq_ignore_ascii_case(b"text/event-stream") {
        ContentType::EventStream
    } else {
        ContentType::Other
    }
}

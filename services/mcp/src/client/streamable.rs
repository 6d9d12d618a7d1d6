//! Streamable HTTP: each message is a POST, its answer is a JSON body or an event stream.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::http::{self as web, HttpClients};
use super::link::{Link, MAX_BATCH};
use super::post::{Answer, Poster, Refusal};
use super::{CloseCause, HttpTarget, Reply, RequestError, SendFailure};
use crate::Revision;
use crate::envelope::{self, Envelope, EnvelopeError, Id, Kind};
use crate::server::{PROTOCOL_VERSION, SESSION_ID, SessionId};
use crate::sse::{Decoder, SseError};

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

    /// Fixes the headers once the revision is agreed on.
    pub(super) fn establish(&self, revision: Revision) {
        let mut headers = self.first_headers.clone();
        if let Some(session) = self.session.get() {
            headers.insert(SESSION_ID, session.clone());
        }
        if revision.has_version_header() {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
        }
        // A second call would say the same.
        let _ = self.headers.set(headers);
    }

    /// Posts a notification or an answer.
    pub(super) async fn post_message(&self, message: Bytes) -> Result<(), SendFailure> {
        let mut response = self.post(message).await.map_err(|(failure, _)| failure)?;
        let status = response.status();
        if !status.is_success() {
            return Err(SendFailure::Http(status));
        }
        // Read so that the connection can be used again; it says nothing.
        let _ = response.body(MAX_REFUSAL_BYTES).await;
        Ok(())
    }

    async fn post(&self, message: Bytes) -> Result<Answer, Refusal> {
        self.poster.post(self.headers(), message).await
    }

    /// Posts a request and reads until its answer; what else the answer's stream brings is acted
    /// on.
    pub(super) async fn exchange(
        &self,
        link: &Arc<Link>,
        id: u64,
        message: Bytes,
    ) -> Result<Reply, RequestError> {
        let end = &link.events.end;
        tokio::select! {
            biased;
            reply = self.ask(link, id, message) => reply,
            cause = end.wait() => Err(RequestError::Unknown(SendFailure::Closed(cause))),
        }
    }

    async fn ask(&self, link: &Arc<Link>, id: u64, message: Bytes) -> Result<Reply, RequestError> {
        let response = self.post(message).await.map_err(|(failure, may_have_run)| {
            if may_have_run {
                RequestError::Unknown(failure)
            } else {
                RequestError::NotSent(failure)
            }
        })?;
        if response.status() != StatusCode::OK {
            return self.refused(link, id, response).await;
        }
        self.note_session(response.headers())?;
        match content_type(response.headers()) {
            ContentType::Json => self.read_json(link, id, response).await,
            ContentType::EventStream => read_stream(link, id, response).await,
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
            && message.id().and_then(Id::as_u64) == Some(id)
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
        if !envelope::is_batch(&body) {
            return own_answer(link, id, body).unwrap_or(Err(RequestError::InvalidResponse));
        }
        let messages = envelope::split_batch(&body, MAX_BATCH);
        let messages = messages.map_err(|_| RequestError::InvalidResponse)?;
        let mut reply = None;
        for message in messages {
            reply = own_answer(link, id, message).or(reply);
        }
        reply.unwrap_or(Err(RequestError::InvalidResponse))
    }

    /// Tells the server that the session is over. Whether it heard does not matter.
    pub(super) async fn delete(&self) {
        if self.session.get().is_none() {
            return;
        }
        let request = web::request(Method::DELETE, self.poster.url(), self.headers(), None);
        let sent = tokio::time::timeout(DELETE_TIMEOUT, self.clients.post.execute(request)).await;
        if !matches!(sent, Ok(Ok(_))) {
            tracing::debug!("the end of a session could not be told to an upstream");
        }
    }

    /// Asks for the stream of messages that belong to no request; `None` if there is none.
    async fn listen(&self, last_event: Option<&str>) -> Option<reqwest::Response> {
        let mut headers = self.headers().clone();
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(value) = last_event.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, value);
        }
        let request = web::request(Method::GET, self.poster.url(), &headers, None);
        let response = self.clients.get.execute(request).await.ok()?;
        let is_stream = response.status() == StatusCode::OK
            && matches!(content_type(response.headers()), ContentType::EventStream);
        is_stream.then_some(response)
    }
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

/// Reads one message; `Some` if it answers the request, else it is acted on.
fn own_answer(link: &Arc<Link>, id: u64, frame: Bytes) -> Option<Result<Reply, RequestError>> {
    match Envelope::parse(frame, link.max_message_bytes) {
        Ok(message) if message.id().and_then(Id::as_u64) == Some(id) => {
            let body = message.body();
            match (message.kind(), body) {
                (Kind::Result, Some(body)) => Some(Ok(Reply::Result(body))),
                (Kind::Error, Some(body)) => Some(Ok(Reply::Error(body))),
                // A request of the server that shares our id is its own.
                _ => {
                    link.take(&message);
                    None
                }
            }
        }
        Ok(message) => {
            link.take(&message);
            None
        }
        Err(EnvelopeError::NotJsonRpc { id: Some(found), is_answer: true, .. })
            if found.as_u64() == Some(id) =>
        {
            Some(Err(RequestError::InvalidResponse))
        }
        Err(error) => {
            tracing::debug!(%error, "message of an upstream refused");
            None
        }
    }
}

async fn read_stream(
    link: &Arc<Link>,
    id: u64,
    mut response: Answer,
) -> Result<Reply, RequestError> {
    let mut decoder = Decoder::new(link.max_message_bytes);
    loop {
        let chunk = response
            .chunk()
            .await
            .map_err(|cause| RequestError::Unknown(SendFailure::Broken(cause)))?;
        let Some(chunk) = chunk else {
            let cause = "the answer's stream ended without an answer".to_owned();
            return Err(RequestError::Unknown(SendFailure::Broken(cause)));
        };
        decoder.push(&chunk);
        loop {
            match decoder.next() {
                Ok(Some(event)) if event.event == "message" && !event.data.is_empty() => {
                    if let Some(reply) = own_answer(link, id, event.data) {
                        finish_stream(link, response);
                        return reply;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(SseError::TooLarge(limit)) => return Err(RequestError::TooLarge(limit)),
            }
        }
    }
}

/// The server ends the stream after the answer; read to its end, the connection can be used again.
fn finish_stream(link: &Arc<Link>, mut response: Answer) {
    // The end has mostly come with the answer: then there is nothing to wait for.
    if let Some(Ok(None)) = response.chunk().now_or_never() {
        return;
    }
    link.spawn_detached(async move {
        let _ = response.body(MAX_REFUSAL_BYTES).await;
    });
}

/// Starts the task that listens for messages that belong to no request. A server may have no such
/// stream, and may end it at any time; no call depends on it.
pub(super) fn start_listening(link: &Arc<Link>) {
    let link = Arc::clone(link);
    tokio::spawn(async move {
        tokio::select! {
            () = listen(&link) => {}
            _ = link.events.end.wait() => {}
        }
    });
}

/// How long until a stream that ended is asked for again, and the longest such pause.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);
const MAX_LISTEN_PAUSE: Duration = Duration::from_secs(30);

async fn listen(link: &Arc<Link>) {
    let super::outbound::Outbound::Http(session) = &link.outbound else {
        return;
    };
    let mut last_event: Option<String> = None;
    let mut pause = LISTEN_PAUSE;
    let mut ever = false;
    loop {
        if let Some(response) = session.listen(last_event.as_deref()).await {
            ever = true;
            let mut decoder = Decoder::new(link.max_message_bytes);
            if read_listened(link, response, &mut decoder).await {
                pause = LISTEN_PAUSE;
            }
            last_event = decoder.last_id().map(str::to_owned).or(last_event);
            if let Some(retry) = decoder.retry_ms() {
                pause = Duration::from_millis(retry).clamp(LISTEN_PAUSE, MAX_LISTEN_PAUSE);
            }
        } else if !ever {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_LISTEN_PAUSE);
    }
}

/// Reads a listening stream to its end; whether it brought anything.
async fn read_listened(
    link: &Arc<Link>,
    mut response: reqwest::Response,
    decoder: &mut Decoder,
) -> bool {
    let mut any = false;
    while let Ok(Some(chunk)) = response.chunk().await {
        decoder.push(&chunk);
        loop {
            match decoder.next() {
                Ok(Some(event)) if event.event == "message" && !event.data.is_empty() => {
                    any = true;
                    link.receive(event.data);
                }
                Ok(Some(_)) => any = true,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "listening stream of an upstream given up");
                    return any;
                }
            }
        }
    }
    any
}

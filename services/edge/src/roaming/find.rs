//! Who answers for a session that is not here.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use backplane::exchange::OUTCOME_UNKNOWN;
use bus::{MemoryError, Revision};
use bytes::Bytes;
use domain::ErrorCode;
use mcp::server::Method as McpMethod;
use mcp::{Envelope, Id, Kind, envelope};
use prost::Message as _;
use proto::internal::v1::McpSession;
use tokio::time::Instant;

use super::adopt::{NotAdopted, adopt};
use super::forward::{Forwarded, forward};
use super::{Digest, MEMORY_WAIT, NOT_HERE, Roaming, digest_of, session_key};
use crate::call::failure;
use crate::http::{Passed, json, refuse};
use crate::scope::Scope;
use crate::session::Session;
use crate::streamable::no_session;

/// How long a request waits until it is certain that a home is gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often that is looked at, if nobody comes or goes.
const LOOK: Duration = Duration::from_millis(250);
/// How often a home may say that it does not have what its record says, before it is believed.
const DENIALS: usize = 5;

/// A request for a session, as it can be forwarded.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) body: Bytes,
    /// Whether it may have run upstream if its answer is lost, so that it is not sent again.
    pub(crate) may_run: bool,
    /// What its answer is about, where it has one.
    pub(crate) id: Option<Id>,
}

impl Request {
    /// A request without a body.
    pub(crate) fn plain(method: Method) -> Self {
        Self { method, body: Bytes::new(), may_run: false, id: None }
    }

    /// A message whose answer is the answer to the request.
    pub(crate) fn message(envelope: &Envelope) -> Self {
        let is_request = envelope.kind() == Kind::Request;
        let may_run = is_request
            && !matches!(
                McpMethod::parse(envelope.method()),
                None | Some(McpMethod::List(_) | McpMethod::Initialize | McpMethod::Ping)
            );
        let id = envelope.id().filter(|_| is_request).cloned();
        Self { method: Method::POST, body: envelope.frame().clone(), may_run, id }
    }

    /// Something that is posted, and is answered in another way or as many messages.
    pub(crate) fn posted(body: Bytes) -> Self {
        Self { method: Method::POST, body, may_run: true, id: None }
    }
}

/// Where a session is.
pub(crate) enum Found {
    /// Here, from now on at the latest.
    Here(Arc<Session>),
    /// Elsewhere: this is the whole answer.
    Answered(Response),
    /// Nowhere, as far as the key may know.
    Unknown,
}

/// Finds a session that is not in the table: asks its home, or takes it over if that is gone.
pub(crate) async fn find(passed: &Passed, id: &str, request: impl FnOnce() -> Request) -> Found {
    let Some(roaming) = &passed.shared.roaming else { return Found::Unknown };
    if passed.is_from_edge {
        return Found::Answered(NOT_HERE.into_response());
    }
    let request = &request();
    let search = Search { roaming, passed, id, digest: digest_of(id.as_bytes()) };
    let until = Instant::now() + PATIENCE;
    let mut home = roaming.home(&search.digest);
    // The home that was asked last, and how often it said that the session is not there.
    let (mut asked, mut denials) = (None, 0);
    loop {
        if let Some(at) = home.take() {
            match forward(roaming, &at, passed, request).await {
                Forwarded::Answered(response) => {
                    roaming.remember_home(search.digest, &at);
                    return Found::Answered(response);
                }
                Forwarded::Refused(response) => return Found::Answered(response),
                Forwarded::Lost if request.may_run => {
                    return Found::Answered(lost(request.id.as_ref()));
                }
                Forwarded::NotHere => denials += 1,
                Forwarded::NotThere | Forwarded::Lost => denials = 0,
            }
            roaming.forget_home(&search.digest);
            asked = Some(at);
        }
        if Instant::now() >= until {
            let message = "the edge that has the session does not answer: retry";
            return Found::Answered(refuse(ErrorCode::Unavailable, message));
        }
        match search.look().await {
            Look::Found(found) => return found,
            Look::At(at) if asked.as_ref() == Some(&at) => {
                if denials >= DENIALS {
                    // A record that its home could not remove.
                    search.forget().await;
                    return Found::Unknown;
                }
                roaming.company.change(LOOK).await;
                home = Some(at);
            }
            Look::At(at) => home = Some(at),
            Look::Again => roaming.company.change(LOOK).await,
        }
    }
}

/// The answer of the edge at which what a request is about is.
pub(crate) async fn ask_home(passed: &Passed, home: &str, request: Request) -> Response {
    let Some(roaming) = passed.shared.roaming.as_ref().filter(|_| !passed.is_from_edge) else {
        return NOT_HERE.into_response();
    };
    match forward(roaming, home, passed, &request).await {
        Forwarded::Answered(response) | Forwarded::Refused(response) => response,
        Forwarded::Lost if request.may_run => lost(request.id.as_ref()),
        Forwarded::Lost | Forwarded::NotThere | Forwarded::NotHere => refuse(
            ErrorCode::Unavailable,
            "what was asked for is on its way to another edge: retry",
        ),
    }
}

/// One search.
struct Search<'a> {
    roaming: &'a Arc<Roaming>,
    passed: &'a Passed,
    id: &'a str,
    digest: Digest,
}

enum Look {
    Found(Found),
    /// Its home, which is there.
    At(String),
    /// It changed meanwhile.
    Again,
}

impl Search<'_> {
    /// What its record says. Those that look for the same session wait for each other, so that one
    /// of them takes it over.
    async fn look(&self) -> Look {
        let Self { roaming, passed, .. } = self;
        let _lane = roaming.lane(&self.digest).lock().await;
        let grant = &passed.grant;
        if let Some(session) = passed.shared.sessions.find(self.id, grant.key, &grant.scope) {
            return Look::Found(Found::Here(session));
        }
        let (revision, record) = match roaming.read_session(&self.digest).await {
            Ok(Some(read)) => read,
            Ok(None) => return Look::Found(Found::Unknown),
            Err(error) => {
                tracing::warn!(%error, "it cannot be seen whose a session is");
                let message = "sessions of other edges cannot be found now: retry";
                return Look::Found(Found::Answered(refuse(ErrorCode::Unavailable, message)));
            }
        };
        // Of this edge, and not in its table: it just ended.
        if !is_of(&record, passed) || record.home == roaming.instance {
            return Look::Found(Found::Unknown);
        }
        if !record.home.is_empty() {
            match roaming.is_there(&record.home).await {
                Some(true) => return Look::At(record.home),
                Some(false) => {}
                None => return Look::Again,
            }
        }
        match adopt(passed, self.id, (revision, record)).await {
            Ok(session) => Look::Found(Found::Here(session)),
            Err(NotAdopted::Over) => Look::Found(Found::Unknown),
            Err(NotAdopted::Changed) => Look::Again,
            Err(NotAdopted::Refused(refused)) => Look::Found(Found::Answered(no_session(refused))),
            Err(NotAdopted::Unavailable) => {
                let message = "the session cannot be taken over now: retry";
                Look::Found(Found::Answered(refuse(ErrorCode::Unavailable, message)))
            }
        }
    }
}

impl Search<'_> {
    async fn forget(&self) {
        let key = session_key(&self.digest);
        let removing = self.roaming.memory.remove(&key);
        let _ = tokio::time::timeout(MEMORY_WAIT, removing).await;
    }
}

/// Whether a record is of a session that the request's key opened at the request's endpoint.
fn is_of(record: &McpSession, passed: &Passed) -> bool {
    let grant = &passed.grant;
    let server = match &grant.scope {
        Scope::Unified(_) => String::new(),
        Scope::Server(_, server) => server.to_string(),
    };
    record.api_key == grant.key.to_string()
        && record.project == grant.scope.project().as_str()
        && record.server == server
}

/// The answer to a request that may have run where nobody can be asked any more.
fn lost(id: Option<&Id>) -> Response {
    let message = "the edge that had the session is gone: what was asked may have run";
    match id {
        Some(id) => {
            let error = failure(OUTCOME_UNKNOWN, message);
            json(StatusCode::OK, envelope::error_response(Some(id), &error))
        }
        None => refuse(ErrorCode::Unavailable, message),
    }
}

impl Roaming {
    /// A session's record, with its revision; one that cannot be read is none.
    pub(super) async fn read_session(
        &self,
        of: &Digest,
    ) -> Result<Option<(Revision, McpSession)>, MemoryError> {
        let key = session_key(of);
        let read = tokio::time::timeout(MEMORY_WAIT, self.memory.read(&key)).await;
        let read =
            read.map_err(|_| MemoryError::Unavailable { detail: "timed out".to_owned() })??;
        let decoded = read.map(|(revision, value)| (revision, McpSession::decode(value)));
        Ok(decoded.and_then(|(revision, record)| Some((revision, record.ok()?))))
    }
}

//! What an upstream and a client say to each other in one exchange, besides request and answer.

use std::time::Duration;

use backplane::exchange::{FollowUp, Frame};
use bytes::Bytes;
use mcp::client::Connection;
use mcp::{LogLevel, Protocol, code};
use proto::internal::v1::{Notification, Paused, Peer, SessionCatalogue};
use tokio::time::timeout;

use super::outlet::{Left, Outlet};
use super::questions::Questions;
use crate::connection::{Asked, Heard};
use crate::severity::{LOG_METHOD, passes};

/// How long handing a client's notification to the upstream may take.
const NOTIFY_LIMIT: Duration = Duration::from_secs(5);

/// What of a client's notifications an upstream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// Those that belong to the call.
    OfTheCall,
    /// All that are the client's to send: the connection is its own.
    All,
}

impl Passing {
    fn lets(self, method: &str) -> bool {
        match method {
            // What they are about has another name upstream, or is done by the worker.
            "notifications/cancelled" | "notifications/initialized" => false,
            "notifications/progress" => true,
            _ => self == Self::All,
        }
    }
}

/// The log messages that a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logs {
    /// All: the edge knows what the client wants.
    All,
    /// From that level on.
    From(LogLevel),
    /// A stateless client that asked for none.
    None,
}

impl Logs {
    fn of(peer: Option<&Peer>) -> Self {
        match peer {
            Some(peer) if peer.revision == Protocol::STATELESS => {
                LogLevel::parse(&peer.log_level).map_or(Self::None, Self::From)
            }
            _ => Self::All,
        }
    }

    fn let_pass(self, method: &str, params: &Bytes) -> bool {
        match self {
            Self::All => true,
            Self::From(least) => passes(method, params, least),
            Self::None => method != LOG_METHOD,
        }
    }
}

/// See the module.
pub(super) struct Conversation<'a> {
    outlet: &'a Outlet,
    /// Where the client's notifications go; `None` where nothing is said for it.
    upstream: Option<(&'a Connection, Passing)>,
    logs: Logs,
    /// Whether the edge can put a question to its client.
    may_ask: bool,
    questions: Questions,
}

impl<'a> Conversation<'a> {
    /// Nothing was said yet. The client's notifications go to `upstream`.
    pub(super) fn new(
        outlet: &'a Outlet,
        peer: Option<&Peer>,
        upstream: Option<(&'a Connection, Passing)>,
    ) -> Self {
        // A stateless upstream takes no notifications but of what is cancelled.
        let upstream = upstream.filter(|(it, _)| !it.hello().protocol.is_stateless());
        let (logs, may_ask) = (Logs::of(peer), peer.is_some());
        Self { outlet, upstream, logs, may_ask, questions: Questions::new() }
    }

    /// The upstream told something.
    ///
    /// # Errors
    /// [`Left`].
    pub(super) async fn tell(&mut self, method: String, params: Bytes) -> Result<(), Left> {
        let params = if method == "notifications/cancelled" {
            let Some((name, params, asked)) = self.questions.take_back(&params) else {
                return Ok(());
            };
            self.outlet.withdrawn(&name);
            asked.forget();
            params
        } else {
            params
        };
        if !self.logs.let_pass(&method, &params) {
            return Ok(());
        }
        self.outlet.tell(Frame::Notification(Notification { method, params })).await
    }

    /// The upstream ended the call's stream, and is asked for the rest after `retry`.
    ///
    /// # Errors
    /// [`Left`].
    pub(super) async fn pause(&self, retry: Duration) -> Result<(), Left> {
        let retry_ms = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
        self.outlet.tell(Frame::Paused(Paused { retry_ms })).await
    }

    /// The upstream asks something.
    ///
    /// # Errors
    /// [`Left`]; then the upstream is refused.
    pub(super) async fn ask(&mut self, asked: Asked) -> Result<(), Left> {
        if !self.may_ask {
            asked.refuse(code::METHOD_NOT_FOUND, "Method not found");
            return Ok(());
        }
        match self.questions.note(asked) {
            Ok(question) => self.outlet.tell(Frame::Request(question)).await,
            Err(asked) => {
                asked.refuse(code::INTERNAL_ERROR, "too many requests wait for the client");
                Ok(())
            }
        }
    }

    /// Something that was said on the connection. Returns whether the connection still stands.
    ///
    /// # Errors
    /// [`Left`].
    pub(super) async fn hear(&mut self, heard: Heard) -> Result<bool, Left> {
        match heard {
            Heard::Notification(Notification { method, params }) => {
                self.tell(method, params).await?;
            }
            Heard::Asked(asked) => self.ask(asked).await?,
            Heard::Done(done) => self.outlet.tell(Frame::InterestDone(done)).await?,
            Heard::Catalogue(catalogue) => {
                self.outlet.tell(Frame::Catalogue(SessionCatalogue { catalogue })).await?;
            }
            Heard::Ended => return Ok(false),
        }
        Ok(true)
    }

    /// The client says something; what is not for the upstream is passed over.
    pub(super) async fn take(&mut self, follow_up: FollowUp) {
        match follow_up {
            FollowUp::Answer { id, answer } => {
                if let Some(asked) = self.questions.take(&id) {
                    asked.answer(answer);
                }
            }
            FollowUp::Notification(Notification { method, params }) => {
                let passing = self.upstream.filter(|(_, passing)| passing.lets(&method));
                let Some((connection, _)) = passing else { return };
                let params = (!params.is_empty()).then_some(params);
                let passed = connection.notify(&method, params);
                if !matches!(timeout(NOTIFY_LIMIT, passed).await, Ok(Ok(()))) {
                    tracing::debug!(method, "a notification of a client was lost");
                }
            }
            FollowUp::Cancel(_) | FollowUp::Interest(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(revision: &str, log_level: &str) -> Peer {
        let (revision, log_level) = (revision.to_owned(), log_level.to_owned());
        Peer { revision, log_level, ..Peer::default() }
    }

    #[test]
    fn a_stateless_client_gets_the_log_messages_that_it_asked_for() {
        let warning = Bytes::from_static(br#"{"level":"warning","data":1}"#);
        for (peer, pass) in [
            (None, true),
            (Some(peer("2025-11-25", "")), true),
            (Some(peer(Protocol::STATELESS, "")), false),
            (Some(peer(Protocol::STATELESS, "loud")), false),
            (Some(peer(Protocol::STATELESS, "error")), false),
            (Some(peer(Protocol::STATELESS, "debug")), true),
        ] {
            let logs = Logs::of(peer.as_ref());
            assert_eq!(logs.let_pass(LOG_METHOD, &warning), pass, "{peer:?}");
            assert!(logs.let_pass("notifications/progress", &warning));
        }
    }

    #[test]
    fn only_what_is_the_clients_to_say_reaches_the_upstream() {
        assert!(Passing::OfTheCall.lets("notifications/progress"));
        assert!(!Passing::OfTheCall.lets("notifications/roots/list_changed"));
        assert!(Passing::All.lets("notifications/roots/list_changed"));
        assert!(!Passing::All.lets("notifications/initialized"));
        assert!(!Passing::All.lets("notifications/cancelled"));
    }
}

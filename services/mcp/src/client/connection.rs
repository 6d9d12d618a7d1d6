//! An open connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::events::Events;
use super::link::Link;
use super::listen::Wanted;
use super::outbound::Outbound;
use super::{CloseCause, Pending, RequestError, RequestOptions, Transport, hop, start};
use crate::catalogue::Item;
use crate::envelope::{self, Id};
use crate::{Catalogue, ListKind, Protocol};

/// A connection and what it reports on its own.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Connection,
    /// Its events.
    pub events: Events,
}

/// What the server said of itself in `initialize` or `server/discover`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// What is spoken.
    pub protocol: Protocol,
    /// The raw `serverInfo`.
    pub server_info: Option<Bytes>,
    /// The raw `capabilities`.
    pub capabilities: Option<Bytes>,
    /// The instructions for the model.
    pub instructions: Option<String>,
}

impl ServerHello {
    /// Whether the server declared a capability with this name.
    #[must_use]
    pub fn declares(&self, capability: &str) -> bool {
        self.to_catalogue().declares(capability)
    }

    /// A catalogue that says this and has no items yet.
    #[must_use]
    pub fn to_catalogue(&self) -> Catalogue {
        let mut catalogue = Catalogue::default();
        self.protocol.as_str().clone_into(&mut catalogue.protocol_version);
        catalogue.server_info.clone_from(&self.server_info);
        catalogue.capabilities.clone_from(&self.capabilities);
        catalogue.instructions.clone_from(&self.instructions);
        catalogue
    }
}

/// How long setting up took, each from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetupTimes {
    /// Until the transport stood. With Streamable HTTP, which has no connection of its own, until
    /// `initialize` was answered.
    pub established: Duration,
    /// Until `notifications/initialized` was sent.
    pub initialized: Duration,
}

/// A connection that has been initialized. Clones are the same connection; it ends when the last
/// one is dropped.
#[derive(Clone)]
pub struct Connection(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) hello: ServerHello,
    times: SetupTimes,
    read_timeout: Option<Duration>,
    /// What a stateless server is to tell of on its own; `None` in a session.
    pub(super) wanted: Option<Wanted>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.link.end(CloseCause::Requested);
    }
}

impl Connection {
    pub(super) fn new(
        link: Arc<Link>,
        hello: ServerHello,
        times: SetupTimes,
        read_timeout: Option<Duration>,
        wanted: Option<Wanted>,
    ) -> Self {
        Self(Arc::new(Shared { link, hello, times, read_timeout, wanted }))
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.link.transport
    }

    /// What the server said of itself at first.
    #[must_use]
    pub fn hello(&self) -> &ServerHello {
        &self.0.hello
    }

    /// How long setting up took.
    #[must_use]
    pub fn setup_times(&self) -> SetupTimes {
        self.0.times
    }

    /// How many requests are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.link.in_flight()
    }

    /// Starts a request with raw parameters (an object). A progress token in `_meta` is replaced
    /// on the way out and restored in what comes back; a stateless server is told all that it must
    /// know. Failures show when the request is polled.
    #[must_use]
    pub fn request(&self, method: &str, params: Option<Bytes>, options: RequestOptions) -> Pending {
        let read_timeout = options.read_timeout.or(self.0.read_timeout);
        let link = &self.0.link;
        let stamp = link.is_stateless().then_some(&options.meta);
        start::request(link, start::Ask { method, params, read_timeout, stamp, listens: false })
    }

    /// Answers what the server asked for ([`super::ConnectionEvent::Request`],
    /// [`super::Frame::Request`]): `Ok` is the raw result, `Err` the raw error object. An answer
    /// that the server no longer waits for is dropped.
    ///
    /// # Errors
    /// [`RequestError::NotSent`] and [`RequestError::Unknown`].
    pub async fn respond(&self, id: &Id, answer: Result<Bytes, Bytes>) -> Result<(), RequestError> {
        if !self.0.link.asked.forget(id) {
            return Ok(());
        }
        let message = match answer {
            Ok(result) => envelope::response(id, &result),
            Err(error) => envelope::error_response(Some(id), &error),
        };
        send_message(&self.0.link, message).await
    }

    /// Sends a notification. A stateless server over HTTP has little use for any.
    ///
    /// # Errors
    /// [`RequestError::NotSent`] and [`RequestError::Unknown`].
    pub async fn notify(&self, method: &str, params: Option<Bytes>) -> Result<(), RequestError> {
        let message = envelope::notification(method, params.as_deref());
        let link = &self.0.link;
        match &link.outbound {
            Outbound::Http(session) if link.is_stateless() => {
                link.check_open()?;
                let headers = hop::headers(method, params.as_deref());
                session.post_message(message, Some(&headers)).await.map_err(RequestError::Unknown)
            }
            _ => send_message(link, message).await,
        }
    }

    /// Takes note of a list as it is now; leaves out what must not be used. Over HTTP a stateless
    /// server may want arguments of tools in headers, and one that asks for them wrongly makes its
    /// tool unusable.
    pub(super) fn note_items(&self, kind: ListKind, items: Vec<Item>) -> Vec<Item> {
        let link = &self.0.link;
        if kind == ListKind::Tools && link.is_stateless_http() {
            return link.tools.learn(items);
        }
        items
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> CloseCause {
        self.0.link.events.end.wait().await
    }

    /// Why the connection ended, if it did.
    #[must_use]
    pub fn close_cause(&self) -> Option<CloseCause> {
        self.0.link.events.end.cause().cloned()
    }

    /// Ends the connection and every request under way. Over Streamable HTTP the server is told,
    /// for at most the connection's patience with small messages.
    pub async fn close(&self) {
        self.0.link.end(CloseCause::Requested);
        if let Outbound::Http(session) = &self.0.link.outbound {
            session.delete().await;
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("transport", &self.transport())
            .field("protocol", &self.0.hello.protocol)
            .finish_non_exhaustive()
    }
}

/// Sends a notification or an answer over a link.
pub(super) async fn send_message(link: &Link, message: Bytes) -> Result<(), RequestError> {
    link.check_open()?;
    link.outbound.send_message(message).await.map_err(RequestError::Unknown)
}

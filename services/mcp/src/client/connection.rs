//! An open connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::events::Events;
use super::link::Link;
use super::outbound::Outbound;
use super::pending::Work;
use super::{CloseCause, Pending, RequestError, RequestOptions, SendFailure, Transport};
use crate::envelope::{self, Id};
use crate::{Catalogue, Revision, splice};

/// A connection and what it reports on its own.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Connection,
    /// Its events.
    pub events: Events,
}

/// What the server said in `initialize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// The revision that was agreed on.
    pub revision: Revision,
    /// The raw `serverInfo`.
    pub server_info: Option<Bytes>,
    /// The raw `capabilities`.
    pub capabilities: Option<Bytes>,
    /// The instructions for the model.
    pub instructions: Option<String>,
}

impl ServerHello {
    /// A catalogue that says this and has no items yet.
    #[must_use]
    pub fn to_catalogue(&self) -> Catalogue {
        let mut catalogue = Catalogue::default();
        self.revision.as_str().clone_into(&mut catalogue.protocol_version);
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
pub struct Connection(Arc<Shared>);

struct Shared {
    link: Arc<Link>,
    hello: ServerHello,
    times: SetupTimes,
    read_timeout: Option<Duration>,
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
    ) -> Self {
        Self(Arc::new(Shared { link, hello, times, read_timeout }))
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.link.transport
    }

    /// What the server said in `initialize`.
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
    /// on the way out and restored in what comes back. Failures show when the request is polled.
    #[must_use]
    pub fn request(&self, method: &str, params: Option<Bytes>, options: RequestOptions) -> Pending {
        let read_timeout = options.read_timeout.or(self.0.read_timeout);
        start_request(&self.0.link, method, params, read_timeout)
    }

    /// Sends a notification.
    ///
    /// # Errors
    /// [`RequestError::NotSent`] and [`RequestError::Unknown`].
    pub async fn notify(&self, method: &str, params: Option<Bytes>) -> Result<(), RequestError> {
        let message = envelope::notification(method, params.as_deref());
        send_message(&self.0.link, message).await
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
            .field("revision", &self.0.hello.revision)
            .finish_non_exhaustive()
    }
}

/// Sends a notification or an answer over a link.
pub(super) async fn send_message(link: &Link, message: Bytes) -> Result<(), RequestError> {
    if let Some(cause) = link.events.end.cause() {
        return Err(RequestError::NotSent(SendFailure::Closed(cause.clone())));
    }
    link.outbound.send_message(message).await.map_err(RequestError::Unknown)
}

/// Starts a request over a link.
pub(super) fn start_request(
    link: &Arc<Link>,
    method: &str,
    params: Option<Bytes>,
    read_timeout: Option<Duration>,
) -> Pending {
    let id = match link.begin() {
        Ok(id) => id,
        Err(error) => return Pending::failed(error),
    };
    let (params, token) = match take_progress_token(params, id) {
        Ok(parts) => parts,
        Err(_) => {
            link.finish(id);
            return Pending::failed(RequestError::NotSent(SendFailure::Parameters));
        }
    };
    let message = envelope::request(&Id::number(id), method, params.as_deref());
    // Over HTTP the answer comes with the request; a place for it is only needed where something
    // may come another way.
    let needs_slot = token.is_some() || !matches!(link.outbound, Outbound::Http(_));
    let (answer, progress) = if needs_slot {
        let waiting = link.wait_for(id, token);
        (Some(waiting.reply), waiting.progress)
    } else {
        (None, None)
    };
    let work = start_sending(link, id, message, needs_slot);
    let cancellable = method != "initialize";
    Pending::running(Arc::clone(link), id, cancellable, work, answer, progress, read_timeout)
}

fn start_sending(link: &Arc<Link>, id: u64, message: Bytes, has_slot: bool) -> Option<Work> {
    match &link.outbound {
        Outbound::Pipe(pipe) => {
            let message = pipe.try_send(Some(id), message)?;
            let pipe = pipe.detach();
            Some(Box::pin(async move {
                pipe.send(Some(id), message).await.map_err(RequestError::NotSent)?;
                Ok(None)
            }))
        }
        Outbound::Sse(_) => {
            let link = Arc::clone(link);
            Some(Box::pin(async move {
                let Outbound::Sse(sender) = &link.outbound else {
                    return Ok(None);
                };
                link.mark_written(id);
                sender.post_request(&link, message).await?;
                Ok(None)
            }))
        }
        Outbound::Http(_) => {
            let link = Arc::clone(link);
            Some(Box::pin(async move {
                let Outbound::Http(session) = &link.outbound else {
                    return Ok(None);
                };
                if has_slot {
                    link.mark_written(id);
                }
                session.exchange(&link, id, message).await.map(Some)
            }))
        }
    }
}

/// Puts our own progress token (the request's id) in the place of the caller's, if it gave one.
fn take_progress_token(
    params: Option<Bytes>,
    id: u64,
) -> Result<(Option<Bytes>, Option<Bytes>), splice::SpliceError> {
    let Some(params) = params else {
        return Ok((None, None));
    };
    // Most requests ask for no progress: then one search is all it costs. A key written with
    // escapes passes through as it is, and its progress is dropped.
    if memchr::memmem::find(&params, b"progressToken").is_none() {
        return Ok((Some(params), None));
    }
    let Some(span) = splice::find(&params, &["_meta", "progressToken"])? else {
        return Ok((Some(params), None));
    };
    let token = params.slice(span.clone());
    let params = splice::replace_span(&params, span, id.to_string().as_bytes());
    Ok((Some(params), Some(token)))
}

//! Opening connections: the transport, then `initialize`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::connection::{self, Connected, Connection, ServerHello, SetupTimes};
use super::events::EventSink;
use super::http::{self, HttpPool};
use super::link::Link;
use super::outbound::Outbound;
use super::pipes::{self, PipeSender};
use super::streamable::{self, HttpSession};
use super::{
    ClientInfo, ClientOptions, ConnectError, Reply, RequestError, SendFailure, Target, Transport,
    legacy_sse,
};
use crate::{ErrorObject, Revision, envelope, splice};

/// Opens connections and keeps what they share: HTTP clients with their pools. Clones share it,
/// too; a process needs one.
#[derive(Clone, Default)]
pub struct Connector {
    pool: Arc<HttpPool>,
}

impl Connector {
    /// A connector with no connections yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the transport and initializes the session. Nothing is tried twice.
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::stage`] says how far it came.
    pub async fn connect(
        &self,
        target: Target,
        options: &ClientOptions,
    ) -> Result<Connected, ConnectError> {
        let start = Instant::now();
        let (sink, events) = EventSink::new();
        let link = self.open(target, options, sink).await?;
        let established = start.elapsed();
        // If this future is dropped on the way, or fails, the transport must not live on.
        let guard = EndOnDrop(Some(Arc::clone(&link)));
        let (hello, answered) = initialize(&link, options, start).await?;
        let over_http = link.transport == Transport::StreamableHttp;
        let times = SetupTimes {
            established: if over_http { answered } else { established },
            initialized: start.elapsed(),
        };
        tracing::debug!(transport = %link.transport, revision = %hello.revision, "initialized");
        if over_http {
            streamable::start_listening(&link);
        }
        let link = guard.defuse().unwrap_or(link);
        let connection = Connection::new(link, hello, times, options.read_timeout);
        Ok(Connected { connection, events })
    }

    async fn open(
        &self,
        target: Target,
        options: &ClientOptions,
        sink: Arc<EventSink>,
    ) -> Result<Arc<Link>, ConnectError> {
        let transport = target.transport();
        let link = |outbound| {
            let (bytes, requests) = (options.max_message_bytes, options.max_in_flight);
            Link::new(transport, outbound, sink, bytes, requests)
        };
        match target {
            Target::Stdio { stdin, stdout } => {
                let (sender, queue) = PipeSender::new();
                let link = link(Outbound::Pipe(sender));
                pipes::start(&link, queue, stdin, stdout);
                Ok(link)
            }
            Target::Sse(target) => {
                let target = http::take_credentials(target);
                let clients = self.pool.clients(options)?;
                let opened = timeout(options.connect_timeout, legacy_sse::open(&clients, &target))
                    .await
                    .map_err(|_| ConnectError::Timeout(transport))??;
                let link = link(Outbound::Sse(Box::new(opened.sender)));
                legacy_sse::start(&link, opened.stream);
                Ok(link)
            }
            Target::StreamableHttp(target) => {
                let target = http::take_credentials(target);
                let clients = self.pool.clients(options)?;
                Ok(link(Outbound::Http(Box::new(HttpSession::new(clients, &target)))))
            }
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

struct EndOnDrop(Option<Arc<Link>>);

impl EndOnDrop {
    fn defuse(mut self) -> Option<Arc<Link>> {
        self.0.take()
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.end(super::CloseCause::Requested);
        }
    }
}

/// Agrees on a revision; also when the answer was there.
async fn initialize(
    link: &Arc<Link>,
    options: &ClientOptions,
    start: Instant,
) -> Result<(ServerHello, Duration), ConnectError> {
    let params = initialize_params(&options.client_info);
    let limit = Some(options.initialize_timeout);
    let pending = connection::start_request(link, "initialize", Some(params), limit);
    let result = match pending.reply().await {
        Ok(Reply::Result(result)) => result,
        Ok(Reply::Error(error)) => {
            let error = ErrorObject::parse(&error);
            let message = error.message.chars().take(1024).collect();
            return Err(ConnectError::Refused { code: error.code, message });
        }
        Err(error) => return Err(failed(link.transport, error)),
    };
    let answered = start.elapsed();
    let hello = read_hello(&result)?;
    if let Outbound::Http(session) = &link.outbound {
        session.establish(hello.revision);
    }
    let initialized = envelope::notification("notifications/initialized", None);
    connection::send_message(link, initialized)
        .await
        .map_err(|error| failed(link.transport, error))?;
    Ok((hello, answered))
}

fn initialize_params(info: &ClientInfo) -> Bytes {
    let text = |text: &str| String::from_utf8_lossy(&splice::quote(text)).into_owned();
    Bytes::from(format!(
        "{{\"protocolVersion\":\"{}\",\"capabilities\":{{}},\"clientInfo\":{{\"name\":{},\"version\":{}}}}}",
        Revision::LATEST,
        text(&info.name),
        text(&info.version)
    ))
}

fn read_hello(result: &Bytes) -> Result<ServerHello, ConnectError> {
    let invalid = |_| ConnectError::InvalidResponse;
    let text = |name| splice::find_string(result, &[name]).map(|text| text.map(Cow::into_owned));
    let object = |name| {
        let part = splice::slice(result, &[name])?;
        Ok(part.filter(|part| part.first() == Some(&b'{')))
    };
    let version = text("protocolVersion").map_err(invalid)?.ok_or(ConnectError::InvalidResponse)?;
    let Some(revision) = Revision::parse(&version) else {
        return Err(ConnectError::UnsupportedRevision(version.chars().take(64).collect()));
    };
    Ok(ServerHello {
        revision,
        server_info: object("serverInfo").map_err(invalid)?,
        capabilities: object("capabilities").map_err(invalid)?,
        instructions: text("instructions").map_err(invalid)?,
    })
}

/// A request that failed while the connection was set up.
fn failed(transport: Transport, error: RequestError) -> ConnectError {
    match error {
        RequestError::Timeout | RequestError::Cancelled => ConnectError::InitializeTimeout,
        RequestError::InvalidResponse | RequestError::TooLarge(_) => ConnectError::InvalidResponse,
        RequestError::NotSent(failure) | RequestError::Unknown(failure) => match failure {
            SendFailure::Closed(cause) => ConnectError::Closed(cause),
            SendFailure::Http(status) => ConnectError::Http(status),
            SendFailure::TimedOut => ConnectError::Timeout(transport),
            SendFailure::Unreachable(cause) | SendFailure::Broken(cause) => {
                ConnectError::Unreachable { transport, cause }
            }
            SendFailure::Busy | SendFailure::Parameters => ConnectError::InvalidResponse,
        },
    }
}

//! Opening connections: the transport, then what is spoken over it.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::connection::{Connected, Connection, SetupTimes};
use super::events::EventSink;
use super::http::{self, HttpPool};
use super::link::Link;
use super::outbound::Outbound;
use super::pipes::{self, PipeSender};
use super::streamable::{self, HttpSession};
use super::{ClientOptions, ConnectError, EraChoice, Target, Transport, legacy_sse, listen, probe};

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

    /// Opens the transport and agrees with the server on what is spoken. Nothing is tried twice,
    /// but for the one question more that [`super::EraChoice::Probe`] costs; an SSE stream that
    /// the question breaks is opened again without it.
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::stage`] says how far it came.
    pub async fn connect(
        &self,
        target: Target,
        options: &ClientOptions,
    ) -> Result<Connected, ConnectError> {
        let again = match &target {
            Target::Sse(target) => Some(target.clone()),
            Target::Stdio { .. } | Target::StreamableHttp(_) => None,
        };
        match (self.connect_once(target, options).await, again) {
            (Err(ConnectError::ProbeBroke), Some(target)) => {
                let options = ClientOptions { era: EraChoice::Sessions, ..options.clone() };
                self.connect_once(Target::Sse(target), &options).await
            }
            (connected, _) => connected,
        }
    }

    async fn connect_once(
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
        let (hello, answered) = probe::agree(&link, options, start).await?;
        let over_http = link.transport == Transport::StreamableHttp;
        let times = SetupTimes {
            established: if over_http { answered } else { established },
            initialized: start.elapsed(),
        };
        tracing::debug!(transport = %link.transport, protocol = %hello.protocol, "initialized");
        let wanted = hello.protocol.is_stateless().then(|| listen::start(&link, &hello));
        match &wanted {
            Some(wanted) => wanted.head_start().await,
            None if over_http => streamable::start_listening(&link).await,
            None => {}
        }
        let link = guard.defuse().unwrap_or(link);
        let connection = Connection::new(link, hello, times, options.read_timeout, wanted);
        Ok(Connected { connection, events })
    }

    async fn open(
        &self,
        target: Target,
        options: &ClientOptions,
        sink: Arc<EventSink>,
    ) -> Result<Arc<Link>, ConnectError> {
        let transport = target.transport();
        let link = |outbound| Link::new(transport, outbound, sink, options);
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

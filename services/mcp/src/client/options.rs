//! What a connection is opened to, and under which limits.

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use super::Transport;
use crate::splice;

/// Where an upstream server is.
pub enum Target {
    /// The pipes of a process that the caller has started and watches over.
    Stdio {
        /// What the process reads.
        stdin: Box<dyn AsyncWrite + Send + Unpin>,
        /// What the process writes.
        stdout: Box<dyn AsyncRead + Send + Unpin>,
    },
    /// HTTP with SSE (2024-11-05): a GET stream that names the endpoint for messages.
    Sse(HttpTarget),
    /// Streamable HTTP (since 2025-03-26).
    StreamableHttp(HttpTarget),
}

impl Target {
    /// The transport of the target.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Stdio { .. } => Transport::Stdio,
            Self::Sse(_) => Transport::Sse,
            Self::StreamableHttp(_) => Transport::StreamableHttp,
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdio { .. } => f.write_str("Stdio"),
            Self::Sse(target) => f.debug_tuple("Sse").field(target).finish(),
            Self::StreamableHttp(target) => f.debug_tuple("StreamableHttp").field(target).finish(),
        }
    }
}

/// An upstream behind HTTP.
#[derive(Clone)]
pub struct HttpTarget {
    /// The URL: any path, any host; whether it may be reached is decided before.
    pub url: Url,
    /// The headers to send with every request, to this URL's origin only.
    pub headers: HeaderMap,
}

impl std::fmt::Debug for HttpTarget {
    /// Header values, user and query may be secrets: they are left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("HttpTarget")
            .field("url", &safe_url(&self.url))
            .field("headers", &names)
            .finish()
    }
}

/// A URL for logs: scheme, host, port and path.
pub(super) fn safe_url(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Who we say we are: `clientInfo` in its plainest form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The program's name.
    pub name: String,
    /// The program's version.
    pub version: String,
}

impl ClientInfo {
    /// This program.
    #[must_use]
    pub fn ours() -> Self {
        Self { name: "mcp-orch".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// The JSON object, as [`ClientOptions::client_info`] takes it.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let mut out = BytesMut::from(&b"{\"name\":"[..]);
        out.extend_from_slice(&splice::quote(&self.name));
        out.extend_from_slice(b",\"version\":");
        out.extend_from_slice(&splice::quote(&self.version));
        out.extend_from_slice(b"}");
        out.freeze()
    }
}

/// Which era of the protocol a connection is to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EraChoice {
    /// What the server speaks: it is asked for the stateless era first (`server/discover`).
    #[default]
    Probe,
    /// The one with sessions: `initialize` at once. For a server that is known to have them; one
    /// that fails may have changed, and is worth a probe.
    Sessions,
    /// The stateless one; [`super::ConnectError::NotStateless`] says that the server has not got
    /// it (any more).
    Stateless,
}

/// The limits and the way of a connection.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The era to speak.
    pub era: EraChoice,
    /// Until the transport stands: TCP, TLS, for SSE also the `endpoint` event.
    pub connect_timeout: Duration,
    /// How long the answer to the question for the stateless era is waited for before
    /// `initialize` is tried, too. Over pipes and SSE an answer that comes later still counts.
    pub probe_timeout: Duration,
    /// Until `initialize` is answered. Starting a process may include a download.
    pub initialize_timeout: Duration,
    /// Between two signs of life of a request (sending, progress, answer); `None` is no limit.
    pub read_timeout: Option<Duration>,
    /// The largest message that is read, in bytes.
    pub max_message_bytes: usize,
    /// The most requests under way at once; more are refused as not sent.
    pub max_in_flight: usize,
    /// A file with PEM certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// A proxy for outbound HTTP; the environment's proxies are never used.
    pub proxy: Option<Url>,
    /// The capabilities that are declared, a raw JSON object. Whoever declares some must answer
    /// what the server then asks for ([`super::Connection::respond`]).
    pub capabilities: Bytes,
    /// Who we say we are, a raw JSON object ([`ClientInfo::to_json`]).
    pub client_info: Bytes,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            era: EraChoice::Probe,
            connect_timeout: Duration::from_secs(30),
            probe_timeout: Duration::from_secs(5),
            initialize_timeout: Duration::from_secs(60),
            read_timeout: None,
            max_message_bytes: 16 * 1024 * 1024,
            max_in_flight: 1024,
            ca_file: None,
            proxy: None,
            capabilities: Bytes::from_static(b"{}"),
            client_info: ClientInfo::ours().to_json(),
        }
    }
}

/// What one request asks for beyond its connection's options.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    /// In place of [`ClientOptions::read_timeout`].
    pub read_timeout: Option<Duration>,
    /// What a stateless server is told with this request; of no effect in a session.
    pub meta: RequestMeta,
}

/// What a stateless server is told with each request. What is not given is what the connection
/// was opened with.
#[derive(Debug, Clone, Default)]
pub struct RequestMeta {
    /// The client's capabilities, a raw JSON object.
    pub capabilities: Option<Bytes>,
    /// The client's name and version, a raw JSON object.
    pub client_info: Option<Bytes>,
    /// From which level on log messages are wanted, as it is written on the wire.
    pub log_level: Option<String>,
}

impl RequestMeta {
    /// Nothing but what the connection was opened with.
    pub(super) const NONE: Self = Self { capabilities: None, client_info: None, log_level: None };
}

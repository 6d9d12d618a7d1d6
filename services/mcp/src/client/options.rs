//! What a connection is opened to, and under which limits.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use super::Transport;

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

/// Who we say we are in `initialize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The program's name.
    pub name: String,
    /// The program's version.
    pub version: String,
}

/// The limits and the way of a connection.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Until the transport stands: TCP, TLS, for SSE also the `endpoint` event.
    pub connect_timeout: Duration,
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
    /// Who we say we are.
    pub client_info: ClientInfo,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            initialize_timeout: Duration::from_secs(60),
            read_timeout: None,
            max_message_bytes: 16 * 1024 * 1024,
            max_in_flight: 1024,
            ca_file: None,
            proxy: None,
            client_info: ClientInfo {
                name: "mcp-orch".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        }
    }
}

/// What one request asks for beyond its connection's options.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestOptions {
    /// In place of [`ClientOptions::read_timeout`].
    pub read_timeout: Option<Duration>,
}

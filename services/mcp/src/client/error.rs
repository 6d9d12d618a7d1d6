//! What can go wrong with an upstream, told apart by what the caller can do about it.
//!
//! The texts are stable, are shown to users and hold nothing an upstream or a configuration could
//! have put a secret into, but for [`ConnectError::Refused`], which repeats what the upstream said.

use http::StatusCode;

/// The way to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A process and its pipes.
    Stdio,
    /// HTTP with SSE.
    Sse,
    /// Streamable HTTP.
    StreamableHttp,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stdio => "stdio",
            Self::Sse => "SSE",
            Self::StreamableHttp => "Streamable HTTP",
        })
    }
}

/// How far setting up a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading our own configuration (CA file, proxy).
    Configure,
    /// Opening the transport.
    Connect,
    /// `initialize` and its answer.
    Initialize,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The HTTP client cannot be made: the CA file or the proxy is wrong.
    #[error("cannot set up the HTTP client: {0}")]
    Configuration(String),
    /// The transport did not stand in time.
    #[error("Failed to connect to {0} server: Connection timeout")]
    Timeout(Transport),
    /// The transport could not be opened.
    #[error("Failed to connect to {transport} server: {cause}")]
    Unreachable {
        /// The transport that failed.
        transport: Transport,
        /// What failed: name look-up, refused connection, TLS.
        cause: String,
    },
    /// The server answered with an HTTP error.
    #[error("{}", http_text(*.0))]
    Http(StatusCode),
    /// What answers is no SSE endpoint.
    #[error("Failed to connect to SSE server: the answer is not an event stream")]
    NotAnEventStream,
    /// The `endpoint` event names something that no header may be sent to.
    #[error("Failed to connect to SSE server: {0}")]
    EndpointRefused(&'static str),
    /// `initialize` was not answered in time.
    #[error("no answer to initialize in time")]
    InitializeTimeout,
    /// `initialize` was answered with an error.
    #[error("initialize was refused: {message} ({code})")]
    Refused {
        /// The JSON-RPC error code.
        code: i64,
        /// The upstream's words; may hold anything, and at most 1,024 characters.
        message: String,
    },
    /// The answer to `initialize` is no JSON-RPC, or has no legal result.
    #[error("Invalid JSON-RPC 2.0 response")]
    InvalidResponse,
    /// The server insists on a revision that we do not speak.
    #[error("the server speaks an unsupported protocol version")]
    UnsupportedRevision(String),
    /// The server took the question for the stateless era amiss: it ended or fell silent. A fresh
    /// process, connected to with [`super::EraChoice::Sessions`], may still do.
    #[error("the server did not survive server/discover: connect again without it")]
    ProbeBroke,
    /// The stateless era was asked for, and the server has not got it.
    #[error("the server does not speak protocol version 2026-07-28")]
    NotStateless,
    /// The connection ended while it was set up.
    #[error("the connection ended during initialize: {0}")]
    Closed(CloseCause),
}

impl ConnectError {
    /// How far it came.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Configuration(_) => Stage::Configure,
            Self::Timeout(_)
            | Self::Unreachable { .. }
            | Self::Http(_)
            | Self::NotAnEventStream
            | Self::EndpointRefused(_) => Stage::Connect,
            Self::InitializeTimeout
            | Self::Refused { .. }
            | Self::InvalidResponse
            | Self::UnsupportedRevision(_)
            | Self::ProbeBroke
            | Self::NotStateless
            | Self::Closed(_) => Stage::Initialize,
        }
    }
}

/// Why a message was not accepted by the upstream's side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// The connection had ended.
    #[error("{0}")]
    Closed(CloseCause),
    /// No TCP or TLS connection came about in time.
    #[error("Connection timeout")]
    TimedOut,
    /// No TCP or TLS connection came about.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The connection broke while it was in use.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// An HTTP error.
    #[error("{}", http_text(*.0))]
    Http(StatusCode),
    /// Too many requests under way.
    #[error("too many requests under way")]
    Busy,
    /// The caller's parameters cannot be rewritten safely.
    #[error("the parameters are not unambiguous JSON")]
    Parameters,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The upstream did not get it: it may be sent again.
    #[error("{0}")]
    NotSent(SendFailure),
    /// The upstream may have got it and acted on it: it must not be sent again.
    #[error("{0}")]
    Unknown(SendFailure),
    /// No sign of life in time. The upstream was told that the answer is no longer wanted; it may
    /// have acted.
    #[error("no answer in time")]
    Timeout,
    /// Cancelled by the caller; the upstream was told and may have acted.
    #[error("cancelled")]
    Cancelled,
    /// The upstream answered with something that is no JSON-RPC 2.0 response; it may have acted.
    #[error("Invalid JSON-RPC 2.0 response")]
    InvalidResponse,
    /// The answer is larger than the limit; the upstream has acted.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl RequestError {
    /// Whether the upstream may have acted on the request.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        !matches!(self, Self::NotSent(_))
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseCause {
    /// We closed it.
    #[error("closed")]
    Requested,
    /// The server's output or stream ended.
    #[error("the server ended the connection")]
    Ended,
    /// Reading or writing failed.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server does not know our session any more (HTTP 404).
    #[error("the server ended the session")]
    SessionEnded,
    /// A message was larger than the limit, which leaves a stream unreadable.
    #[error("a message was larger than {0} bytes")]
    TooLarge(usize),
}

/// `HTTP 401: Unauthorized`; the number alone where it has no name.
fn http_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {}: {reason}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

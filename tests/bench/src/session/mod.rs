//! One client's session with an endpoint, over Streamable HTTP or legacy SSE.

mod answer;
mod event;
mod sse;
mod streamable;

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use answer::Expectation;

use crate::error::Error;
use crate::http_client;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The transport of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Streamable,
    Sse,
}

/// What a session calls.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) wire: Wire,
    pub(crate) address: SocketAddr,
    /// Path with query.
    pub(crate) path: String,
    pub(crate) bearer: Option<String>,
    /// The name of the echo tool there.
    pub(crate) tool: String,
    pub(crate) expectation: Expectation,
}

impl Endpoint {
    pub(crate) fn new(wire: Wire, url: &str, tool: &str) -> Result<Self, Error> {
        let (address, path) = http_client::split(url)?;
        let tool = tool.to_owned();
        Ok(Self { wire, address, path, bearer: None, tool, expectation: Expectation::Exact })
    }

    pub(crate) fn with_bearer(self, bearer: &str) -> Self {
        Self { bearer: Some(bearer.to_owned()), ..self }
    }
}

/// An initialized session.
pub(crate) enum Session {
    Streamable(streamable::Session),
    Sse(sse::Session),
}

impl Session {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let open = async {
            Ok(match endpoint.wire {
                Wire::Streamable => Self::Streamable(streamable::Session::open(endpoint).await?),
                Wire::Sse => Self::Sse(sse::Session::open(endpoint).await?),
            })
        };
        timely(open).await
    }

    /// Calls the echo tool and checks the answer; returns how long it took.
    pub(crate) async fn echo(&mut self, message: &str) -> Result<Duration, Error> {
        let call = async {
            match self {
                Self::Streamable(session) => session.echo(message).await,
                Self::Sse(session) => session.echo(message).await,
            }
        };
        timely(call).await
    }

    /// Lists the tools (the first page); returns how long it took.
    pub(crate) async fn list(&mut self) -> Result<Duration, Error> {
        let list = async {
            match self {
                Self::Streamable(session) => session.list().await,
                Self::Sse(session) => session.list().await,
            }
        };
        timely(list).await
    }

    /// Ends the session.
    pub(crate) async fn close(self) {
        if let Self::Streamable(session) = self {
            let _ = timely(session.close()).await;
        }
    }
}

async fn timely<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(CALL_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| Err(Error::unexpected("no answer in 30 s")))
}

/// The body of `initialize`.
fn initialize() -> &'static str {
    concat!(
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","#,
        r#""capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#,
    )
}

/// The body of the notification that follows `initialize`.
fn initialized() -> &'static str {
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#
}

/// The body of a call. `message` must need no escapes.
fn call(id: u64, tool: &str, message: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"message":"{message}"}}}}}}"#
    )
}

/// The body of a list of tools.
fn list(id: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#)
}

//! Agreeing on what is spoken: `server/discover` for the stateless era, `initialize` for sessions.
//!
//! What always holds: an answer of the stateless era is one that a server without it cannot give
//! (a list of versions, or an error code of its own); anything else leads to `initialize`. Over
//! pipes and SSE, where a server may keep to the era it was first spoken to in, an answer that
//! comes late still counts, and a server that was lost on the way is said to need a fresh start.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::connection::{self, ServerHello};
use super::link::Link;
use super::outbound::Outbound;
use super::start::{self, Ask, HEADER_MISMATCH};
use super::{
    ClientOptions, ConnectError, EraChoice, Pending, Reply, RequestError, RequestMeta, SendFailure,
    Transport,
};
use crate::envelope::{self, code};
use crate::{ErrorObject, Protocol, Revision, splice};

/// Error codes that only a stateless server gives.
const MISSING_CAPABILITY: i64 = -32021;
const UNSUPPORTED_VERSION: i64 = -32022;

/// The most that is kept of words of a server.
const MAX_WORDS: usize = 1024;

/// What an answer to `server/discover` means.
enum Verdict {
    /// The server speaks the stateless revision.
    Stateless(ServerHello),
    /// It has that revision on its list, and refused all the same: it is asked once more.
    Again,
    /// It has sessions.
    Sessions,
}

/// Agrees with a server on what is spoken; also when it answered, from `start`.
pub(super) async fn agree(
    link: &Arc<Link>,
    options: &ClientOptions,
    start: Instant,
) -> Result<(ServerHello, Duration), ConnectError> {
    let hello = match (options.era, link.transport) {
        (EraChoice::Sessions, _) => None,
        (EraChoice::Probe, Transport::Stdio | Transport::Sse) => {
            return agree_on_stream(link, options, start).await;
        }
        (EraChoice::Probe, Transport::StreamableHttp) => {
            discover(link, options.probe_timeout).await?
        }
        (EraChoice::Stateless, _) => {
            let hello = discover(link, options.initialize_timeout).await?;
            Some(hello.ok_or(ConnectError::NotStateless)?)
        }
    };
    let answered = start.elapsed();
    match hello {
        Some(hello) => Ok((stateless(link, hello), answered)),
        None => {
            let reply = ask_initialize(link, options).reply().await;
            let answered = start.elapsed();
            match initialized(link, reply).await {
                Ok(hello) => Ok((hello, answered)),
                Err(error) => reconsider(link, options, error).await.map(|hello| (hello, answered)),
            }
        }
    }
}

/// A server that was too slow for the first question and knows no sessions is asked once more.
async fn reconsider(
    link: &Arc<Link>,
    options: &ClientOptions,
    error: ConnectError,
) -> Result<ServerHello, ConnectError> {
    let no_sessions = matches!(
        error,
        ConnectError::Refused { code: UNSUPPORTED_VERSION | code::METHOD_NOT_FOUND, .. }
    );
    if options.era != EraChoice::Probe || !no_sessions {
        return Err(error);
    }
    match discover(link, options.initialize_timeout).await {
        Ok(Some(hello)) => Ok(stateless(link, hello)),
        Ok(None) | Err(_) => Err(error),
    }
}

/// Over a stream that both eras would share: who does not answer the first question is asked the
/// second as well, and the answer that comes first counts.
async fn agree_on_stream(
    link: &Arc<Link>,
    options: &ClientOptions,
    start: Instant,
) -> Result<(ServerHello, Duration), ConnectError> {
    let mut asked = pin!(ask_discover(link, None).reply());
    let mut is_asked = true;
    if let Ok(reply) = timeout(options.probe_timeout, &mut asked).await {
        is_asked = false;
        let verdict = match judge(link.transport, reply) {
            Ok(Verdict::Again) => {
                let again = ask_discover(link, Some(options.initialize_timeout)).reply().await;
                judge(link.transport, again)
            }
            verdict => verdict,
        };
        if let Verdict::Stateless(hello) = verdict.map_err(after_probe)? {
            return Ok((stateless(link, hello), start.elapsed()));
        }
    }
    let mut initialize = pin!(ask_initialize(link, options).reply());
    let reply = loop {
        tokio::select! {
            biased;
            reply = &mut asked, if is_asked => {
                is_asked = false;
                if let Ok(Verdict::Stateless(hello)) = judge(link.transport, reply) {
                    return Ok((stateless(link, hello), start.elapsed()));
                }
            }
            reply = &mut initialize => break reply,
        }
    };
    let answered = start.elapsed();
    Ok((initialized(link, reply).await.map_err(after_probe)?, answered))
}

/// What failed after the server was asked for the other era may work if it is not.
fn after_probe(error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Closed(_)
        | ConnectError::InitializeTimeout
        | ConnectError::Refused { .. } => ConnectError::ProbeBroke,
        other => other,
    }
}

/// Asks for the stateless era; `None` if the server has sessions.
async fn discover(link: &Arc<Link>, limit: Duration) -> Result<Option<ServerHello>, ConnectError> {
    for _ in 0..2 {
        let reply = ask_discover(link, Some(limit)).reply().await;
        match judge(link.transport, reply)? {
            Verdict::Stateless(hello) => return Ok(Some(hello)),
            Verdict::Sessions => return Ok(None),
            Verdict::Again => {}
        }
    }
    Ok(None)
}

fn ask_discover(link: &Arc<Link>, read_timeout: Option<Duration>) -> Pending {
    let (method, stamp) = ("server/discover", Some(&RequestMeta::NONE));
    start::request(link, Ask { method, params: None, read_timeout, stamp, listens: false })
}

fn ask_initialize(link: &Arc<Link>, options: &ClientOptions) -> Pending {
    let (method, params) = ("initialize", Some(initialize_params(options)));
    let read_timeout = Some(options.initialize_timeout);
    start::request(link, Ask { method, params, read_timeout, stamp: None, listens: false })
}

/// What an answer to `server/discover` means; an error where `initialize` would fare no better.
fn judge(
    transport: Transport,
    reply: Result<Reply, RequestError>,
) -> Result<Verdict, ConnectError> {
    match reply {
        Ok(Reply::Result(result)) => match support(&result, &["supportedVersions"]) {
            Support::Stateless => read_discovered(&result).map(Verdict::Stateless),
            Support::Sessions | Support::Unsaid => Ok(Verdict::Sessions),
            Support::Neither(version) => Err(ConnectError::UnsupportedRevision(version)),
        },
        Ok(Reply::Error(error)) => {
            let code = ErrorObject::parse(&error).code;
            match code {
                UNSUPPORTED_VERSION => match support(&error, &["data", "supported"]) {
                    Support::Stateless => Ok(Verdict::Again),
                    Support::Sessions | Support::Unsaid => Ok(Verdict::Sessions),
                    Support::Neither(version) => Err(ConnectError::UnsupportedRevision(version)),
                },
                HEADER_MISMATCH | MISSING_CAPABILITY => Err(refused(&error)),
                _ => Ok(Verdict::Sessions),
            }
        }
        Err(error) => {
            let failure = match &error {
                RequestError::NotSent(failure) | RequestError::Unknown(failure) => failure,
                // It answered something else, or not at all.
                _ => return Ok(Verdict::Sessions),
            };
            match failure {
                // What holds for every request.
                SendFailure::Http(status) if matches!(status.as_u16(), 401 | 403 | 407 | 429) => {
                    Err(failed(transport, error))
                }
                SendFailure::Http(_) | SendFailure::Broken(_) => Ok(Verdict::Sessions),
                _ => Err(failed(transport, error)),
            }
        }
    }
}

/// What a list of versions says.
enum Support {
    Stateless,
    Sessions,
    /// Other versions, one of them.
    Neither(String),
    /// There is no list.
    Unsaid,
}

fn support(json: &Bytes, path: &[&str]) -> Support {
    let Ok(Some(spans)) = splice::elements(json, path) else {
        return Support::Unsaid;
    };
    let versions = spans.into_iter().filter_map(|span| splice::unquote(&json[span]));
    let versions: Vec<Cow<'_, str>> = versions.collect();
    if versions.iter().any(|version| version == Protocol::STATELESS) {
        return Support::Stateless;
    }
    if versions.iter().any(|version| Revision::parse(version).is_some()) {
        return Support::Sessions;
    }
    match versions.first() {
        Some(version) => Support::Neither(version.chars().take(64).collect()),
        None => Support::Unsaid,
    }
}

/// Notes that there is no session.
fn stateless(link: &Link, hello: ServerHello) -> ServerHello {
    agreed(link, hello.protocol);
    hello
}

fn agreed(link: &Link, protocol: Protocol) {
    link.agree(protocol);
    if let Outbound::Http(session) = &link.outbound {
        session.establish(protocol);
    }
}

/// The rest of opening a session, once `initialize` is answered.
async fn initialized(
    link: &Arc<Link>,
    reply: Result<Reply, RequestError>,
) -> Result<ServerHello, ConnectError> {
    let result = match reply {
        Ok(Reply::Result(result)) => result,
        Ok(Reply::Error(error)) => return Err(refused(&error)),
        Err(error) => return Err(failed(link.transport, error)),
    };
    let hello = read_initialized(&result)?;
    agreed(link, hello.protocol);
    let notification = envelope::notification("notifications/initialized", None);
    connection::send_message(link, notification)
        .await
        .map_err(|error| failed(link.transport, error))?;
    Ok(hello)
}

fn initialize_params(options: &ClientOptions) -> Bytes {
    let version = Revision::LATEST.as_str();
    let mut params = format!("{{\"protocolVersion\":\"{version}\",\"capabilities\":").into_bytes();
    params.extend_from_slice(&options.capabilities);
    params.extend_from_slice(b",\"clientInfo\":");
    params.extend_from_slice(&options.client_info);
    params.push(b'}');
    params.into()
}

fn read_initialized(result: &Bytes) -> Result<ServerHello, ConnectError> {
    let version = splice::find_string(result, &["protocolVersion"]).ok().flatten();
    let version = version.ok_or(ConnectError::InvalidResponse)?;
    let Some(revision) = Revision::parse(&version) else {
        return Err(ConnectError::UnsupportedRevision(version.chars().take(64).collect()));
    };
    read_hello(Protocol::Sessions(revision), result)
}

fn read_discovered(result: &Bytes) -> Result<ServerHello, ConnectError> {
    let mut hello = read_hello(Protocol::Stateless, result)?;
    if hello.server_info.is_none() {
        hello.server_info = object(result, &["_meta", "io.modelcontextprotocol/serverInfo"])?;
    }
    Ok(hello)
}

fn read_hello(protocol: Protocol, result: &Bytes) -> Result<ServerHello, ConnectError> {
    let instructions = splice::find_string(result, &["instructions"])
        .map_err(|_| ConnectError::InvalidResponse)?
        .map(Cow::into_owned);
    Ok(ServerHello {
        protocol,
        server_info: object(result, &["serverInfo"])?,
        capabilities: object(result, &["capabilities"])?,
        instructions,
    })
}

fn object(result: &Bytes, path: &[&str]) -> Result<Option<Bytes>, ConnectError> {
    let part = splice::slice(result, path).map_err(|_| ConnectError::InvalidResponse)?;
    Ok(part.filter(|part| part.first() == Some(&b'{')))
}

fn refused(error: &Bytes) -> ConnectError {
    let error = ErrorObject::parse(error);
    let message = error.message.chars().take(MAX_WORDS).collect();
    ConnectError::Refused { code: error.code, message }
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

//! Starting a request: its id, its parameters, its way out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::link::Link;
use super::outbound::Outbound;
use super::pending::Work;
use super::streamable::HttpSession;
use super::{LearnLimits, Pending, Reply, RequestError, RequestMeta, SendFailure, hop, learn};
use crate::envelope::{self, Id};
use crate::server::PROTOCOL_VERSION;
use crate::splice::{self, SpliceError};
use crate::{ErrorObject, ListKind, Protocol};

/// The error of a stateless server that misses something in the headers.
pub(super) const HEADER_MISMATCH: i64 = -32020;

/// A request to be started.
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) params: Option<Bytes>,
    pub(super) read_timeout: Option<Duration>,
    /// What a stateless server is told with it; `None` in a session.
    pub(super) stamp: Option<&'a RequestMeta>,
    /// It stays open to bring notifications: it does not count as under way.
    pub(super) listens: bool,
}

/// Starts a request over a link.
pub(super) fn request(link: &Arc<Link>, ask: Ask<'_>) -> Pending {
    let Ask { method, params, read_timeout, stamp, listens } = ask;
    let id = match link.begin(listens) {
        Ok(id) => id,
        Err(error) => return Pending::failed(error),
    };
    let prepared = match prepare(link, id, method, params, stamp) {
        Ok(prepared) => prepared,
        Err(_) => {
            link.finish(id, listens);
            return Pending::failed(RequestError::NotSent(SendFailure::Parameters));
        }
    };
    let Prepared { params, token, headers } = prepared;
    let message = envelope::request(&Id::number(id), method, params.as_deref());
    // Over HTTP the answer comes with the request; a place for it is only needed where something
    // may come another way.
    let needs_slot = token.is_some() || !matches!(link.outbound, Outbound::Http(_));
    let (answer, frames) = if needs_slot {
        let waiting = link.wait_for(id, token, listens);
        (Some(waiting.reply), waiting.frames)
    } else {
        (None, None)
    };
    let work = start_sending(link, id, message, headers, needs_slot);
    let cancellable = !matches!(method, "initialize" | "server/discover");
    let pending = Pending::running(Arc::clone(link), id, work, answer, frames, read_timeout);
    pending.that(cancellable, listens)
}

/// What goes out with a request.
struct Prepared {
    params: Option<Bytes>,
    /// The caller's own progress token.
    token: Option<Bytes>,
    /// What the headers of this request say beyond those of all; a stateless server only.
    headers: Option<Box<HeaderMap>>,
}

fn prepare(
    link: &Link,
    id: u64,
    method: &str,
    params: Option<Bytes>,
    stamp: Option<&RequestMeta>,
) -> Result<Prepared, SpliceError> {
    let Some(meta) = stamp else {
        let (params, token) = take_progress_token(params, id)?;
        return Ok(Prepared { params, token, headers: None });
    };
    let headers = matches!(link.outbound, Outbound::Http(_)).then(|| {
        let mut headers = hop::headers(method, params.as_deref());
        if let ("tools/call", Some(params)) = (method, &params) {
            link.tools.apply(params, &mut headers);
        }
        if method == "server/discover" {
            // Before anything is agreed on, no other request has it.
            let version = HeaderValue::from_static(Protocol::STATELESS);
            headers.insert(PROTOCOL_VERSION, version);
        }
        Box::new(headers)
    });
    let stamped = link.hop.stamp(params.as_ref(), meta)?;
    let (params, token) = take_progress_token(Some(stamped), id)?;
    Ok(Prepared { params, token, headers })
}

fn start_sending(
    link: &Arc<Link>,
    id: u64,
    message: Bytes,
    headers: Option<Box<HeaderMap>>,
    has_slot: bool,
) -> Option<Work> {
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
                match headers {
                    None => session.exchange(&link, id, message, None).await.map(Some),
                    // In a box of its own, so that it makes the usual work no larger.
                    Some(headers) => {
                        Box::pin(call_stateless(session, &link, id, message, &headers)).await
                    }
                }
            }))
        }
    }
}

/// Posts a request to a stateless server. One that it refuses because its headers do not repeat
/// what they should has not run: if the tool asks for other headers by now, it is posted once more
/// with those.
async fn call_stateless(
    session: &HttpSession,
    link: &Arc<Link>,
    id: u64,
    message: Bytes,
    headers: &HeaderMap,
) -> Result<Option<Reply>, RequestError> {
    let reply = session.exchange(link, id, message.clone(), Some(headers)).await?;
    let Reply::Error(error) = &reply else { return Ok(Some(reply)) };
    let is_call = headers.get(hop::METHOD).is_some_and(|method| method == "tools/call");
    if !is_call || ErrorObject::parse(error).code != HEADER_MISMATCH {
        return Ok(Some(reply));
    }
    let Ok(tools) = learn::learn_list(link, ListKind::Tools, &LearnLimits::default()).await else {
        return Ok(Some(reply));
    };
    link.tools.learn(tools);
    let Ok(Some(params)) = splice::slice(&message, &["params"]) else { return Ok(Some(reply)) };
    let mut now = hop::headers("tools/call", Some(&params));
    link.tools.apply(&params, &mut now);
    if now == *headers {
        return Ok(Some(reply));
    }
    session.exchange(link, id, message, Some(&now)).await.map(Some)
}

/// Puts our own progress token (the request's id) in the place of the caller's, if it gave one.
fn take_progress_token(
    params: Option<Bytes>,
    id: u64,
) -> Result<(Option<Bytes>, Option<Bytes>), SpliceError> {
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

//! The stream of messages that belong to no request, in a session.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{HttpSession, Listen};
use crate::client::CloseCause;
use crate::client::link::Link;
use crate::client::outbound::Outbound;
use crate::sse::Decoder;

/// How long until a stream that ended is asked for again, and the limits of what the server may
/// say.
const PAUSE: Duration = Duration::from_secs(1);
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long a connection waits for its stream before it is used. Many servers have nowhere to put
/// what they ask for on this stream before it is there; one that is slow to open it, or sends
/// nothing before its first message, holds nobody up for longer.
const HEAD_START: Duration = Duration::from_millis(500);

/// Starts the task that listens for messages that belong to no request, and waits a moment until
/// it does. A server may have no such stream, and may end it at any time; no call depends on it.
pub(in crate::client) async fn start_listening(link: &Arc<Link>) {
    let link = Arc::clone(link);
    let (opened, is_open) = oneshot::channel();
    tokio::spawn(async move {
        let Outbound::Http(session) = &link.outbound else {
            return;
        };
        tokio::select! {
            () = listen(&link, session, opened) => {}
            _ = link.events.end.wait() => {}
        }
    });
    // Either way the connection can be used; what is dropped says that there is no stream.
    let _ = tokio::time::timeout(HEAD_START, is_open).await;
}

async fn listen(link: &Arc<Link>, session: &HttpSession, opened: oneshot::Sender<()>) {
    let mut opened = Some(opened);
    let mut last_event: Option<String> = None;
    let mut pause = PAUSE;
    let mut ever = false;
    loop {
        match session.listen(last_event.as_deref()).await {
            Listen::Stream(response) => {
                ever = true;
                drop(opened.take());
                let mut decoder = Decoder::new(link.max_message_bytes);
                if read(link, response, &mut decoder).await {
                    pause = PAUSE;
                }
                last_event = decoder.last_id().map(str::to_owned).or(last_event);
                if let Some(retry) = decoder.retry_ms() {
                    pause = Duration::from_millis(retry).clamp(MIN_PAUSE, MAX_PAUSE);
                }
            }
            // Some have no such URL for a GET: only where there was a stream is the session over.
            Listen::NoSession if ever => return link.end(CloseCause::SessionEnded),
            _ if !ever => return,
            // The server may not keep what came after the event.
            Listen::Refused => last_event = None,
            Listen::NoSession | Listen::Failed => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Reads a listening stream to its end; whether it brought anything.
async fn read(link: &Arc<Link>, mut response: reqwest::Response, decoder: &mut Decoder) -> bool {
    let mut any = false;
    while let Ok(Some(chunk)) = response.chunk().await {
        decoder.push(&chunk);
        loop {
            match decoder.next() {
                Ok(Some(event)) if event.event == "message" && !event.data.is_empty() => {
                    any = true;
                    link.receive(event.data);
                }
                Ok(Some(_)) => any = true,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "listening stream of an upstream given up");
                    return any;
                }
            }
        }
    }
    any
}

//! What goes on with a connection besides its requests: what it says on its own is handed on, and
//! the upstream is told what those who listen want to hear.

use std::time::Duration;

use bytes::Bytes;
use mcp::client::{ConnectionEvent, Events, InterestError};
use mcp::code;
use mcp::envelope::error_object;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::asked::Asked;
use super::interests::{Step, Told};
use super::switchboard::Switchboard;
use super::{Link, Slot};

/// Hands on what a connection says, and notes in `lists` that one of its lists changed. Never
/// returns: that the connection ended is for others to see.
pub(crate) async fn pump(
    slot: &Slot,
    link: &Link,
    board: &Switchboard,
    events: &mut Events,
    lists: &Notify,
) {
    loop {
        let event = tokio::select! {
            // Whoever waits until everything was handed on does so while there is something.
            biased;
            event = events.next() => event,
            Some(caught_up) = board.next_barrier() => {
                // Who waited may be gone.
                let _ = caught_up.send(());
                continue;
            }
        };
        match event {
            Some(ConnectionEvent::ListChanged(_)) => lists.notify_one(),
            Some(ConnectionEvent::Notification { method, params }) => board.tell(method, params),
            Some(ConnectionEvent::Request(request)) => {
                board.ask(Asked::new(link.connection.clone(), request));
            }
            Some(ConnectionEvent::Noise(output)) => {
                let output = String::from_utf8_lossy(&output);
                let output = link.masker.mask_text(output.trim_end());
                slot.stderr.push(format!("stdout: {output}"));
            }
            Some(ConnectionEvent::Closed(_)) => {}
            None => std::future::pending().await,
        }
    }
}

/// Tells the upstream what is wanted of it: all of it at first, then each change. Never returns.
pub(crate) async fn renew(link: &Link, board: &Switchboard, limit: Duration) {
    let mut told = Told::default();
    loop {
        let mut plan = board.plan(&mut told);
        while !plan.is_empty() {
            for step in plan {
                let error = take(link, &told, &step, limit).await;
                told.note(&step, error.is_empty());
                board.done(&step, &error);
            }
            plan = board.plan(&mut told);
        }
        board.changed().await;
    }
}

/// Takes one step: the upstream's raw error where it refused, else nothing.
async fn take(link: &Link, told: &Told, step: &Step, limit: Duration) -> Bytes {
    let connection = &link.connection;
    let taken = async {
        match step {
            Step::Subscribe(uri) => connection.subscribe(uri).await,
            Step::Unsubscribe(uri) if told.has(uri) => connection.unsubscribe(uri).await,
            Step::Unsubscribe(_) => Ok(()),
            Step::Level(level) => connection.set_log_level(level.as_str()).await,
        }
    };
    match timeout(limit, taken).await {
        Ok(Ok(())) => Bytes::new(),
        Ok(Err(InterestError::Refused(error))) => link.masker.mask_json(&error).unwrap_or(error),
        Ok(Err(InterestError::Failed(error))) => {
            let cause = super::cause::request(&error, &link.masker);
            error_object(code::INTERNAL_ERROR, &cause, None)
        }
        Err(_) => error_object(code::INTERNAL_ERROR, "the server did not answer in time", None),
    }
}

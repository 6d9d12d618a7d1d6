//! The pipes of a process: a task that writes and a task that reads.
//!
//! They are two, so that a server that does not read while it writes cannot block us both.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::link::Link;
use super::{CloseCause, SendFailure};
use crate::stdio::{self, LineError, LineReader};

/// How many messages wait to be written.
const QUEUED_MESSAGES: usize = 256;

/// How much is put together before it is written.
const BATCH_BYTES: usize = 64 * 1024;

/// How long answers are still read after writing has failed.
const DRAIN: Duration = Duration::from_secs(1);

/// A message on its way to the pipe.
pub(super) struct Outgoing {
    /// The request, if it is one: its sending is noted.
    id: Option<u64>,
    message: Bytes,
}

/// Puts messages into the queue of the writing task.
pub(super) struct PipeSender(mpsc::Sender<Outgoing>);

impl PipeSender {
    pub(super) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (sender, receiver) = mpsc::channel(QUEUED_MESSAGES);
        (Self(sender), receiver)
    }

    /// Gives the message back if it has to wait. With the connection ended it is dropped: whoever
    /// waits for an answer is told through the connection's end.
    pub(super) fn try_send(&self, id: Option<u64>, message: Bytes) -> Option<Bytes> {
        match self.0.try_send(Outgoing { id, message }) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => None,
            Err(mpsc::error::TrySendError::Full(outgoing)) => Some(outgoing.message),
        }
    }

    pub(super) async fn send(&self, id: Option<u64>, message: Bytes) -> Result<(), SendFailure> {
        let sent = self.0.send(Outgoing { id, message }).await;
        sent.map_err(|_| SendFailure::Closed(CloseCause::Ended))
    }

    /// A handle of its own, for a future that must not borrow the connection.
    pub(super) fn detach(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Starts both tasks; they end with the connection.
pub(super) fn start(
    link: &Arc<Link>,
    queue: mpsc::Receiver<Outgoing>,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    stdout: Box<dyn AsyncRead + Send + Unpin>,
) {
    let writer = Arc::clone(link);
    tokio::spawn(async move {
        let cause = tokio::select! {
            cause = write(&writer, queue, stdin) => cause,
            cause = writer.events.end.wait() => cause,
        };
        // A process that exits may leave answers in the pipe: the reader takes them, and ends the
        // connection when it has.
        let _ = tokio::time::timeout(DRAIN, writer.events.end.wait()).await;
        writer.end(cause);
    });
    let reader = Arc::clone(link);
    tokio::spawn(async move {
        let cause = tokio::select! {
            cause = read(&reader, stdout) => cause,
            cause = reader.events.end.wait() => cause,
        };
        reader.end(cause);
    });
}

async fn write(
    link: &Link,
    mut queue: mpsc::Receiver<Outgoing>,
    mut stdin: Box<dyn AsyncWrite + Send + Unpin>,
) -> CloseCause {
    let mut batch = BytesMut::new();
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        while let Some(Outgoing { id, message }) = next {
            if id.is_none_or(|id| link.mark_written(id)) {
                stdio::put_line(&mut batch, &message);
            }
            next = if batch.len() < BATCH_BYTES { queue.try_recv().ok() } else { None };
        }
        let written = async {
            stdin.write_all(&batch).await?;
            stdin.flush().await
        };
        if let Err(error) = written.await {
            return CloseCause::Broken(error.kind().to_string());
        }
        // A batch with a large message in it is not kept.
        if batch.capacity() > 4 * BATCH_BYTES {
            batch = BytesMut::new();
        }
        batch.clear();
    }
    CloseCause::Requested
}

async fn read(link: &Arc<Link>, stdout: Box<dyn AsyncRead + Send + Unpin>) -> CloseCause {
    let mut lines = LineReader::new(stdout, link.max_message_bytes);
    loop {
        match lines.next().await {
            Ok(Some(line)) => link.receive(line),
            Ok(None) => return CloseCause::Ended,
            Err(LineError::TooLong(limit)) => {
                // Whose answer it was cannot be known: its request runs into its timeout.
                tracing::warn!(limit, "line of an upstream passed over: too long");
                link.events.noise(format!("a line longer than {limit} bytes").as_bytes());
            }
            Err(LineError::Io(error)) => return CloseCause::Broken(error.kind().to_string()),
        }
    }
}

//! The configuration events up to a position, for who begins or lost something.

use std::sync::Arc;

use bus::{Server, ServerSide};
use event_store::{EventStore, Position, ReadFilter};
use prost::Message as _;
use proto::internal::v1::SnapshotFrame;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::stored;

/// Most events in one frame.
const FRAME_EVENTS: usize = 500;
/// Snapshots that are streamed at the same time; further ones wait.
const CONCURRENT: usize = 8;

/// Serves snapshots until `shutdown`.
pub(crate) async fn snapshots(
    store: Arc<dyn EventStore>,
    mut server: Server,
    shutdown: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONCURRENT));
    let mut running = JoinSet::new();
    loop {
        let permit = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let incoming = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            incoming = server.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let store = Arc::clone(&store);
        running.spawn(async move {
            let _permit = permit;
            stream(&*store, &incoming.exchange).await;
            incoming.exchange.finish();
        });
        while running.try_join_next().is_some() {}
    }
}

/// Streams one snapshot. When the log fails, or the asker goes, it ends without a last frame,
/// and the asker asks again.
async fn stream(store: &dyn EventStore, exchange: &ServerSide) {
    let filter = ReadFilter::configuration();
    let (mut after, mut previous) = (Position::START, Position::START);
    loop {
        let page = match store.read(after, &filter, FRAME_EVENTS).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "a snapshot was not finished");
                return;
            }
        };
        after = page.next;
        let last = page.events.is_empty();
        let mut frame = SnapshotFrame { events: Vec::new(), position: 0, last };
        for event in &page.events {
            frame.events.push(stored::message(event, previous));
            previous = event.position;
        }
        if last {
            frame.position = page.next.as_u64();
        }
        if exchange.reply(frame.encode_to_vec().into()).await.is_err() || last {
            return;
        }
    }
}

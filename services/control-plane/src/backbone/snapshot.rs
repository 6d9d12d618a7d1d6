//! The configuration events up to a position, for who begins or lost something.

use std::sync::Arc;

use bus::{Server, ServerSide};
use event_store::{EventStore, Position, ReadFilter, Recorded};
use events::LatestObservations;
use prost::Message as _;
use proto::internal::v1::{SnapshotFrame, StoredEvent};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::stored;

/// Most events in one frame.
const FRAME_EVENTS: usize = 500;
/// Bytes of payloads after which a frame is full.
const FRAME_BYTES: usize = 1024 * 1024;
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
///
/// Of the observations, which are most of a log's configuration events, only those go out that
/// no later one replaces. They come after everything else.
async fn stream(store: &dyn EventStore, exchange: &ServerSide) {
    let filter = ReadFilter::configuration();
    let (mut after, mut previous) = (Position::START, Position::START);
    let mut latest = LatestObservations::default();
    loop {
        let page = match store.read(after, &filter, FRAME_EVENTS).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "a snapshot was not finished");
                return;
            }
        };
        after = page.next;
        if page.events.is_empty() {
            break;
        }
        let mut frame = SnapshotFrame::default();
        for event in page.events {
            let before = std::mem::replace(&mut previous, event.position);
            frame.events.extend(needed(&mut latest, event, before));
        }
        if !send(exchange, frame).await {
            return;
        }
    }
    let mut kept = latest.into_kept().peekable();
    while kept.peek().is_some() {
        let mut frame = SnapshotFrame::default();
        let mut bytes = 0;
        while let Some((event, before)) = kept.next_if(|_| bytes < FRAME_BYTES) {
            bytes += event.payload.len();
            frame.events.push(stored::message(&event, before));
        }
        if !send(exchange, frame).await {
            return;
        }
    }
    send(exchange, SnapshotFrame { events: vec![], position: after.as_u64(), last: true }).await;
}

/// An event of the log and the position of the configuration event before it.
type Placed = (Arc<Recorded>, Position);

/// The message of an event that is needed whatever comes later. What cannot be read goes out as
/// it is: the asker may be of a version that can.
fn needed(
    latest: &mut LatestObservations<Placed>,
    event: Arc<Recorded>,
    before: Position,
) -> Option<StoredEvent> {
    match events::decode(&event.event_type, event.schema_version, &event.payload) {
        Ok(decoded) => {
            let stream = event.stream.clone();
            let (event, before) = latest.take(&stream, &decoded, (event, before))?;
            Some(stored::message(&event, before))
        }
        Err(_) => Some(stored::message(&event, before)),
    }
}

/// Whether the frame went out.
async fn send(exchange: &ServerSide, frame: SnapshotFrame) -> bool {
    if frame.events.is_empty() && !frame.last {
        return true;
    }
    exchange.reply(frame.encode_to_vec().into()).await.is_ok()
}

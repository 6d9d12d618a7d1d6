//! The stream of published events, which keeps them for those who follow it from outside, anew
//! from the log.

use bus::BusError;
use bus::nats::Rebuild;
use event_store::{EventStore, Position, ReadFilter, StoreError};

use super::publisher::{UNPUBLISHED, bus_event};

/// Events that are read at once.
const BATCH: usize = 500;

/// Why the stream is not as the log. It can be rebuilt again at any time.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Store(#[from] StoreError),
    /// The bus refused.
    #[error("the bus refused")]
    Bus(#[from] BusError),
}

/// Fills the empty `stream` with what is published of the log, as it was published: in order,
/// under the same ids. Control planes may run meanwhile; what they publish is not there twice.
/// Returns how many events are in the stream.
///
/// # Errors
/// [`RebuildError`]; then begin again with an empty stream.
pub async fn rebuild_stream(
    store: &dyn EventStore,
    mut stream: Rebuild,
) -> Result<u64, RebuildError> {
    let head = store.head().await?;
    let (mut after, mut configuration) = (Position::START, Position::START);
    while after < head {
        let page = store.read(after, &ReadFilter::all(), BATCH).await?;
        for recorded in page.events.iter().filter(|event| event.stream.kind != UNPUBLISHED) {
            if let Some(event) = bus_event(recorded, configuration) {
                stream.publish(event).await?;
            }
            if recorded.stream.kind.is_configuration() {
                configuration = recorded.position;
            }
        }
        if page.next <= after {
            break;
        }
        after = page.next;
    }
    Ok(stream.finish().await?)
}

//! Asking for the configuration up to a position, and reading published events.

use std::time::Duration;

use bus::{Bus, BusError};
use bytes::Bytes;
use domain::{Event, InvalidId, StreamId, Timestamp};
use events::{Configuration, DecodeError};
use prost::Message;
use proto::internal::v1::{SnapshotFrame, SnapshotRequest, StoredEvent};

use crate::subject;

/// How long the next frame may take.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Most events in a snapshot.
const MAX_EVENTS: usize = 10_000_000;

/// Why there is no snapshot. Ask again later.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("a frame of the snapshot cannot be read")]
    Malformed(#[from] prost::DecodeError),
    #[error("the snapshot has more than {MAX_EVENTS} events")]
    TooLarge,
}

/// An event that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnreadableEvent {
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error(transparent)]
    Payload(#[from] DecodeError),
}

/// The configuration up to the returned position.
pub(super) async fn fetch(
    bus: &dyn Bus,
    service: &str,
) -> Result<(Configuration, u64), SnapshotError> {
    let request = SnapshotRequest { service: service.to_owned() };
    let exchange = bus.open(&subject::snapshot(), request.encode_to_vec().into()).await?;
    let (mut configuration, mut events) = (Configuration::default(), 0);
    loop {
        let frame = tokio::time::timeout(FRAME_TIMEOUT, exchange.next_frame())
            .await
            .map_err(|_| BusError::TimedOut { timeout_ms: 10_000 })?;
        let frame = SnapshotFrame::decode(frame.unwrap_or(Err(BusError::Closed))?)?;
        events += frame.events.len();
        if events > MAX_EVENTS {
            return Err(SnapshotError::TooLarge);
        }
        for event in frame.events {
            apply(&mut configuration, event);
        }
        if frame.last {
            return Ok((configuration, frame.position));
        }
    }
}

/// Applies an event, or reports that it cannot be. Services of version N-1 must go on while
/// version N writes events that they do not know; what those mean is unknown to them in any case.
pub(super) fn apply(configuration: &mut Configuration, event: StoredEvent) -> events::Change {
    let (position, event_type) = (event.position, event.r#type.clone());
    match read(event) {
        Ok((stream, event, recorded_at)) => configuration.apply(&stream, &event, recorded_at),
        Err(error) => {
            metrics::counter!("mcp_orch_replica_unreadable_events_total").increment(1);
            tracing::error!(position, event_type, %error, "a configuration event cannot be read");
            events::Change::NONE
        }
    }
}

fn read(stored: StoredEvent) -> Result<(StreamId, Event, Timestamp), UnreadableEvent> {
    let stream =
        StreamId { tenant: stored.tenant.parse()?, kind: stored.kind.parse()?, id: stored.stream };
    let event = events::decode(&stored.r#type, stored.schema_version, &stored.payload)?;
    Ok((stream, event, Timestamp::from_micros(stored.recorded_at_us)))
}

/// A published event.
pub(super) fn published(payload: &Bytes) -> Result<StoredEvent, prost::DecodeError> {
    StoredEvent::decode(payload.clone())
}

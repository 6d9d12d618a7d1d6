//! Shared memory in JetStream: a bucket with compare-and-swap, and one stream of trails.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::{HeaderMap, HeaderValue, header, jetstream};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use uuid::Uuid;

use super::NatsBus;
use super::core::Core;
use super::stream;
use crate::shared::{MAX_TRAIL_ENTRIES, check_shared};
use crate::{BusError, MemoryError, Revision, SharedMemory, Subject};

/// The server forgets the reader of a trail after so long, if it was not told to.
const READER_LIFETIME: Duration = Duration::from_secs(10);
/// How long the entries of a trail may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

fn away(detail: impl ToString) -> MemoryError {
    MemoryError::Unavailable { detail: detail.to_string() }
}

fn of_bus(error: BusError) -> MemoryError {
    match error {
        BusError::Unavailable { detail } => MemoryError::Unavailable { detail },
        other => away(other),
    }
}

impl Core {
    async fn make_values(&self) -> Result<(), MemoryError> {
        let config = stream::values(&self.names, self.replicas);
        stream::make(&self.jetstream, config).await.map_err(of_bus)
    }

    async fn make_trails(&self) -> Result<(), MemoryError> {
        let config = stream::trails(&self.names, self.replicas);
        stream::make(&self.jetstream, config).await.map_err(of_bus)?;
        self.has_trail_stream.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Trails live in the server's memory: after its restart there is no place for them.
    pub(super) async fn restore_trails(&self) {
        if self.has_trail_stream.load(Ordering::Relaxed)
            && let Err(error) = self.make_trails().await
        {
            tracing::warn!(%error, "the stream of the trails could not be made");
        }
    }

    async fn stream(&self, name: String) -> Result<Stream<()>, MemoryError> {
        self.jetstream.get_stream_no_info(name).await.map_err(away)
    }

    async fn write_value(
        &self,
        key: &Subject,
        value: Bytes,
        expected: Option<Revision>,
    ) -> Result<Revision, PublishErrorKind> {
        let mut headers = HeaderMap::new();
        let expected = HeaderValue::from(expected.map_or(0, Revision::get));
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected);
        let sent = self.jetstream.publish_with_headers(self.names.value(key), headers, value);
        let acknowledged = sent.await.map_err(|error| error.kind())?.await;
        acknowledged.map(|ack| Revision::new(ack.sequence)).map_err(|error| error.kind())
    }

    async fn write(
        &self,
        key: &Subject,
        value: Bytes,
        expected: Option<Revision>,
    ) -> Result<Revision, MemoryError> {
        let mut written = self.write_value(key, value.clone(), expected).await;
        if written == Err(PublishErrorKind::StreamNotFound) {
            self.make_values().await?;
            written = self.write_value(key, value, expected).await;
        }
        written.map_err(|kind| match kind {
            PublishErrorKind::WrongLastSequence => MemoryError::Changed,
            kind => away(kind),
        })
    }

    async fn read(&self, key: &Subject) -> Result<Option<(Revision, Bytes)>, MemoryError> {
        let stream = self.stream(self.names.value_stream()).await?;
        match stream.get_last_raw_message_by_subject(&self.names.value(key)).await {
            Ok(message) => Ok(Some((Revision::new(message.sequence), message.payload))),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::JetStream(error) if is_missing(&error) => Ok(None),
                _ => Err(away(error)),
            },
        }
    }

    /// Removes all messages of that subject, so that nothing is left of it.
    async fn purge(&self, stream: String, subject: String) -> Result<(), MemoryError> {
        let stream = self.stream(stream).await?;
        match stream.purge().filter(subject).await {
            Ok(_) => Ok(()),
            Err(error) if error.to_string().contains("not found") => Ok(()),
            Err(error) => Err(away(error)),
        }
    }

    async fn push(&self, trail: &Subject, entry: Bytes) -> Result<(), MemoryError> {
        if !self.has_trail_stream.load(Ordering::Relaxed) {
            self.make_trails().await?;
        }
        self.client.publish(self.names.trail(trail), entry).await.map_err(away)
    }

    /// No operation outlives the connection.
    async fn remembered<T>(
        &self,
        operation: impl Future<Output = Result<T, MemoryError>>,
    ) -> Result<T, MemoryError> {
        self.check_reachable().map_err(of_bus)?;
        self.while_connected(operation).await.map_err(of_bus)?
    }

    async fn read_trail(&self, trail: &Subject) -> Result<Vec<Bytes>, MemoryError> {
        let stream = self.stream(self.names.trail_stream()).await?;
        let config = pull::Config {
            // With a name of its own the server can check who may read which stream.
            name: Some(Uuid::now_v7().simple().to_string()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            filter_subject: self.names.trail(trail),
            inactive_threshold: READER_LIFETIME,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let reader = match stream.create_consumer(config).await {
            Ok(reader) => reader,
            Err(error) if error.to_string().contains("not found") => return Ok(Vec::new()),
            Err(error) => return Err(away(error)),
        };
        let waiting = usize::try_from(reader.cached_info().num_pending).unwrap_or(usize::MAX);
        let waiting = waiting.min(MAX_TRAIL_ENTRIES);
        let mut entries = Vec::with_capacity(waiting);
        if waiting > 0 {
            let batch = reader.fetch().max_messages(waiting).expires(READ_TIMEOUT).messages();
            let mut batch = batch.await.map_err(away)?;
            while let Some(message) = batch.next().await {
                entries.push(message.map_err(away)?.message.payload);
            }
        }
        let name = reader.cached_info().name.clone();
        if let Err(error) = stream.delete_consumer(&name).await {
            tracing::debug!(%error, "the reader of a trail expires by itself");
        }
        Ok(entries)
    }
}

#[async_trait]
impl SharedMemory for NatsBus {
    async fn write(
        &self,
        key: &Subject,
        value: Bytes,
        expected: Option<Revision>,
    ) -> Result<Revision, MemoryError> {
        check_shared(&value)?;
        let core = self.core();
        core.remembered(core.write(key, value, expected)).await
    }

    async fn read(&self, key: &Subject) -> Result<Option<(Revision, Bytes)>, MemoryError> {
        let core = self.core();
        core.remembered(core.read(key)).await
    }

    async fn remove(&self, key: &Subject) -> Result<(), MemoryError> {
        let core = self.core();
        core.remembered(core.purge(core.names.value_stream(), core.names.value(key))).await
    }

    async fn push(&self, trail: &Subject, entry: Bytes) -> Result<(), MemoryError> {
        check_shared(&entry)?;
        let core = self.core();
        core.remembered(core.push(trail, entry)).await
    }

    async fn trail(&self, trail: &Subject) -> Result<Vec<Bytes>, MemoryError> {
        let core = self.core();
        core.remembered(core.read_trail(trail)).await
    }

    async fn drop_trail(&self, trail: &Subject) -> Result<(), MemoryError> {
        let core = self.core();
        core.remembered(core.purge(core.names.trail_stream(), core.names.trail(trail))).await
    }
}

fn is_missing(error: &jetstream::Error) -> bool {
    error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND
}

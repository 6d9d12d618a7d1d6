//! The JetStream streams: what is kept, where, and for how long.
//!
//! None of them is a record: each may be removed, and is made again by whoever needs it next. The
//! stream of the events can be filled again from the event store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{CreateStreamErrorKind, PublishAckFuture};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RetentionPolicy, StorageType, SubjectTransform,
};

use super::NatsConfig;
use super::connection::{away, connect};
use super::core::Core;
use super::events::{DEDUP_WINDOW, headers_of, is_kept};
use super::names::Names;
use crate::shared::{MAX_TRAIL_ENTRIES, TRAIL_LIFETIME, VALUE_LIFETIME};
use crate::{BusError, Event, connectivity};

/// Most events that the stream keeps, and for how long: for those who follow it from outside.
const MAX_EVENTS: i64 = 1_000_000;
const EVENT_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most memory that all trails take together.
const MAX_TRAIL_BYTES: i64 = 128 * 1024 * 1024;
/// Most bytes that all shared values take together on disk.
const MAX_VALUE_BYTES: i64 = 256 * 1024 * 1024;
/// How many events of a rebuild wait for their acknowledgement.
const IN_FLIGHT: usize = 256;

pub(super) fn events(names: &Names, replicas: usize) -> Config {
    let (source, destination) = (names.all_rebuilt_events(), names.all_kept_events());
    Config {
        name: names.event_stream(),
        subjects: vec![names.all_kept_events(), names.all_rebuilt_events()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_messages: MAX_EVENTS,
        max_age: EVENT_LIFETIME,
        duplicate_window: DEDUP_WINDOW,
        num_replicas: replicas,
        subject_transform: Some(SubjectTransform { source, destination }),
        ..Config::default()
    }
}

/// A key-value bucket: reads go to its leader, so that they see the latest write.
pub(super) fn values(names: &Names, replicas: usize) -> Config {
    Config {
        name: names.value_stream(),
        subjects: vec![names.all_values()],
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_messages_per_subject: 1,
        max_bytes: MAX_VALUE_BYTES,
        max_age: VALUE_LIFETIME,
        duplicate_window: DEDUP_WINDOW,
        num_replicas: replicas,
        allow_rollup: true,
        deny_delete: true,
        ..Config::default()
    }
}

pub(super) fn trails(names: &Names, replicas: usize) -> Config {
    Config {
        name: names.trail_stream(),
        subjects: vec![names.all_trails()],
        discard: DiscardPolicy::Old,
        storage: StorageType::Memory,
        max_messages_per_subject: i64::try_from(MAX_TRAIL_ENTRIES).unwrap_or(i64::MAX),
        max_bytes: MAX_TRAIL_BYTES,
        max_age: TRAIL_LIFETIME,
        duplicate_window: TRAIL_LIFETIME.min(DEDUP_WINDOW),
        num_replicas: replicas,
        ..Config::default()
    }
}

/// Makes the stream, unless there is one.
pub(super) async fn make(jetstream: &jetstream::Context, config: Config) -> Result<(), BusError> {
    let name = config.name.clone();
    match jetstream.create_stream(config).await {
        Ok(_) => Ok(()),
        // Another version made it, with other limits: it does.
        Err(error) if is_there(&error.kind()) => Ok(()),
        Err(error) => Err(away(&format!("the stream {name}: {error}"))),
    }
}

fn is_there(kind: &CreateStreamErrorKind) -> bool {
    let CreateStreamErrorKind::JetStream(error) = kind else { return false };
    error.error_code() == jetstream::ErrorCode::STREAM_NAME_EXIST
}

impl Core {
    /// Makes the stream of the events, or brings it up to this version.
    pub(super) async fn make_event_stream(&self) -> Result<(), BusError> {
        let config = events(&self.names, self.replicas);
        let made = self.jetstream.create_or_update_stream(config).await;
        made.map_err(|error| away(&format!("the stream of the events: {error}")))?;
        self.has_event_stream.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Deletes the stream of the events, and makes it anew, empty. What is published into the
/// returned handle is in the stream only: whoever subscribed on the bus does not see it.
///
/// # Errors
/// [`BusError::Unavailable`].
pub async fn rebuild(config: NatsConfig) -> Result<Rebuild, BusError> {
    let instance = connectivity::new_instance();
    let names = Names::new(&config.namespace, config.service, &instance)?;
    let (client, _) = connect(&config, &names, &instance).await?;
    let jetstream = jetstream::new(client);
    match jetstream.delete_stream(names.event_stream()).await {
        Ok(_) => {}
        Err(error) if error.to_string().contains("not found") => {}
        Err(error) => return Err(away(&format!("the stream of the events: {error}"))),
    }
    make(&jetstream, events(&names, usize::from(config.replicas.max(1)))).await?;
    Ok(Rebuild { jetstream, names: Arc::new(names), in_flight: VecDeque::new(), published: 0 })
}

/// Fills the stream of the events anew; see [`rebuild`].
#[derive(Debug)]
pub struct Rebuild {
    jetstream: jetstream::Context,
    names: Arc<Names>,
    in_flight: VecDeque<PublishAckFuture>,
    published: u64,
}

impl Rebuild {
    /// Adds an event, with the id under which it was published first. Some are under way at a
    /// time; their order is kept.
    ///
    /// # Errors
    /// [`BusError::TooLarge`]; [`BusError::Unavailable`], then begin again.
    pub async fn publish(&mut self, event: Event) -> Result<(), BusError> {
        event.check()?;
        if !is_kept(&event.subject) {
            return Err(away("only events are kept"));
        }
        if self.in_flight.len() >= IN_FLIGHT {
            self.acknowledge_one().await?;
        }
        let subject = self.names.rebuilt_event(&event.subject);
        let headers = headers_of(&event)?;
        let sent = self.jetstream.publish_with_headers(subject, headers, event.payload).await;
        self.in_flight.push_back(sent.map_err(|error| away(&error.to_string()))?);
        Ok(())
    }

    /// Waits until all events are in the stream; returns how many.
    ///
    /// # Errors
    /// [`BusError::Unavailable`], then begin again.
    pub async fn finish(mut self) -> Result<u64, BusError> {
        while !self.in_flight.is_empty() {
            self.acknowledge_one().await?;
        }
        Ok(self.published)
    }

    async fn acknowledge_one(&mut self) -> Result<(), BusError> {
        if let Some(oldest) = self.in_flight.pop_front() {
            oldest.await.map_err(|error| away(&error.to_string()))?;
            self.published += 1;
        }
        Ok(())
    }
}

//! Publishing and subscribing.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, Subscriber, header};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connection::away;
use super::core::{Core, Registered};
use super::text;
use crate::event::Inbox;
use crate::recent_ids::RecentIds;
use crate::registration::Registration;
use crate::{BusError, Event, MAX_CAPACITY, Subject, SubjectFilter, Subscription};

/// First token of the events that are kept.
const KEPT: &str = "evt";
/// For how long a subscriber, and the stream, recognize a repetition.
pub(super) const DEDUP_WINDOW: Duration = Duration::from_secs(120);
/// How many ids a subscriber remembers.
const DEDUP_IDS: usize = 65_536;
/// How long an event may wait for the connection.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn is_kept(subject: &Subject) -> bool {
    subject.tokens().next() == Some(KEPT)
}

impl Core {
    pub(super) async fn publish(&self, event: Event) -> Result<(), BusError> {
        event.check()?;
        self.check_reachable()?;
        let subject = self.names.event(&event.subject);
        if !is_kept(&event.subject) {
            let headers = headers_of(&event)?;
            let sent = self.client.publish_with_headers(subject, headers, event.payload);
            return match tokio::time::timeout(SEND_TIMEOUT, sent).await {
                Ok(sent) => sent.map_err(|error| away(&error.to_string())),
                Err(_) => Err(away("the connection is stuck")),
            };
        }
        if !self.has_event_stream.load(Ordering::Relaxed) {
            self.make_event_stream().await?;
        }
        match self.keep(subject.clone(), &event).await {
            // Somebody removed it, or the server lost it.
            Err(PublishErrorKind::StreamNotFound) => {
                self.make_event_stream().await?;
                self.keep(subject, &event).await.map_err(|kind| away(&kind.to_string()))
            }
            outcome => outcome.map_err(|kind| away(&kind.to_string())),
        }
    }

    /// Publishes to the stream, and waits until it is there.
    async fn keep(&self, subject: String, event: &Event) -> Result<(), PublishErrorKind> {
        let headers = headers_of(event).map_err(|_| PublishErrorKind::Other)?;
        let sent = self.jetstream.publish_with_headers(subject, headers, event.payload.clone());
        let acknowledged = async { sent.await?.await.map(drop) };
        let kept = self.while_connected(acknowledged).await;
        kept.map_err(|_| PublishErrorKind::BrokenPipe)?.map_err(|error| error.kind())
    }

    pub(super) async fn subscribe(
        self: &Arc<Self>,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Subscription, BusError> {
        let registered = self.register("too many subscriptions")?;
        let losses = self.signals.losses.subscribe();
        let events = self.subscribed(self.names.events(&filter)).await?;
        let inbox = Arc::new(Inbox::new(capacity.clamp(1, MAX_CAPACITY)));
        let stop = CancellationToken::new();
        let follower = Follower {
            core: Arc::clone(self),
            inbox: Arc::clone(&inbox),
            recent: RecentIds::new(DEDUP_WINDOW, DEDUP_IDS),
            stop: stop.clone(),
            _registered: registered,
        };
        tokio::spawn(follower.run(events, losses));
        Ok(Subscription::new(inbox, Registration::new(move || stop.cancel())))
    }
}

/// Fills the inbox of one subscription.
struct Follower {
    core: Arc<Core>,
    inbox: Arc<Inbox>,
    recent: RecentIds,
    stop: CancellationToken,
    _registered: Registered,
}

impl Follower {
    async fn run(mut self, mut events: Subscriber, mut losses: watch::Receiver<u64>) {
        let mut connectivity = self.core.signals.connectivity.subscribe();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.core.closed.cancelled() => break,
                _ = connectivity.wait_for(|connectivity| !connectivity.is_connected()) => {}
                _ = losses.changed() => {}
                message = events.next() => match message {
                    Some(message) => {
                        self.take(message);
                        continue;
                    }
                    None => break,
                },
            }
            self.lose(&mut events).await;
            // What was lost until here is told.
            losses.mark_unchanged();
        }
        // What came before the end is still delivered.
        while let Some(Some(message)) = events.next().now_or_never() {
            self.take(message);
        }
        self.inbox.close();
    }

    fn take(&mut self, message: Message) {
        let Some(subject) = self.core.names.subject_of_event(&message.subject) else { return };
        let event = event_of(subject, message);
        let is_new = event.id.as_ref().is_none_or(|id| self.recent.remember(id, Instant::now()));
        if is_new {
            self.inbox.push(&Arc::new(event));
        }
    }

    /// Events may be missing after those that arrived before the connection was lost, and until
    /// the server knows of the subscription again: until one arrives, or the server says so.
    async fn lose(&mut self, events: &mut Subscriber) {
        while let Some(Some(message)) = events.next().now_or_never() {
            self.take(message);
        }
        let core = Arc::clone(&self.core);
        let message = tokio::select! {
            biased;
            message = events.next() => message,
            () = core.subscribed_again() => None,
            () = self.stop.cancelled() => None,
            () = core.closed.cancelled() => None,
        };
        self.inbox.lose(1);
        if let Some(message) = message {
            self.take(message);
        }
    }
}

pub(super) fn headers_of(event: &Event) -> Result<HeaderMap, BusError> {
    let mut headers = HeaderMap::new();
    if let Some(id) = &event.id {
        headers.insert(header::NATS_MESSAGE_ID, value_of(id)?);
    }
    for (name, text) in &event.headers {
        let name: HeaderName = text::plain(name).parse().map_err(|_| away("a header's name"))?;
        headers.append(name, value_of(text)?);
    }
    Ok(headers)
}

fn value_of(text: &str) -> Result<HeaderValue, BusError> {
    text::plain(text).parse().map_err(|_| away("a header's value"))
}

fn event_of(subject: Subject, message: Message) -> Event {
    let mut event = Event::new(subject, message.payload);
    for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
        for value in values {
            let value = text::original(value.as_str());
            if *name == header::NATS_MESSAGE_ID {
                event.id = Some(value);
            } else {
                let name = text::original(AsRef::<str>::as_ref(name));
                event.headers.push((Cow::Owned(name), value));
            }
        }
    }
    event
}

//! Presence: announcements that are repeated, and forgotten when they are not.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::connection::away;
use super::core::{Core, MAX_REGISTRATIONS};
use super::roll::{Notice, Stamp};
use crate::registration::Registration;
use crate::{Announcement, BusError, Presence, PresenceWatch, Subject, SubjectFilter, presence};

/// How long the first look waits for others to say that they are there.
const FIRST_LOOK: Duration = Duration::from_millis(150);

impl Core {
    pub(super) async fn announce(
        self: &Arc<Self>,
        key: Subject,
        value: Bytes,
    ) -> Result<Announcement, BusError> {
        self.check_reachable()?;
        // Of a newer announcement of the same key this process hears here.
        let others = self.client.subscribe(self.names.presence(&key)).await;
        let others = others.map_err(|error| away(&error.to_string()))?;
        let asks = self.client.subscribe(self.names.presence_ask()).await;
        let asks = asks.map_err(|error| away(&error.to_string()))?;
        let stamp = self.roll.enter(&key, value)?;
        self.say(&key, stamp);
        let stop = CancellationToken::new();
        tokio::spawn(hear(Arc::clone(self), others, stop.clone()));
        tokio::spawn(answer(Arc::clone(self), asks, key.clone(), stamp, stop.clone()));

        // An announcement must not keep the bus alive.
        let (core, announced) = (Arc::downgrade(self), key.clone());
        let update = Box::new(move |value| match core.upgrade() {
            Some(core) if !core.closed.is_cancelled() => {
                core.roll.update(&announced, stamp, value)?;
                core.say(&announced, stamp);
                Ok(())
            }
            _ => Err(away("the bus was shut down")),
        });
        let (core, announced) = (Arc::downgrade(self), key.clone());
        let withdraw = Registration::new(move || {
            stop.cancel();
            if let Some(core) = core.upgrade() {
                core.withdraw(&announced, &Notice::Gone(stamp));
            }
        });
        Ok(Announcement::new(key, update, withdraw))
    }

    pub(super) async fn present(
        self: &Arc<Self>,
        filter: &SubjectFilter,
    ) -> Result<Vec<Presence>, BusError> {
        self.check_reachable()?;
        self.look().await?;
        Ok(presence::matching(&self.roll.all(), filter))
    }

    pub(super) async fn watch(
        self: &Arc<Self>,
        filter: SubjectFilter,
    ) -> Result<PresenceWatch, BusError> {
        self.check_reachable()?;
        self.look().await?;
        let all = self.roll.follow(MAX_REGISTRATIONS);
        let all = all.ok_or(BusError::Busy { limit: "too many watches" })?;
        Ok(PresenceWatch::new(filter, all))
    }

    /// Begins to hear of everybody, once for this process.
    async fn look(self: &Arc<Self>) -> Result<(), BusError> {
        let begin = async {
            let all = self.subscribed(self.names.all_presence()).await?;
            tokio::spawn(hear(Arc::clone(self), all, CancellationToken::new()));
            self.ask_who_is_there();
            tokio::time::sleep(FIRST_LOOK).await;
            Ok(())
        };
        self.watching.get_or_try_init(|| begin).await?;
        Ok(())
    }

    pub(super) fn ask_who_is_there(&self) {
        self.outbox.push_message(self.names.presence_ask(), Bytes::new());
    }

    /// Repeats what this process announces.
    pub(super) fn announce_all(&self) {
        for (key, notice) in self.roll.own() {
            self.outbox.push_message(self.names.presence(&key), notice.encode());
        }
    }

    fn say(&self, key: &Subject, stamp: Stamp) {
        let own = self.roll.own();
        let held = |(held, notice): &&(Subject, Notice)| {
            held == key && matches!(notice, Notice::Here(holder, _) if *holder == stamp)
        };
        if let Some((key, notice)) = own.iter().find(held) {
            self.outbox.push_message(self.names.presence(key), notice.encode());
        }
    }

    /// Takes an announcement of this process back, here and elsewhere.
    pub(super) fn withdraw(&self, key: &Subject, notice: &Notice) {
        let (Notice::Here(stamp, _) | Notice::Gone(stamp)) = notice;
        self.roll.leave(key, *stamp);
        self.outbox.push_message(self.names.presence(key), Notice::Gone(*stamp).encode());
    }
}

async fn hear(core: Arc<Core>, mut notices: Subscriber, stop: CancellationToken) {
    loop {
        let message = tokio::select! {
            message = notices.next() => message,
            () = stop.cancelled() => None,
            () = core.closed.cancelled() => None,
        };
        let Some(message) = message else { return };
        let key = core.names.key_of_presence(&message.subject);
        if let (Some(key), Some(notice)) = (key, Notice::decode(message.payload)) {
            core.roll.hear(&key, notice, core.beats());
        }
    }
}

async fn answer(
    core: Arc<Core>,
    mut asks: Subscriber,
    key: Subject,
    stamp: Stamp,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            ask = asks.next() => if ask.is_none() { return },
            () = stop.cancelled() => return,
            () = core.closed.cancelled() => return,
        }
        core.say(&key, stamp);
    }
}

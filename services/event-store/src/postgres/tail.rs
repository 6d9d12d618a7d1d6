//! The tail: follows the log for every subscription of this process.
//!
//! It learns of a new end by a notification of the sequencer, by what the sequencer of this
//! process gives it, or by looking, where notifications do not come. Each commit reaches the
//! subscriptions once and in order; while nobody follows, nothing is read.

use std::future;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::place::CHANNEL;
use super::read::Reader;
use super::session::{unreadable, within};
use crate::error::StoreError;
use crate::limits::MAX_PAGE_EVENTS;
use crate::recorded::{Position, ReadFilter};
use crate::subscription::Commit;

/// How often the log is looked at while notifications come.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked at, and a listener tried for, while they do not.
const RETRY: Duration = Duration::from_millis(100);
/// How long it may take to begin to listen.
const LISTEN: Duration = Duration::from_secs(2);

pub(super) struct Tail {
    reader: Reader,
    live: broadcast::Sender<Commit>,
    /// Up to here subscriptions were given everything, or nobody followed.
    seen: Position,
    listener: Option<PgListener>,
    away: bool,
}

/// Why the tail looks.
enum News {
    Offer(Commit),
    Notified(Option<u64>),
    Deaf,
    Look,
    Closed,
}

impl Tail {
    pub(super) fn new(reader: Reader, live: broadcast::Sender<Commit>, head: Position) -> Self {
        Self { reader, live, seen: head, listener: None, away: false }
    }

    /// Runs until the store is closed; then subscriptions end.
    pub(super) async fn run(
        mut self,
        mut offers: mpsc::Receiver<Commit>,
        closed: CancellationToken,
    ) {
        loop {
            if self.listener.is_none() && !closed.is_cancelled() {
                self.listen().await;
            }
            match self.news(&mut offers, &closed).await {
                News::Closed => return,
                News::Offer(commit) => self.take(commit).await,
                // What it tells is known already, often from an offer.
                News::Notified(Some(position)) if position <= self.seen.as_u64() => {}
                News::Deaf => self.listener = None,
                News::Notified(_) | News::Look => self.look().await,
            }
        }
    }

    async fn news(
        &mut self,
        offers: &mut mpsc::Receiver<Commit>,
        closed: &CancellationToken,
    ) -> News {
        let pause = if self.listener.is_some() && !self.away { LOOK } else { RETRY };
        let notified = async {
            match &mut self.listener {
                Some(listener) => listener.try_recv().await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = closed.cancelled() => News::Closed,
            Some(commit) = offers.recv() => News::Offer(commit),
            notified = notified => match notified {
                Ok(Some(notification)) => News::Notified(notification.payload().parse().ok()),
                Ok(None) | Err(_) => News::Deaf,
            },
            () = tokio::time::sleep(pause) => News::Look,
        }
    }

    /// Begins to listen, and looks for what was missed before.
    async fn listen(&mut self) {
        let listening = within(LISTEN, async {
            let mut listener =
                PgListener::connect_with(self.reader.log()).await.map_err(unreadable)?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await.map_err(unreadable)?;
            Ok(listener)
        });
        match listening.await {
            Ok(listener) => {
                self.listener = Some(listener);
                self.look().await;
            }
            Err(error) => self.note(&error),
        }
    }

    /// Passes a commit of this process's sequencer on.
    async fn take(&mut self, commit: Commit) {
        let ends = commit.first().zip(commit.last());
        let Some((first, last)) = ends.map(|(first, last)| (first.position, last.position)) else {
            return;
        };
        if first == self.seen.next() {
            self.seen = last;
            // An error says that nobody follows.
            let _ = self.live.send(commit);
        } else if last > self.seen {
            self.look().await;
        }
    }

    /// Reads up to the end of the log.
    async fn look(&mut self) {
        loop {
            match self.advance().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.note(&error),
            }
        }
        if std::mem::take(&mut self.away) {
            tracing::info!("the log can be read again");
        }
    }

    /// One page; false at the end of the log.
    async fn advance(&mut self) -> Result<bool, StoreError> {
        if self.live.receiver_count() == 0 {
            let head = self.reader.head().await?;
            // Who follows from now on reads up to there by itself. Who began meanwhile may have
            // read less, and is given the rest.
            if self.live.receiver_count() == 0 {
                self.seen = self.seen.max(head);
                return Ok(false);
            }
        }
        let page = self.reader.page(self.seen, &ReadFilter::all(), MAX_PAGE_EVENTS).await?;
        let Some(last) = page.events.last().map(|event| event.position) else {
            return Ok(false);
        };
        self.seen = last;
        let _ = self.live.send(page.events.into());
        Ok(true)
    }

    fn note(&mut self, error: &StoreError) {
        if !std::mem::replace(&mut self.away, true) {
            tracing::warn!(%error, "the log cannot be followed, the tail tries again");
        }
    }
}

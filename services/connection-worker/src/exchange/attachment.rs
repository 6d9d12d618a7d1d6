//! An edge, or a client's session, that listens to a server for as long as it wants.
//!
//! What always holds: an attachment to the connection that all share outlives that connection, and
//! what it wants is asked for again on the next one. One of a client's own keeps a connection for
//! its session, and gets another one when that was lost.

use std::collections::VecDeque;
use std::sync::Arc;

use backplane::exchange::{FollowUp, Frame};
use bytes::Bytes;
use domain::call::CallOutcome;
use mcp::envelope::error_object;
use mcp::{LogLevel, code};
use proto::internal::v1::interest::Change;
use proto::internal::v1::{ExchangeOpen, Interest, InterestDone, Peer};
use tokio::time::{Instant, sleep};

use super::Served;
use super::answer::Ended;
use super::conversation::{Conversation, Passing};
use super::outlet::{Left, Outlet};
use crate::backoff::Backoff;
use crate::connection::{Attachment, TooMany, Unavailable, Wants};
use crate::session::{Denied, Lease, Pool};

/// Most changes of interests that wait for a connection.
const MAX_EARLY: usize = 256;

/// Listens until the edge leaves (`None`), or says why it ends.
pub(super) async fn attend(served: &Served, open: &ExchangeOpen, outlet: &Outlet) -> Option<Ended> {
    if !served.is_meant(open) {
        return Some(Ended::refused("NOT_FOUND", "server not found"));
    }
    let end = match served.own(open.peer.as_ref()) {
        None => Shared { served, outlet }.attend(open.peer.as_ref()).await,
        Some((pool, peer)) => {
            let early = VecDeque::new();
            Own { served, outlet, pool, peer, early }.attend().await
        }
    };
    match end {
        End::Left => None,
        End::Cancelled => {
            let message = "the attachment was ended".to_owned();
            Some(Ended::failed(CallOutcome::Cancelled, "CANCELLED", message))
        }
        End::Stopped => Some(Ended::refused("UPSTREAM_UNAVAILABLE", "the server was stopped")),
        End::Full(TooMany(what)) => {
            Some(Ended::refused("RESOURCE_EXHAUSTED", &format!("too many {what}")))
        }
        End::Denied(denied) => Some(denied.into()),
    }
}

/// Why an attachment ends.
enum End {
    /// The edge left.
    Left,
    /// The edge wants it to end.
    Cancelled,
    /// The server is no longer served.
    Stopped,
    /// Too many listen.
    Full(TooMany),
    /// There was no connection from the start.
    Denied(Denied),
}

impl From<Left> for End {
    fn from(Left: Left) -> Self {
        Self::Left
    }
}

impl From<TooMany> for End {
    fn from(error: TooMany) -> Self {
        Self::Full(error)
    }
}

/// To the connection that all share.
struct Shared<'a> {
    served: &'a Served,
    outlet: &'a Outlet,
}

impl Shared<'_> {
    async fn attend(&self, peer: Option<&Peer>) -> End {
        match self.listen(peer).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn listen(&self, peer: Option<&Peer>) -> Result<std::convert::Infallible, End> {
        let slot = &self.served.slot;
        let mut attachment = slot.board.attach(&Wants::default())?;
        let mut conversation = Conversation::new(self.outlet, peer, None);
        loop {
            tokio::select! {
                () = self.served.stop.cancelled() => return Err(End::Stopped),
                heard = attachment.next() => {
                    conversation.hear(heard).await?;
                }
                follow_up = self.outlet.next_follow_up() => match follow_up {
                    None => return Err(End::Left),
                    Some(FollowUp::Cancel(_)) => return Err(End::Cancelled),
                    Some(FollowUp::Interest(interest)) => {
                        want(&attachment, self.outlet, &interest).await?;
                        if let Err(Unavailable(cause)) = slot.nudge() {
                            slot.board.fail_waiting(&cause);
                        }
                    }
                    Some(said) => conversation.take(said).await,
                },
            }
        }
    }
}

/// To a connection of the client's own.
struct Own<'a> {
    served: &'a Served,
    outlet: &'a Outlet,
    pool: &'a Arc<Pool>,
    peer: &'a Peer,
    /// Changes of interests that came while there was no connection.
    early: VecDeque<Interest>,
}

impl Own<'_> {
    async fn attend(mut self) -> End {
        let mut wants = Wants::default();
        let mut backoff = Backoff::default();
        let mut is_first = true;
        loop {
            let pool = self.pool;
            let connected = self.meanwhile(pool.for_attachment(self.peer)).await;
            match connected {
                Err(end) => return end,
                Ok(Err(denied)) if is_first => return End::Denied(denied),
                Ok(Err(denied)) => {
                    if let Err(end) = self.refuse_early(&denied.to_string()).await {
                        return end;
                    }
                }
                Ok(Ok(lease)) => {
                    is_first = false;
                    let since = Instant::now();
                    if let Err(end) = self.listen(&lease, &mut wants).await {
                        return end;
                    }
                    backoff.stood(since.elapsed());
                }
            }
            let wait = backoff.failed((self.served.deps.random)());
            if let Err(end) = self.meanwhile(sleep(wait)).await {
                return end;
            }
        }
    }

    /// Until the connection is gone; `wants` are those of the connection before, and then of this.
    async fn listen(&mut self, lease: &Lease, wants: &mut Wants) -> Result<(), End> {
        let mut attachment = lease.board().attach(wants)?;
        let upstream = Some((&lease.link().connection, Passing::All));
        let mut conversation = Conversation::new(self.outlet, Some(self.peer), upstream);
        while let Some(interest) = self.early.pop_front() {
            want(&attachment, self.outlet, &interest).await?;
        }
        loop {
            tokio::select! {
                () = self.served.stop.cancelled() => return Err(End::Stopped),
                heard = attachment.next() => {
                    if !conversation.hear(heard).await? {
                        *wants = attachment.wants();
                        return Ok(());
                    }
                }
                follow_up = self.outlet.next_follow_up() => match follow_up {
                    None => return Err(End::Left),
                    Some(FollowUp::Cancel(_)) => return Err(End::Cancelled),
                    Some(FollowUp::Interest(interest)) => {
                        want(&attachment, self.outlet, &interest).await?;
                    }
                    Some(said) => conversation.take(said).await,
                },
            }
        }
    }

    /// Waits for something without a connection, and notes what the edge wants meanwhile.
    async fn meanwhile<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, End> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                biased;
                () = self.served.stop.cancelled() => return Err(End::Stopped),
                done = &mut wait => return Ok(done),
                follow_up = self.outlet.next_follow_up() => match follow_up {
                    None => return Err(End::Left),
                    Some(FollowUp::Cancel(_)) => return Err(End::Cancelled),
                    Some(FollowUp::Interest(interest)) if self.early.len() < MAX_EARLY => {
                        self.early.push_back(interest);
                    }
                    Some(FollowUp::Interest(interest)) => {
                        let error = "too many changes wait for the connection";
                        done(self.outlet, interest.id, error).await?;
                    }
                    // Nobody is there to take it.
                    Some(FollowUp::Answer { .. } | FollowUp::Notification(_)) => {}
                },
            }
        }
    }

    async fn refuse_early(&mut self, cause: &str) -> Result<(), End> {
        while let Some(interest) = self.early.pop_front() {
            done(self.outlet, interest.id, cause).await?;
        }
        Ok(())
    }
}

/// Takes a change of interests; what cannot be taken is answered at once.
async fn want(attachment: &Attachment, outlet: &Outlet, interest: &Interest) -> Result<(), Left> {
    let taken = match &interest.change {
        Some(Change::Subscribe(uri)) => attachment.subscribe(interest.id, uri),
        Some(Change::Unsubscribe(uri)) => attachment.unsubscribe(interest.id, uri),
        Some(Change::LogLevel(level)) => match LogLevel::parse(level) {
            Some(level) => attachment.set_level(interest.id, level),
            None => return done(outlet, interest.id, "no such log level").await,
        },
        None => return done(outlet, interest.id, "no such interest").await,
    };
    match taken {
        Ok(()) => Ok(()),
        Err(error) => done(outlet, interest.id, &error.to_string()).await,
    }
}

/// Says that a change of interests failed.
async fn done(outlet: &Outlet, id: u64, cause: &str) -> Result<(), Left> {
    let error: Bytes = error_object(code::INVALID_PARAMS, cause, None);
    outlet.tell(Frame::InterestDone(InterestDone { id, error })).await
}

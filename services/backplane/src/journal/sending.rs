//! One request to the journal, and its repetition.

use std::time::Duration;

use bus::{Bus, BusError};
use bytes::Bytes;
use prost::Message;
use proto::internal::v1::{JournalReply, JournalRequest};
use tokio::time::Instant;

use super::queues::Answer;
use super::{JournalError, JournalOutcome};
use crate::hedge::{self, Patience};
use crate::subject;

/// First pause before a repetition; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// When another control-plane is asked: an entry that reaches two of them is recorded once, but it
/// is work for both.
const PATIENCE: Patience = Patience { first: Duration::from_millis(400), growth: 1.5 };

/// Growing pauses between attempts.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) const fn new() -> Self {
        Self(MIN_PAUSE)
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(MAX_PAUSE);
        pause
    }
}

/// Sends `request` until it is answered or `limit` is over. An entry that arrives twice is
/// recorded once, so that a request whose answer was lost is repeated too.
pub(super) async fn send(bus: &dyn Bus, request: &JournalRequest, limit: Duration) -> Answer {
    let payload = Bytes::from(request.encode_to_vec());
    let deadline = Instant::now() + limit;
    let mut pauses = Pauses::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = hedge::request(bus, &subject::journal(), &payload, left, PATIENCE).await;
        let refusal = match asked {
            Ok((answer, _)) => return read(answer, request.entries.len()),
            Err(refusal) => refusal,
        };
        let again = match refusal {
            BusError::NoResponders
            | BusError::Busy { .. }
            | BusError::Unavailable { .. }
            | BusError::Closed => true,
            BusError::TimedOut { .. } | BusError::TooLarge { .. } => false,
        };
        let pause = pauses.next();
        if !again || Instant::now() + pause >= deadline {
            return Err(JournalError::Unavailable(refusal));
        }
        tokio::time::sleep(pause).await;
    }
}

fn read(answer: Bytes, sent: usize) -> Answer {
    let reply = JournalReply::decode(answer).map_err(|_| JournalError::Malformed)?;
    if reply.outcomes.len() != sent {
        return Err(JournalError::Malformed);
    }
    let outcomes = reply.outcomes.into_iter().map(|outcome| match outcome.refused.as_str() {
        "" => JournalOutcome::Recorded,
        _ => JournalOutcome::Refused { code: outcome.refused, message: outcome.message },
    });
    Ok(outcomes.collect())
}

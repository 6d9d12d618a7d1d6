//! Requests that may be done more than once, of which one is enough.
//!
//! One of several that serve a subject may stand still without having left: what is given to it
//! has no answer for seconds. So another one is asked while the first is waited for.

use std::time::Duration;

use bus::{Bus, BusError, Subject};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};

/// Most times that the same is asked at once.
const MAX_ASKED: usize = 8;

/// When another one is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long the first one is waited for.
    pub(crate) first: Duration,
    /// By how much longer each next one.
    pub(crate) growth: f64,
}

/// The first answer, and when it was asked for.
///
/// # Errors
/// As of [`Bus::request`], once nobody is left who could answer within `limit`.
pub(crate) async fn request(
    bus: &dyn Bus,
    subject: &Subject,
    payload: &Bytes,
    limit: Duration,
    patience: Patience,
) -> Result<(Bytes, Instant), BusError> {
    let deadline = Instant::now() + limit;
    let ask = || {
        let sent = Instant::now();
        let left = deadline.saturating_duration_since(sent);
        let request = bus.request(subject, payload.clone(), left);
        async move { request.await.map(|answer| (answer, sent)) }
    };
    let mut asked = FuturesUnordered::new();
    asked.push(ask());
    let mut pause = patience.first;
    loop {
        tokio::select! {
            biased;
            Some(answer) = asked.next() => match answer {
                Err(_) if !asked.is_empty() => {}
                answer => return answer,
            },
            () = sleep(pause), if asked.len() < MAX_ASKED => {
                asked.push(ask());
                pause = pause.mul_f64(patience.growth);
            }
        }
    }
}

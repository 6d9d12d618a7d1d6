//! Calls that wait at another edge: asked for there as long as it lives, and taken over when it is
//! gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use backplane::exchange::OUTCOME_UNKNOWN;
use bytes::Bytes;
use domain::ErrorCode;
use domain::server::Isolation;
use proto::internal::v1::{ForwardedCall, ParkedCall, ServerRequest};
use tokio::time::{Instant, timeout_at};

use crate::call::{Running, Said, adopted, failure};
use crate::edge::Shared;
use crate::merged::Merged;
use crate::roaming::{Waiting, give_up_parked, share_parked, take_parked};
use crate::scope::Scope;

use super::caller::caller;
use super::dispatch::Asked;
use super::input::now_ms;
use super::parking::Parked;

/// How long a worker may take to see that the edge is gone that had a call.
const TAKE_OVER: Duration = Duration::from_secs(8);

/// Tells other edges of a call that waits here under a number.
pub(super) async fn share(shared: &Shared, number: [u8; 16]) {
    let Some(roaming) = &shared.roaming else { return };
    if let Some(record) = shared.stateless.parking.record(number) {
        share_parked(roaming, &number, record).await;
    }
}

/// Gives a call up for whoever is asked for it next.
pub(super) async fn give_up(shared: &Shared, number: [u8; 16], parked: Parked) {
    let Some(roaming) = &shared.roaming else { return };
    if let Some(record) = parked.record() {
        give_up_parked(roaming, &number, record).await;
        parked.running.leave();
    }
}

/// Looks for a call that does not wait here: gives the edge where it does. One whose edge is gone
/// waits here from then on. An error is the raw error.
pub(super) async fn fetch(
    asked: &Asked<'_>,
    merged: &Arc<Merged>,
    number: [u8; 16],
) -> Result<Option<String>, Bytes> {
    let shared = asked.shared;
    let Some(roaming) = &shared.roaming else { return Ok(None) };
    if shared.stateless.parking.has(number) {
        return Ok(None);
    }
    let record = match take_parked(roaming, &number).await {
        Ok(Waiting::At(home)) => return Ok(Some(home)),
        Ok(Waiting::Unknown) => return Ok(None),
        Ok(Waiting::Taken(record)) => *record,
        Err(error) => {
            tracing::warn!(%error, "it cannot be seen where a call waits");
            let message = "calls that wait at other edges cannot be found now: retry";
            return Err(failure(ErrorCode::Unavailable.reason(), message));
        }
    };
    take_over(asked, merged, number, record).await?;
    Ok(None)
}

/// Waits until the worker asks again what waits for an answer: from then on it takes answers. An
/// error is the raw error: the call is over.
async fn await_questions(running: &mut Running, asked: &[ServerRequest]) -> Result<(), Bytes> {
    let mut open: HashSet<&str> = asked.iter().map(|request| request.id.as_str()).collect();
    let until = Instant::now() + TAKE_OVER;
    while !open.is_empty() {
        match timeout_at(until, running.next()).await {
            Ok(Said::Request(request)) => drop(open.remove(request.id.as_str())),
            Ok(Said::Notification(_) | Said::Paused(_)) => {}
            Ok(Said::Answer(answer)) => {
                let message = "the call ended while it waited for input";
                let over = || failure(OUTCOME_UNKNOWN, message);
                return Err(answer.and_then(Result::err).unwrap_or_else(over));
            }
            // Some of them are not asked any more.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

async fn take_over(
    asked: &Asked<'_>,
    merged: &Arc<Merged>,
    number: [u8; 16],
    record: ParkedCall,
) -> Result<(), Bytes> {
    let (shared, grant) = (asked.shared, asked.grant);
    let server = match &grant.scope {
        Scope::Unified(_) => String::new(),
        Scope::Server(_, server) => server.to_string(),
    };
    let is_of = |call: &ForwardedCall| {
        call.api_key == grant.key.to_string()
            && record.project == grant.scope.project().as_str()
            && record.server == server
    };
    let Some(call) = record.call.clone().filter(is_of) else { return Ok(()) };
    if record.expires_at_ms <= now_ms(shared) {
        return Ok(());
    }
    let caller = caller(shared, grant, &asked.meta, Isolation::Shared, None);
    let merged = Arc::clone(merged);
    let mut running = adopted(shared, merged, caller, call, record.after_frame).await?;
    await_questions(&mut running, &record.asked).await?;
    let parked = Parked {
        running,
        asked: record.asked,
        key: grant.key,
        scope: grant.scope.clone(),
        expires_at_ms: record.expires_at_ms,
    };
    if shared.stateless.parking.put_back(number, parked).is_err() {
        let message = "too many calls wait for input: retry later";
        return Err(failure(ErrorCode::ResourceExhausted.reason(), message));
    }
    Ok(())
}

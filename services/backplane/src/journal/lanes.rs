//! The tasks that empty the queues.
//!
//! Two tasks serve callers that wait, so that one request is prepared while the other one is
//! being committed. One task ships what nobody waits for: one request at a time, so that entries
//! reach the log in the order in which they were queued. One task asks for a record that is away.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use domain::ErrorCode;
use proto::internal::v1::JournalRequest;
use tokio_util::sync::CancellationToken;

use super::queues::{Answer, Queues, Waiting};
use super::sending::{Pauses, send};
use super::{JournalError, JournalOutcome};

/// Requests under way for callers that wait.
const RECORDERS: usize = 2;

/// How long one attempt at shipping may take.
const SHIP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last attempt at shutdown may take, over all that is left.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a record that is away is asked for, and how long it may take to answer.
const PROBE_EVERY: Duration = Duration::from_millis(250);

pub(super) fn spawn(queues: &Arc<Queues>, bus: &Arc<dyn Bus>, shutdown: &CancellationToken) {
    for _ in 0..RECORDERS {
        tokio::spawn(record(Arc::clone(queues), Arc::clone(bus), shutdown.clone()));
    }
    tokio::spawn(ship(Arc::clone(queues), Arc::clone(bus), shutdown.clone()));
    tokio::spawn(probe(Arc::clone(queues), Arc::clone(bus), shutdown.clone()));
}

async fn record(queues: Arc<Queues>, bus: Arc<dyn Bus>, shutdown: CancellationToken) {
    while let Some(mut batch) = shutdown.run_until_cancelled(queues.next_waiting()).await {
        let mut request = JournalRequest::default();
        let counts: Vec<_> = batch.iter().map(|caller| caller.entries.len()).collect();
        for caller in &mut batch {
            request.entries.append(&mut caller.entries);
        }
        let answer = send(bus.as_ref(), &request, queues.config().record_timeout).await;
        queues.reach().learn(&answer);
        measure("record", request.entries.len(), answer.is_ok());
        share(&queues, batch, &counts, answer);
    }
    queues.stop();
}

/// Asks for the record while nobody answers, with nothing to record.
async fn probe(queues: Arc<Queues>, bus: Arc<dyn Bus>, shutdown: CancellationToken) {
    let probing = async {
        loop {
            queues.reach().away().await;
            tokio::time::sleep(PROBE_EVERY).await;
            let nothing = JournalRequest::default();
            queues.reach().learn(&send(bus.as_ref(), &nothing, PROBE_EVERY).await);
        }
    };
    let _: Option<()> = shutdown.run_until_cancelled(probing).await;
}

/// Gives each caller its part of the answer.
fn share(queues: &Queues, batch: Vec<Waiting>, counts: &[usize], answer: Answer) {
    let mut answer = answer.map(Vec::into_iter);
    for (caller, count) in batch.into_iter().zip(counts) {
        queues.answered(&caller.load);
        let part = match &mut answer {
            Ok(outcomes) => Ok(outcomes.by_ref().take(*count).collect()),
            Err(error) => Err(error.clone()),
        };
        // A caller that is gone needs no answer; its entries are recorded all the same.
        let _ = caller.reply.send(part);
    }
}

async fn ship(queues: Arc<Queues>, bus: Arc<dyn Bus>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(queues.buffered_ready()).await.is_some() {
        let (entries, load) = queues.take_buffered();
        let count = entries.len();
        let mut request = JournalRequest { entries };
        let shipping = ship_until_recorded(&queues, bus.as_ref(), &mut request);
        if shutdown.run_until_cancelled(shipping).await.is_none() {
            ship_last(&queues, bus.as_ref(), &mut request).await;
        }
        queues.shipped(count, &load);
    }
    queues.stop();
    let rest = async {
        loop {
            let (entries, load) = queues.take_buffered();
            if entries.is_empty() {
                break;
            }
            let count = entries.len();
            ship_last(&queues, bus.as_ref(), &mut JournalRequest { entries }).await;
            queues.shipped(count, &load);
        }
    };
    if tokio::time::timeout(LAST_TIMEOUT, rest).await.is_err() {
        tracing::error!("the record is away at shutdown, queued entries are lost");
    }
}

/// Repeats the request until nothing of it is left to be recorded.
async fn ship_until_recorded(queues: &Queues, bus: &dyn Bus, request: &mut JournalRequest) {
    let mut pauses = Pauses::new();
    loop {
        attempt(queues, bus, request, SHIP_TIMEOUT).await;
        if request.entries.is_empty() {
            return;
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

/// The one attempt that is left at shutdown.
async fn ship_last(queues: &Queues, bus: &dyn Bus, request: &mut JournalRequest) {
    attempt(queues, bus, request, LAST_TIMEOUT).await;
    if !request.entries.is_empty() {
        let lost = request.entries.len();
        metrics::counter!("mcp_orch_journal_lost_total").increment(lost as u64);
        tracing::error!(lost, "queued entries could not be recorded before shutdown");
    }
}

/// Sends the request once and leaves in it what is worth sending again.
async fn attempt(queues: &Queues, bus: &dyn Bus, request: &mut JournalRequest, limit: Duration) {
    let answer = send(bus, request, limit).await;
    queues.reach().learn(&answer);
    measure("ship", request.entries.len(), answer.is_ok());
    match answer {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            request.entries.retain(|_| outcomes.next().as_ref().is_some_and(is_worth_repeating));
        }
        Err(JournalError::Unavailable(cause)) => {
            tracing::warn!(%cause, "the record cannot be reached, queued entries wait");
        }
        Err(error) => {
            tracing::error!(%error, "queued entries were not taken and are sent again");
        }
    }
}

/// Whether the journal may take the entry later. What it refuses for good is reported and gone.
fn is_worth_repeating(outcome: &JournalOutcome) -> bool {
    let JournalOutcome::Refused { code, message } = outcome else {
        return false;
    };
    let later = [ErrorCode::ResourceExhausted, ErrorCode::Unavailable, ErrorCode::Conflict];
    if later.iter().any(|later| later.reason() == code) {
        return true;
    }
    metrics::counter!("mcp_orch_journal_lost_total").increment(1);
    tracing::error!(code, message, "the journal refused a queued entry");
    false
}

fn measure(lane: &'static str, entries: usize, answered: bool) {
    let outcome = if answered { "answered" } else { "failed" };
    metrics::counter!("mcp_orch_journal_requests_total", "lane" => lane, "outcome" => outcome)
        .increment(1);
    metrics::counter!("mcp_orch_journal_entries_total", "lane" => lane, "outcome" => outcome)
        .increment(entries as u64);
}

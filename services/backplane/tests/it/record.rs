//! A journal's other end: takes requests, keeps entries by their event ids, answers.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus::{Bus, InProcessBus};
use prost::Message;
use proto::internal::v1::{JournalEntry, JournalOutcome, JournalReply, JournalRequest};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How the record answers an entry: empty for taken, else the reason.
pub(crate) type Verdict = fn(&JournalEntry, usize) -> &'static str;

/// What is recorded, and how it came.
#[derive(Default)]
pub(crate) struct Record {
    /// Event ids in the order of their recording, each once.
    recorded: Mutex<Vec<String>>,
    /// Entries of each request.
    requests: Mutex<Vec<usize>>,
    /// Requests that are recorded and not answered, to come.
    unanswered: AtomicUsize,
}

impl Record {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.recorded.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> Vec<usize> {
        self.requests.lock().unwrap().clone()
    }

    /// The next `count` requests are recorded, and their answers lost.
    pub(crate) fn lose_answers(&self, count: usize) {
        self.unanswered.store(count, Ordering::SeqCst);
    }

    fn take(&self, request: &JournalRequest, verdict: Verdict) -> JournalReply {
        let attempt = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.entries.len());
            requests.len()
        };
        let outcomes = request.entries.iter().map(|entry| {
            let refused = verdict(entry, attempt).to_owned();
            let mut recorded = self.recorded.lock().unwrap();
            if refused.is_empty() && !recorded.contains(&entry.event_id) {
                recorded.push(entry.event_id.clone());
            }
            JournalOutcome { message: refused.to_lowercase(), refused }
        });
        JournalReply { outcomes: outcomes.collect() }
    }
}

/// Takes everything.
pub(crate) fn takes(_: &JournalEntry, _: usize) -> &'static str {
    ""
}

/// Serves the journal until the task is aborted. Each answer takes a permit of `gate`.
pub(crate) async fn serve(
    bus: &InProcessBus,
    record: &Arc<Record>,
    gate: &Arc<Semaphore>,
    verdict: Verdict,
) -> JoinHandle<()> {
    let mut server = bus.serve(backplane::subject::journal().into(), 16).await.unwrap();
    let (record, gate) = (Arc::clone(record), Arc::clone(gate));
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let request = JournalRequest::decode(incoming.first).unwrap();
            let (record, gate) = (Arc::clone(&record), Arc::clone(&gate));
            tokio::spawn(async move {
                let reply = record.take(&request, verdict);
                gate.acquire().await.unwrap().forget();
                let lost =
                    record.unanswered.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    });
                if lost.is_err() {
                    let _ = incoming.exchange.reply(reply.encode_to_vec().into()).await;
                    incoming.exchange.finish();
                }
            });
        }
    })
}

/// Never holds an answer back.
pub(crate) fn open_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(Semaphore::MAX_PERMITS))
}

//! What one replica wrote, every other one shows: before a request reads, the views of the
//! replica at hand catch up with the log.
//!
//! Who asks at the same time shares one look at the log's head, but none that began before the
//! question: so a read that begins after a write was answered sees it. While the store does not
//! answer nobody waits for it: what is there is read, and the answer says that it may be stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use event_store::{EventStore, Position};
use http::HeaderValue;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::views::Views;

/// In an answer: what it says may be older than the log. Its value is `true`.
pub const STALE_HEADER: &str = "mcp-orch-stale";

/// How long the store may take to say where its head is.
const HEAD_LIMIT: Duration = Duration::from_millis(500);
/// How long the views may take to get there.
const VIEWS_LIMIT: Duration = Duration::from_secs(2);

/// How old what is read may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It has everything that was answered before the question.
    Fresh,
    /// It may lack something.
    Stale,
}

/// See the module.
pub(crate) struct Freshness {
    views: Views,
    /// None where there is no other process: the views have what was answered.
    rounds: Option<Arc<Rounds>>,
}

/// Looks at the head, one at a time.
struct Rounds {
    /// How many have begun.
    begun: AtomicU64,
    wanted: Notify,
    answer: watch::Sender<Answer>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// Of which round it is.
    round: u64,
    /// None when the store did not answer.
    head: Option<Position>,
}

impl Freshness {
    /// Over these views; `cluster`, when other processes write.
    pub(crate) fn new(views: Views, cluster: bool) -> Self {
        let rounds = cluster.then(|| {
            let (begun, wanted) = (AtomicU64::new(0), Notify::new());
            // Taken as answering until it does not.
            let (answer, _) = watch::channel(Answer { round: 0, head: Some(Position::START) });
            Arc::new(Rounds { begun, wanted, answer })
        });
        Self { views, rounds }
    }

    /// Looks at the head whenever somebody wants to know, until `shutdown`.
    pub(crate) fn keep(
        &self,
        store: Arc<dyn EventStore>,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let rounds = self.rounds.clone();
        async move {
            let Some(rounds) = rounds else { return };
            shutdown.run_until_cancelled(rounds.run(&*store)).await;
        }
    }

    /// Waits until the views have everything that was answered before now.
    pub(crate) async fn catch_up(&self) -> Reading {
        let Some(rounds) = &self.rounds else { return Reading::Fresh };
        let Some(head) = rounds.head().await else { return Reading::Stale };
        match tokio::time::timeout(VIEWS_LIMIT, self.views.reached(head)).await {
            Ok(Ok(())) => Reading::Fresh,
            _ => Reading::Stale,
        }
    }
}

impl Rounds {
    async fn run(&self, store: &dyn EventStore) {
        loop {
            self.wanted.notified().await;
            // Who asks from here on gets another round.
            let round = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let head = match tokio::time::timeout(HEAD_LIMIT, store.settled()).await {
                Ok(Ok(head)) => Some(head),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the head of the log is not known");
                    None
                }
                Err(_) => None,
            };
            self.answer.send_replace(Answer { round, head });
        }
    }

    /// Where the log ends, at a moment after the question.
    async fn head(&self) -> Option<Position> {
        let mut answers = self.answer.subscribe();
        let needed = self.begun.load(Ordering::SeqCst) + 1;
        self.wanted.notify_one();
        // When it did not answer a moment ago, the next round finds out whether it does again.
        answers.borrow().head?;
        let answer = answers.wait_for(|answer| answer.round >= needed);
        let answer = tokio::time::timeout(2 * HEAD_LIMIT, answer).await;
        answer.ok()?.ok()?.head
    }
}

/// Lets a request through when the views have caught up, and says in the answer when they have
/// not.
pub(crate) async fn fresh(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let reading = app.freshness.catch_up().await;
    let mut response = next.run(request).await;
    if reading == Reading::Stale {
        metrics::counter!("mcp_orch_stale_reads_total").increment(1);
        response.headers_mut().insert(STALE_HEADER, HeaderValue::from_static("true"));
    }
    response
}

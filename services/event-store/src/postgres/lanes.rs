//! One lane for each tenant that appends now: what comes while a group is committed is the next
//! group. So the cost of a commit is shared by those who wait, and tenants do not wait for each
//! other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::TenantId;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::fresh::Written;
use super::group::{Answer, Committer, Outcome, away};
use super::open::{Pools, PostgresConfig};
use crate::append::Append;
use crate::error::{AppendError, Cause};

/// A group is closed when it has this many events,
pub(super) const GROUP_EVENTS: usize = 1_024;
/// or this many bytes of payloads and bodies. The last request of a group may go beyond.
pub(super) const GROUP_BYTES: usize = 16 * 1024 * 1024;
/// Most requests that wait in one lane,
const LANE_REQUESTS: usize = 8_192;
/// and most bytes in all lanes together; what would go beyond is refused.
const WAITING_BYTES: usize = 256 * 1024 * 1024;

/// The lanes of all tenants.
pub(super) struct Lanes {
    waiting: Mutex<Waiting>,
    committer: Committer,
    /// As many as there are connections to append with.
    permits: Semaphore,
    most: u32,
    /// When the database was last found away, and why.
    away: Mutex<Option<(Instant, Cause)>>,
    /// Rung after each commit, for the sequencer.
    appended: Arc<Notify>,
}

#[derive(Default)]
struct Waiting {
    /// A tenant is in here while a task serves its lane.
    lanes: HashMap<TenantId, VecDeque<Request>>,
    bytes: usize,
    closed: bool,
}

struct Request {
    appends: Vec<Append>,
    events: usize,
    bytes: usize,
    answer: oneshot::Sender<Vec<Answer>>,
}

impl Lanes {
    pub(super) fn start(
        config: &PostgresConfig,
        pools: &Pools,
        appended: Arc<Notify>,
    ) -> Arc<Self> {
        let most = config.writers.max(1);
        Arc::new(Self {
            waiting: Mutex::default(),
            committer: Committer {
                pools: pools.clone(),
                clock: Arc::clone(&config.clock),
                hook: config.hook.clone(),
                written: Written::default(),
            },
            permits: Semaphore::new(most as usize),
            most,
            away: Mutex::default(),
            appended,
        })
    }

    /// Appends of one tenant that are committed together, and answered in their order.
    pub(super) async fn append(
        self: &Arc<Self>,
        tenant: TenantId,
        appends: Vec<Append>,
    ) -> Vec<Answer> {
        let size = appends.len();
        let answered = match self.queue(tenant, appends) {
            Ok(answered) => answered,
            Err(refused) => return vec![Err(refused); size],
        };
        let unknown = AppendError::OutcomeUnknown { cause: None };
        answered.await.unwrap_or_else(|_| vec![Err(unknown); size])
    }

    /// Refuses what comes from now on and waits for what was begun.
    pub(super) async fn close(&self) {
        self.waiting().closed = true;
        // Each running group has one; an error says that this was done before.
        if self.permits.acquire_many(self.most).await.is_ok() {
            self.permits.close();
        }
    }

    fn queue(
        self: &Arc<Self>,
        tenant: TenantId,
        appends: Vec<Append>,
    ) -> Result<oneshot::Receiver<Vec<Answer>>, AppendError> {
        let events = appends.iter().map(|append| append.events.len()).sum();
        let bytes = appends.iter().map(Append::weight).sum();
        let (answer, answered) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(unavailable("it is closed"));
        }
        if waiting.bytes + bytes > WAITING_BYTES {
            return Err(unavailable("too many bytes wait to be appended"));
        }
        let begins = !waiting.lanes.contains_key(&tenant);
        let lane = waiting.lanes.entry(tenant).or_default();
        if lane.len() >= LANE_REQUESTS {
            return Err(unavailable("too many appends of the tenant wait"));
        }
        lane.push_back(Request { appends, events, bytes, answer });
        waiting.bytes += bytes;
        drop(waiting);
        if begins {
            tokio::spawn(Arc::clone(self).serve(tenant));
        }
        Ok(answered)
    }

    /// Commits group after group until nothing waits.
    async fn serve(self: Arc<Self>, tenant: TenantId) {
        loop {
            let began = Instant::now();
            let Ok(permit) = self.permits.acquire().await else {
                self.refuse_all(tenant, &unavailable("it is closed"));
                self.waiting().lanes.remove(&tenant);
                return;
            };
            if let Some(cause) = self.away_since(began) {
                // Others found out while this lane waited.
                self.refuse_all(tenant, &away(&cause));
            }
            let Some(group) = self.next_group(tenant) else {
                return;
            };
            let mut senders = Vec::with_capacity(group.len());
            let mut appends = Vec::new();
            for request in group {
                senders.push((request.appends.len(), request.answer));
                appends.extend(request.appends);
            }
            let outcome = self.committer.commit(tenant, appends).await;
            drop(permit);
            match outcome {
                Outcome::Answered(answers) => {
                    if answers.iter().any(Result::is_ok) {
                        self.appended.notify_one();
                    }
                    answer(senders, answers.into_iter());
                }
                Outcome::Away(cause) => {
                    answer(senders, std::iter::repeat_with(|| Err(away(&cause))));
                    self.note_away(tenant, cause);
                }
                Outcome::Lost(cause) => {
                    let unknown = AppendError::OutcomeUnknown { cause: Some(Arc::clone(&cause)) };
                    answer(senders, std::iter::repeat_with(|| Err(unknown.clone())));
                    self.note_away(tenant, cause);
                }
            }
        }
    }

    /// What waits, up to the limits of a group; `None` ends the lane.
    fn next_group(&self, tenant: TenantId) -> Option<Vec<Request>> {
        let mut waiting = self.waiting();
        let lane = waiting.lanes.get_mut(&tenant)?;
        let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
        while events < GROUP_EVENTS
            && bytes < GROUP_BYTES
            && let Some(request) = lane.pop_front()
        {
            events += request.events;
            bytes += request.bytes;
            group.push(request);
        }
        waiting.bytes -= bytes;
        if group.is_empty() {
            waiting.lanes.remove(&tenant);
            return None;
        }
        Some(group)
    }

    fn note_away(&self, tenant: TenantId, cause: Cause) {
        self.refuse_all(tenant, &away(&cause));
        let mut last = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Instant::now(), cause));
    }

    /// Refuses everything that waits in the lane: it would wait for nothing.
    fn refuse_all(&self, tenant: TenantId, error: &AppendError) {
        let mut waiting = self.waiting();
        let lane = waiting.lanes.get_mut(&tenant);
        let requests: Vec<_> = lane.map(|lane| lane.drain(..).collect()).unwrap_or_default();
        waiting.bytes -= requests.iter().map(|request| request.bytes).sum::<usize>();
        drop(waiting);
        for request in requests {
            let answers = vec![Err(error.clone()); request.appends.len()];
            // Whoever asked may be gone.
            let _ = request.answer.send(answers);
        }
    }

    /// Why the database was found away at `began` or later.
    fn away_since(&self, began: Instant) -> Option<Cause> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.as_ref().filter(|(at, _)| *at >= began).map(|(_, cause)| Arc::clone(cause))
    }

    /// A panic elsewhere leaves the lanes whole: no step on them can fail.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(reason: &'static str) -> AppendError {
    AppendError::Unavailable { reason, cause: None }
}

fn answer(
    senders: Vec<(usize, oneshot::Sender<Vec<Answer>>)>,
    mut answers: impl Iterator<Item = Answer>,
) {
    for (size, sender) in senders {
        // Whoever asked may be gone; the append stands.
        let _ = sender.send(answers.by_ref().take(size).collect());
    }
}

//! One group of appends of one tenant: decided under the locks of its streams, written, and
//! committed together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::TenantId;
use sqlx::{Postgres, Transaction};

use super::facts::{self, Locked};
use super::fresh::{self, Fresh, Written};
use super::insert;
use super::open::Pools;
use super::session::{self, Trouble, is_rolled_back};
use crate::admission::{Admission, Admitted, Facts};
use crate::append::{Append, Appended};
use crate::error::{AppendError, Cause};
use crate::hook::CommitHook;
use crate::port::Clock;

/// How often a group is tried that others stand in the way of.
const ATTEMPTS: usize = 8;
/// A group is not tried again after this long, while others stand in the way
const TRYING: Duration = Duration::from_secs(3);
/// and while the database is away: the caller must learn soon that nothing works.
const RECONNECTING: Duration = Duration::from_millis(900);

pub(super) type Answer = Result<Appended, AppendError>;

/// What became of a group.
pub(super) enum Outcome {
    /// Each append has its answer.
    Answered(Vec<Answer>),
    /// The database is away: nothing was written, and the next group need not try.
    Away(Cause),
    /// The database is away since the group was sent: it may have been written.
    Lost(Cause),
}

/// Why a group was not committed.
enum Failure {
    /// Before the commit: nothing was written.
    Before(Trouble),
    /// In the commit: it may have been written.
    InCommit(Cause),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Before(trouble)
    }
}

/// What commits groups.
pub(super) struct Committer {
    pub(super) pools: Pools,
    pub(super) clock: Clock,
    pub(super) hook: Option<Arc<dyn CommitHook>>,
    pub(super) written: Written,
}

impl Committer {
    /// Commits the appends, again where others stood in the way. What the database refuses is
    /// tried one by one, so that it does not refuse its neighbours.
    pub(super) async fn commit(&self, tenant: TenantId, appends: Vec<Append>) -> Outcome {
        let mut sent = None;
        let may_be_fresh = self.hook.is_none() && self.written.may_be_fresh(&appends);
        self.written.note(&appends);
        if may_be_fresh {
            let now = (self.clock)();
            let write = &self.pools.write;
            let patience = self.pools.patience;
            let append = fresh::append(write, tenant, &appends, now);
            match tokio::time::timeout(patience, append).await {
                Ok(Fresh::Written(answers)) => return Outcome::Answered(answers),
                Ok(Fresh::Refused) => {}
                Ok(Fresh::Away(cause)) => return Outcome::Away(cause),
                // Its outcome is found out by the same event ids.
                Ok(Fresh::Unknown(cause)) => sent = Some(cause),
                Err(late) => return Outcome::Lost(Arc::new(late)),
            }
        }
        match self.decided(tenant, appends, sent.is_some()).await {
            Outcome::Away(cause) if sent.is_some() => Outcome::Lost(cause),
            outcome => outcome,
        }
    }

    /// As [`commit`](Self::commit), with everything looked up. `sent`: it may be there already.
    async fn decided(&self, tenant: TenantId, appends: Vec<Append>, sent: bool) -> Outcome {
        match self.commit_whole(tenant, &appends, sent).await {
            Ok(answers) => Outcome::Answered(answers),
            Err(Failure::InCommit(cause)) => {
                tracing::error!(error = %cause, "a commit of the event store has no outcome");
                let unknown = AppendError::OutcomeUnknown { cause: Some(cause) };
                Outcome::Answered(vec![Err(unknown); appends.len()])
            }
            Err(Failure::Before(Trouble::Away(cause))) => {
                tracing::error!(error = %cause, "the event store is away");
                Outcome::Away(cause)
            }
            Err(Failure::Before(Trouble::Refused(_))) if appends.len() > 1 => {
                Outcome::Answered(self.commit_apart(tenant, appends, sent).await)
            }
            Err(Failure::Before(trouble)) => {
                tracing::error!(error = %trouble.cause(), "the event store refused a group");
                Outcome::Answered(vec![Err(ended(&trouble, sent)); appends.len()])
            }
        }
    }

    async fn commit_apart(
        &self,
        tenant: TenantId,
        appends: Vec<Append>,
        sent: bool,
    ) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(appends.len());
        for append in appends {
            answers.push(match self.commit_whole(tenant, &[append], sent).await {
                Ok(mut answer) => {
                    answer.pop().unwrap_or(Err(AppendError::OutcomeUnknown { cause: None }))
                }
                Err(Failure::InCommit(cause)) => {
                    Err(AppendError::OutcomeUnknown { cause: Some(cause) })
                }
                Err(Failure::Before(trouble)) => {
                    tracing::error!(error = %trouble.cause(), "the event store refused an append");
                    Err(ended(&trouble, sent))
                }
            });
        }
        answers
    }

    async fn commit_whole(
        &self,
        tenant: TenantId,
        appends: &[Append],
        sent: bool,
    ) -> Result<Vec<Answer>, Failure> {
        let began = Instant::now();
        let mut attempt = 1;
        loop {
            let trouble = match self.attempt(tenant, appends, sent || attempt > 1).await {
                Err(Failure::Before(trouble @ (Trouble::Again(_) | Trouble::Away(_)))) => trouble,
                done => return done,
            };
            let enough = if matches!(trouble, Trouble::Away(_)) { RECONNECTING } else { TRYING };
            if attempt == ATTEMPTS || began.elapsed() > enough {
                return Err(Failure::Before(trouble));
            }
            tracing::debug!(attempt, error = %trouble.cause(), "a group of appends is tried again");
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        tenant: TenantId,
        appends: &[Append],
        thorough: bool,
    ) -> Result<Vec<Answer>, Failure> {
        let patience = self.pools.patience;
        let prepared = tokio::time::timeout(patience, self.prepare(tenant, appends, thorough));
        let (transaction, answers, events) = prepared.await.map_err(Trouble::from)??;
        let Some(transaction) = transaction else {
            return Ok(answers);
        };
        if let Some(hook) = &self.hook {
            hook.before_commit(events).await;
        }
        match tokio::time::timeout(patience, transaction.commit()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if is_rolled_back(&error) => return Err(Trouble::from(error).into()),
            Ok(Err(error)) => return Err(Failure::InCommit(Arc::new(error))),
            Err(late) => return Err(Failure::InCommit(Arc::new(late))),
        }
        if let Some(hook) = &self.hook {
            hook.after_commit(events).await;
        }
        Ok(answers)
    }

    /// Everything but the commit. Without a transaction there is nothing to commit.
    async fn prepare(
        &self,
        tenant: TenantId,
        appends: &[Append],
        thorough: bool,
    ) -> Result<(Option<Transaction<'static, Postgres>>, Vec<Answer>, usize), Trouble> {
        let mut transaction = session::begin(&self.pools.write, tenant).await?;
        let locked = facts::lock(&mut transaction, tenant, appends).await?;
        let Locked { versions, .. } = &locked;
        let mut facts = facts::load(&mut transaction, tenant, appends, versions, thorough).await?;
        let now = (self.clock)();
        let (answers, admitted) = decide(&mut facts, appends, now);
        if admitted.is_empty() {
            transaction.rollback().await?;
            return Ok((None, answers, 0));
        }
        let versions = &facts.versions;
        insert::write(&mut transaction, tenant, &admitted, &locked, versions, now).await?;
        let events = admitted.iter().map(|one| one.events.len()).sum();
        Ok((Some(transaction), answers, events))
    }
}

/// Decides each append in order: the answer to it, and what is to be written.
pub(super) fn decide(
    facts: &mut Facts,
    appends: &[Append],
    now: domain::Timestamp,
) -> (Vec<Answer>, Vec<Admitted>) {
    let mut admitted = Vec::new();
    let mut decide_one = |append: &Append| match facts.admit(append.clone(), now)? {
        Admission::Former(appended) => Ok(appended),
        Admission::New(new) => {
            let appended = new.appended.clone();
            admitted.push(*new);
            Ok(appended)
        }
    };
    let answers = appends.iter().map(&mut decide_one).collect();
    (answers, admitted)
}

/// The answer after a failure before the commit; what was sent before may be there.
fn ended(trouble: &Trouble, sent: bool) -> AppendError {
    if sent {
        return AppendError::OutcomeUnknown { cause: Some(Arc::clone(trouble.cause())) };
    }
    refused(trouble)
}

fn refused(trouble: &Trouble) -> AppendError {
    let reason = match trouble {
        Trouble::Again(_) => "others write the same at the same time",
        Trouble::Away(_) => "the database is away",
        Trouble::Refused(_) => "the database refused the write",
    };
    AppendError::Unavailable { reason, cause: Some(Arc::clone(trouble.cause())) }
}

/// The answer to who waited for a database that is away.
pub(super) fn away(cause: &Cause) -> AppendError {
    refused(&Trouble::Away(Arc::clone(cause)))
}

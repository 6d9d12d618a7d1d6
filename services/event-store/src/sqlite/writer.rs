//! The one writer: takes what is queued, commits it together, then answers.
//!
//! Nobody is answered before the commit, and subscribers see a commit in the order of commits.
//! After a failure nothing in memory is believed: the end of the log is read again.

use std::fs::File;
use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::newest::Newest;
use super::open::{self, SqliteConfig};
use super::upkeep::Upkeep;
use super::{facts, insert, leases};
use crate::admission::{Admission, Admitted, Facts, Heads};
use crate::append::{Append, Appended};
use crate::error::{AppendError, Cause, StoreError};
use crate::lease::{Claim, Lease, LeaseBook};
use crate::recorded::Recorded;
use crate::subscription::Commit;

/// A group is closed when it has this many events,
pub(super) const GROUP_EVENTS: usize = 1_024;
/// or this many bytes of payloads and bodies. The last request of a group may go beyond.
pub(super) const GROUP_BYTES: usize = 16 * 1024 * 1024;
/// Deletions in a group.
const GROUP_UPKEEP: usize = 16;

/// Requests about leases in a group.
const GROUP_LEASES: usize = 64;

/// The answers to a request's appends, in their order.
type Answers = Vec<Result<Appended, AppendError>>;

/// What the writer is asked for.
pub(super) enum Request {
    Append { batches: Vec<Append>, answer: oneshot::Sender<Answers> },
    Upkeep { upkeep: Upkeep, answer: oneshot::Sender<Result<u64, StoreError>> },
    Leases(LeaseRequest),
    Close { answer: oneshot::Sender<()> },
}

/// What the writer, which keeps the leases, is asked about them.
pub(super) enum LeaseRequest {
    Claim {
        claims: Vec<Claim>,
        answer: oneshot::Sender<Result<Vec<Option<Lease>>, StoreError>>,
    },
    Release {
        holder: String,
        held: Vec<(String, u64)>,
        answer: oneshot::Sender<Result<(), StoreError>>,
    },
    List {
        prefix: String,
        answer: oneshot::Sender<Result<Vec<Lease>, StoreError>>,
    },
}

/// What is carried out together.
#[derive(Default)]
struct Group {
    appends: Vec<(Vec<Append>, oneshot::Sender<Answers>)>,
    upkeep: Vec<(Upkeep, oneshot::Sender<Result<u64, StoreError>>)>,
    leases: Vec<LeaseRequest>,
    close: Option<oneshot::Sender<()>>,
    events: usize,
    bytes: usize,
}

impl Group {
    fn add(&mut self, request: Request) {
        match request {
            Request::Append { batches, answer } => {
                self.events += batches.iter().map(|append| append.events.len()).sum::<usize>();
                self.bytes += batches.iter().map(Append::weight).sum::<usize>();
                self.appends.push((batches, answer));
            }
            Request::Upkeep { upkeep, answer } => self.upkeep.push((upkeep, answer)),
            Request::Leases(request) => self.leases.push(request),
            Request::Close { answer } => self.close = Some(answer),
        }
    }

    fn is_full(&self) -> bool {
        self.events >= GROUP_EVENTS
            || self.bytes >= GROUP_BYTES
            || self.upkeep.len() >= GROUP_UPKEEP
            || self.leases.len() >= GROUP_LEASES
            || self.close.is_some()
    }
}

/// A group that was not committed.
enum Failure {
    /// Before the commit: nothing was written.
    Before(Cause),
    /// In the commit: it may have been written.
    InCommit(Cause),
}

impl Failure {
    fn answer(&self) -> AppendError {
        match self {
            Self::Before(cause) => AppendError::Unavailable {
                reason: "the database refused the write",
                cause: Some(Arc::clone(cause)),
            },
            Self::InCommit(cause) => AppendError::OutcomeUnknown { cause: Some(Arc::clone(cause)) },
        }
    }
}

/// The owner of the connection that writes.
pub(super) struct Writer {
    config: SqliteConfig,
    /// `None` after it failed: the next group opens it again.
    connection: Option<SqliteConnection>,
    /// `None` when the end of the log must be read.
    heads: Option<Heads>,
    /// Empty when the end of the log must be read.
    newest: Newest,
    /// `None` until it is asked for: the file has the epochs.
    leases: Option<LeaseBook>,
    live: broadcast::Sender<Commit>,
    /// Held as long as the writer lives, last to be dropped.
    _lock: File,
}

impl Writer {
    pub(super) fn new(
        config: SqliteConfig,
        connection: SqliteConnection,
        live: broadcast::Sender<Commit>,
        lock: File,
    ) -> Self {
        Self {
            config,
            connection: Some(connection),
            heads: None,
            newest: Newest::default(),
            leases: None,
            live,
            _lock: lock,
        }
    }

    /// Runs until it is asked to close or every handle of the store is dropped.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closing = Vec::new();
        while let Some(first) = requests.recv().await {
            let mut group = Group::default();
            group.add(first);
            while !group.is_full()
                && let Ok(request) = requests.try_recv()
            {
                group.add(request);
            }
            if let Some(answer) = group.close.take() {
                // What is queued already is still received.
                requests.close();
                closing.push(answer);
            }
            self.append(group.appends).await;
            for (upkeep, answer) in group.upkeep {
                // Whoever asked may be gone.
                let _ = answer.send(self.upkeep(&upkeep).await);
            }
            for request in group.leases {
                self.answer_leases(request).await;
            }
        }
        self.finish().await;
        for answer in closing {
            let _ = answer.send(());
        }
    }

    /// Closes the connection, which moves the write-ahead log into the file, and then gives
    /// the lock back.
    async fn finish(self) {
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the event store did not close cleanly; nothing is lost");
        }
    }

    async fn append(&mut self, requests: Vec<(Vec<Append>, oneshot::Sender<Answers>)>) {
        if requests.is_empty() {
            return;
        }
        let (batches, senders): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        let answers = match self.commit(batches).await {
            Ok(answers) => answers,
            Err(failure) => {
                self.recover(&failure).await;
                sizes.iter().map(|size| vec![Err(failure.answer()); *size]).collect()
            }
        };
        for (sender, answers) in senders.into_iter().zip(answers) {
            // Whoever asked may be gone; the append stands.
            let _ = sender.send(answers);
        }
    }

    /// Decides and writes the appends in one transaction. The answers are as grouped as the
    /// appends were.
    async fn commit(&mut self, batches: Vec<Vec<Append>>) -> Result<Vec<Answers>, Failure> {
        let heads = self.heads.take();
        let mut newest = std::mem::take(&mut self.newest);
        let connection = self.connection().await?;
        execute(connection, "BEGIN IMMEDIATE").await.map_err(before)?;
        let heads = match heads {
            Some(heads) => heads,
            None => facts::heads(connection).await.map_err(before)?,
        };
        let named: Vec<_> = batches.iter().flatten().collect();
        let mut facts =
            facts::load(connection, heads, &mut newest, &named).await.map_err(before)?;
        if named.iter().any(|append| append.fence.is_some()) {
            let book = self.leases().await.map_err(before)?;
            let fences = named.iter().filter_map(|append| append.fence.as_ref());
            facts.epochs =
                fences.map(|fence| (fence.lease.clone(), book.epoch(&fence.lease))).collect();
        }
        let now = (self.config.clock)();
        let (answers, admitted) = decide(&mut facts, batches, now);
        if admitted.is_empty() {
            // Nothing to write, so nothing to sync.
            execute(self.connection().await?, "ROLLBACK").await.map_err(before)?;
            self.heads = Some(facts.heads);
            self.newest = newest;
            return Ok(answers);
        }
        insert::write(self.connection().await?, &admitted).await.map_err(before)?;
        let events: Vec<Arc<Recorded>> = admitted.into_iter().flat_map(|one| one.events).collect();
        if let Some(hook) = &self.config.hook {
            hook.before_commit(events.len()).await;
        }
        let commit = execute(self.connection().await?, "COMMIT").await;
        commit.map_err(|error| Failure::InCommit(Arc::new(error)))?;
        if let Some(hook) = &self.config.hook {
            hook.after_commit(events.len()).await;
        }
        events.iter().for_each(|event| newest.note(event));
        self.heads = Some(facts.heads);
        self.newest = newest;
        // An error says that nobody follows.
        let _ = self.live.send(events.into());
        Ok(answers)
    }

    async fn upkeep(&mut self, upkeep: &Upkeep) -> Result<u64, StoreError> {
        let unavailable = |cause| StoreError::Unavailable {
            reason: "the database refused the deletion",
            cause: Some(cause),
        };
        let done = async {
            let connection = self.connection().await?;
            execute(connection, "BEGIN IMMEDIATE").await.map_err(before)?;
            let deleted = upkeep.run(connection).await.map_err(before)?;
            execute(connection, "COMMIT").await.map_err(before)?;
            Ok(deleted)
        };
        match done.await {
            Ok(deleted) => Ok(deleted),
            Err(failure) => {
                self.recover(&failure).await;
                let (Failure::Before(cause) | Failure::InCommit(cause)) = failure;
                Err(unavailable(cause))
            }
        }
    }

    async fn answer_leases(&mut self, request: LeaseRequest) {
        // Whoever asked may be gone.
        match request {
            LeaseRequest::Claim { claims, answer } => {
                let _ = answer.send(self.claim(&claims).await);
            }
            LeaseRequest::Release { holder, held, answer } => {
                let released = self.leases().await.map(|book| book.release(&holder, &held));
                let _ = answer.send(released);
            }
            LeaseRequest::List { prefix, answer } => {
                let now = (self.config.clock)();
                let _ = answer.send(self.leases().await.map(|book| book.list(&prefix, now)));
            }
        }
    }

    async fn claim(&mut self, claims: &[Claim]) -> Result<Vec<Option<Lease>>, StoreError> {
        let now = (self.config.clock)();
        let claimed = leases::decide(self.leases().await?, claims, now);
        if !claimed.taken.is_empty() {
            let done = async {
                let connection = self.connection().await?;
                execute(connection, "BEGIN IMMEDIATE").await.map_err(before)?;
                leases::write(connection, &claimed.taken).await.map_err(before)?;
                execute(connection, "COMMIT").await.map_err(before)
            };
            if let Err(failure) = done.await {
                self.recover(&failure).await;
                // What is in the file now is read again.
                self.leases = None;
                let (Failure::Before(cause) | Failure::InCommit(cause)) = failure;
                let reason = "the database refused the lease";
                return Err(StoreError::Unavailable { reason, cause: Some(cause) });
            }
        }
        self.leases = Some(claimed.book);
        Ok(claimed.answers)
    }

    async fn leases(&mut self) -> Result<&mut LeaseBook, StoreError> {
        let closed = |failure| {
            let (Failure::Before(cause) | Failure::InCommit(cause)) = failure;
            let reason = "the database cannot be opened";
            StoreError::Unavailable { reason, cause: Some(cause) }
        };
        self.connection().await.map_err(closed)?;
        match &mut self.connection {
            Some(connection) => book(&mut self.leases, connection).await,
            None => Err(StoreError::Closed),
        }
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, Failure> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => open::writer_connection(&self.config.path).await.map_err(before)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Ends the transaction; where that fails, the connection is given up.
    async fn recover(&mut self, failure: &Failure) {
        let (Failure::Before(cause) | Failure::InCommit(cause)) = failure;
        tracing::error!(error = %cause, "the event store could not commit a group");
        self.heads = None;
        self.newest = Newest::default();
        let Some(connection) = &mut self.connection else {
            return;
        };
        // SQLite may have ended the transaction by itself, and then refuses to end it again.
        let _ = execute(connection, "ROLLBACK").await;
        if execute(connection, "BEGIN").await.is_err()
            || execute(connection, "ROLLBACK").await.is_err()
        {
            self.connection = None;
        }
    }
}

/// The book, read from the file where it is not known.
async fn book<'a>(
    known: &'a mut Option<LeaseBook>,
    connection: &mut SqliteConnection,
) -> Result<&'a mut LeaseBook, StoreError> {
    let book = match known.take() {
        Some(book) => book,
        None => leases::load(connection).await?,
    };
    Ok(known.insert(book))
}

/// Decides each append in order: the answer to it, and what is to be written.
fn decide(
    facts: &mut Facts,
    batches: Vec<Vec<Append>>,
    now: domain::Timestamp,
) -> (Vec<Answers>, Vec<Admitted>) {
    let mut admitted = Vec::new();
    let mut decide_one = |append| match facts.admit(append, now)? {
        Admission::Former(appended) => Ok(appended),
        Admission::New(new) => {
            let appended = new.appended.clone();
            admitted.push(*new);
            Ok(appended)
        }
    };
    let answers = batches
        .into_iter()
        .map(|appends| appends.into_iter().map(&mut decide_one).collect())
        .collect();
    (answers, admitted)
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(drop)
}

fn before(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Before(Arc::new(error))
}

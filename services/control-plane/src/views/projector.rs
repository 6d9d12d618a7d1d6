//! The one writer of the views: follows the log from the checkpoint, a batch per transaction.
//!
//! An event that cannot be taken in stops it: nothing is skipped. Who waits for a position is
//! told, and health says what is the matter.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::StreamKind;
use event_store::{EventStore, Position, ReadFilter, Recorded, StoreError};
use runtime::health::{Health, HealthReporter};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::apply::{self, ApplyError};
use super::checkpoint::{self, Checkpoint};
use super::{Decoded, Progress, Views, file};

/// Most events in one transaction.
const BATCH: usize = 1_024;
/// How often a batch is tried while the database is busy.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Why the projector stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    /// The file was not opened.
    #[error(transparent)]
    Open(#[from] file::OpenViewsError),
    /// The log did not answer.
    #[error("the log cannot be read")]
    Store(#[from] StoreError),
    /// The database refused, several times.
    #[error("the views cannot be written")]
    Database(#[from] sqlx::Error),
    /// An event cannot be taken in.
    #[error("the event at position {position} cannot be taken in")]
    Event {
        /// Which.
        position: u64,
        /// Why.
        #[source]
        source: ApplyError,
    },
}

/// Follows the log and writes the views.
pub struct Projector {
    store: Arc<dyn EventStore>,
    connection: SqliteConnection,
    checkpoint: Checkpoint,
    progress: watch::Sender<Progress>,
    decoded: Arc<Decoded>,
    servers: Arc<AtomicU64>,
}

impl Projector {
    /// Opens a prepared file. Tables that belong to another log, or are ahead of it, are emptied
    /// and built anew.
    ///
    /// # Errors
    /// When the file or the log cannot be opened.
    pub async fn open(
        path: &Path,
        store: Arc<dyn EventStore>,
    ) -> Result<(Self, Views), ProjectorError> {
        let (pool, mut connection) = file::open(path).await?;
        let mut checkpoint = checkpoint::read(&mut connection).await?;
        if !belongs(&*store, &checkpoint).await? {
            tracing::warn!("the views belong to another log, rebuilding them");
            apply::clear(&mut connection).await?;
            checkpoint = Checkpoint::default();
        }
        let at = Progress { position: checkpoint.position, halted: false };
        let (progress, receiver) = watch::channel(at);
        let decoded = Arc::<Decoded>::default();
        let servers = Arc::<AtomicU64>::default();
        let (known, changes) = (Arc::clone(&decoded), Arc::clone(&servers));
        let views = Views { pool, progress: receiver, decoded: known, servers: changes };
        Ok((Self { store, connection, checkpoint, progress, decoded, servers }, views))
    }

    /// How far the tables are.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Takes in everything up to `until`.
    ///
    /// # Errors
    /// When an event cannot be taken in, or the log or the database refuses.
    pub async fn catch_up(&mut self, until: Position) -> Result<(), ProjectorError> {
        while self.checkpoint.position < until {
            let after = self.checkpoint.position;
            let wanted = usize::try_from(until.as_u64() - after.as_u64()).unwrap_or(BATCH);
            let page = self.store.read(after, &ReadFilter::all(), wanted.min(BATCH)).await?;
            if page.events.is_empty() {
                return Ok(());
            }
            self.take(&page.events).await?;
        }
        Ok(())
    }

    /// Follows the log until `shutdown`.
    ///
    /// # Errors
    /// When an event cannot be taken in, or the log or the database refuses for good.
    pub async fn run(
        mut self,
        shutdown: CancellationToken,
        health: HealthReporter,
    ) -> Result<(), ProjectorError> {
        health.set(Health::Ok);
        let result = self.follow(&shutdown, &health).await;
        if let Err(error) = &result {
            let why = chain(error);
            tracing::error!(error = why, "the projector stopped");
            metrics::counter!("mcp_orch_projector_halts_total").increment(1);
            health.set(Health::Down(why));
            self.progress.send_modify(|progress| progress.halted = true);
            // Nothing is skipped and nothing ends: reads go on, commands are told.
            shutdown.cancelled().await;
        }
        self.connection.close().await.ok();
        result
    }

    async fn follow(
        &mut self,
        shutdown: &CancellationToken,
        health: &HealthReporter,
    ) -> Result<(), ProjectorError> {
        let mut log = self.store.subscribe(self.checkpoint.position, ReadFilter::all());
        let mut away = false;
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                batch = log.next_batch(BATCH) => batch,
            };
            match batch {
                Ok(batch) => {
                    if std::mem::take(&mut away) {
                        tracing::info!("the log is back, the projector goes on");
                        health.set(Health::Ok);
                    }
                    self.take(&batch).await?;
                }
                Err(StoreError::Closed) => return Ok(()),
                Err(error @ StoreError::Unavailable { .. }) => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(%error, "the log is away, the projector waits");
                        health.set(Health::Degraded("store".to_owned()));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One batch in one transaction.
    async fn take(&mut self, batch: &[Arc<Recorded>]) -> Result<(), ProjectorError> {
        let mut attempt = 1;
        loop {
            match self.transact(batch).await {
                Ok(checkpoint) => {
                    let position = checkpoint.position;
                    self.checkpoint = checkpoint;
                    if batch.iter().any(|event| changes_servers(event.stream.kind)) {
                        self.servers.fetch_add(1, Ordering::Release);
                    }
                    self.progress.send_modify(|progress| progress.position = position);
                    return Ok(());
                }
                Err(ProjectorError::Database(error)) if attempt < ATTEMPTS => {
                    tracing::warn!(%error, attempt, "the views were not written, trying again");
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn transact(&mut self, batch: &[Arc<Recorded>]) -> Result<Checkpoint, ProjectorError> {
        let mut next = self.checkpoint.clone();
        let mut transaction = self.connection.begin().await?;
        let mut rows = apply::Rows::default();
        for event in batch {
            let known = self.decoded.take(event);
            rows.apply(&mut transaction, event, known).await.map_err(|source| match source {
                ApplyError::Database(error) => ProjectorError::Database(error),
                source => ProjectorError::Event { position: event.position.as_u64(), source },
            })?;
            next.position = event.position;
            if event.stream.kind.is_configuration() {
                next.configuration = event.position;
            }
        }
        if let Some(last) = batch.last() {
            next.event_id = last.event_id.to_string();
        }
        rows.write(&mut transaction).await?;
        checkpoint::write(&mut transaction, &next).await?;
        transaction.commit().await?;
        Ok(next)
    }
}

const fn changes_servers(kind: StreamKind) -> bool {
    // A project takes its servers with it.
    matches!(kind, StreamKind::Server | StreamKind::Project)
}

/// Whether the checkpoint's event is in this log.
async fn belongs(store: &dyn EventStore, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
    let Some(before) = checkpoint.position.as_u64().checked_sub(1) else { return Ok(true) };
    let page = store.read(Position::new(before), &ReadFilter::all(), 1).await?;
    let event = page.events.first();
    Ok(event.is_some_and(|event| {
        event.position == checkpoint.position && event.event_id.to_string() == checkpoint.event_id
    }))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

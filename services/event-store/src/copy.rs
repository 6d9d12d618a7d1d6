//! A log moves house: from a SQLite file into an empty PostgreSQL database.
//!
//! What always holds: ids, versions, positions, times, bytes and digests stay the same, or
//! nothing is copied at all. Everything is one transaction, and it is read back and compared
//! before it is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::TenantId;
use secrecy::SecretString;

use crate::error::{Cause, StoreError};
use crate::leaf::leaf_hash;
use crate::limits::MAX_PAGE_EVENTS;
use crate::postgres::receive::{Receiver, Unfit};
use crate::recorded::{Position, ReadFilter};
use crate::sqlite::SqliteEventStore;
use crate::sqlite::export::Export;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// As many as the last position says.
    pub events: u64,
    /// Bodies, expired ones too.
    pub bodies: u64,
    /// Idempotency keys, expired ones too.
    pub keys: u64,
    /// Reserved values.
    pub reservations: u64,
}

/// Why nothing was copied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopyError {
    /// It has events, keys or names, or had some: take another database.
    #[error("the target database is not empty")]
    NotEmpty,
    /// Its schema is not that of this build: migrate it first.
    #[error("the target database is not migrated: run `mcp-orch migrate`")]
    NotMigrated,
    /// The file cannot be read.
    #[error("the source cannot be read: {0}")]
    Source(#[source] StoreError),
    /// The file was appended to meanwhile: stop who uses it.
    #[error("the source grew while it was copied: stop what writes to it")]
    SourceGrew,
    /// The database refused.
    #[error("the target refused: {cause}")]
    Target {
        /// The error of it.
        #[source]
        cause: Cause,
    },
    /// What was read back is not what was written.
    #[error("the copy differs from its source: {what}, of tenant {tenant} after {position}")]
    Differs {
        /// What was compared.
        what: &'static str,
        /// Whose.
        tenant: TenantId,
        /// Where, for events.
        position: Position,
    },
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Target { cause: Arc::new(error) }
    }
}

impl From<Unfit> for CopyError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NotMigrated => Self::NotMigrated,
            Unfit::NotEmpty => Self::NotEmpty,
            Unfit::Failed(error) => error.into(),
            Unfit::Unreachable(error) => Self::Target { cause: Arc::new(error) },
        }
    }
}

/// Copies everything of `from` into the migrated, empty database of `admin_url`, as its owner.
/// Nothing may append to `from` meanwhile.
///
/// # Errors
/// [`CopyError`]; the database is then as it was.
pub async fn copy(from: &SqliteEventStore, admin_url: &SecretString) -> Result<Copied, CopyError> {
    let source = from.export();
    let mut target = Receiver::begin(admin_url).await?;
    let mut expected = Expected::default();
    let head = source.head().await.map_err(CopyError::Source)?;
    copy_events(&source, &mut target).await?;
    copy_bodies(&source, &mut target, &mut expected).await?;
    copy_commands(&source, &mut target, &mut expected).await?;
    copy_reservations(&source, &mut target, &mut expected).await?;
    target.epochs(&source.epochs().await.map_err(CopyError::Source)?).await?;
    verify_events(&source, &mut target).await?;
    expected.verify(&mut target).await?;
    if source.head().await.map_err(CopyError::Source)? != head {
        return Err(CopyError::SourceGrew);
    }
    target.commit().await?;
    Ok(Copied { events: head.as_u64(), ..expected.copied })
}

async fn copy_events(source: &Export, target: &mut Receiver) -> Result<(), CopyError> {
    let (mut after, mut last) = (Position::START, None);
    loop {
        let page = source.page(after, &ReadFilter::all(), MAX_PAGE_EVENTS).await;
        let page = page.map_err(CopyError::Source)?;
        target.events(&page.events).await?;
        after = page.next;
        match page.events.last() {
            Some(event) => last = Some(Arc::clone(event)),
            None => break,
        }
        tracing::debug!(position = %after, "events are copied");
    }
    Ok(target.ends(last.as_deref()).await?)
}

/// Rows of each tenant: bodies, keys, names.
#[derive(Default)]
struct Expected {
    of_tenants: BTreeMap<TenantId, [u64; 3]>,
    of_all: u64,
    copied: Copied,
}

impl Expected {
    fn count(&mut self, tenant: TenantId, what: usize) {
        self.of_tenants.entry(tenant).or_default()[what] += 1;
    }

    async fn verify(&mut self, target: &mut Receiver) -> Result<(), CopyError> {
        let mut tenants = self.of_tenants.clone();
        tenants.entry(TenantId::SYSTEM).or_default();
        for (tenant, expected) in tenants {
            let [bodies, keys, names, shared] = target.counts(tenant).await?;
            if [bodies, keys, names] != expected || shared != self.of_all {
                let what = "the number of bodies, keys or names";
                return Err(CopyError::Differs { what, tenant, position: Position::START });
            }
        }
        Ok(())
    }
}

async fn copy_bodies(
    source: &Export,
    target: &mut Receiver,
    expected: &mut Expected,
) -> Result<(), CopyError> {
    let mut after = Position::START;
    loop {
        let (bodies, next) = source.bodies(after).await.map_err(CopyError::Source)?;
        if bodies.is_empty() {
            return Ok(());
        }
        target.bodies(&bodies).await?;
        bodies.iter().for_each(|body| expected.count(body.tenant, 0));
        expected.copied.bodies += bodies.len() as u64;
        after = next;
    }
}

async fn copy_commands(
    source: &Export,
    target: &mut Receiver,
    expected: &mut Expected,
) -> Result<(), CopyError> {
    let mut offset = 0;
    loop {
        let commands = source.commands(offset).await.map_err(CopyError::Source)?;
        if commands.is_empty() {
            expected.copied.keys = offset.unsigned_abs();
            return Ok(());
        }
        target.commands(&commands).await?;
        let of = commands.iter().map(|(_, former)| former.appended.stream.tenant);
        of.for_each(|tenant| expected.count(tenant, 1));
        offset += commands.len() as i64;
    }
}

async fn copy_reservations(
    source: &Export,
    target: &mut Receiver,
    expected: &mut Expected,
) -> Result<(), CopyError> {
    let mut offset = 0;
    loop {
        let reservations = source.reservations(offset).await.map_err(CopyError::Source)?;
        if reservations.is_empty() {
            expected.copied.reservations = offset.unsigned_abs();
            return Ok(());
        }
        target.reservations(&reservations).await?;
        for one in &reservations {
            match one.tenant {
                Some(tenant) => expected.count(tenant, 2),
                None => expected.of_all += 1,
            }
        }
        offset += reservations.len() as i64;
    }
}

/// Each event of the copy with that of the source, and with its own digest.
async fn verify_events(source: &Export, target: &mut Receiver) -> Result<(), CopyError> {
    for (tenant, count) in target.tenants() {
        let filter = ReadFilter::of_tenant(tenant);
        let (mut after, mut seen) = (Position::START, 0);
        while seen < count {
            let ours = source.page(after, &filter, MAX_PAGE_EVENTS).await;
            let ours = ours.map_err(CopyError::Source)?.events;
            let theirs = target.page(tenant, after, MAX_PAGE_EVENTS).await;
            let theirs =
                theirs.map_err(|error| CopyError::Target { cause: Arc::new(error) })?.events;
            let whole = theirs.iter().all(|event| event.leaf_hash == leaf_hash(event));
            if theirs != ours || ours.is_empty() || !whole {
                return Err(CopyError::Differs { what: "an event", tenant, position: after });
            }
            seen += ours.len() as u64;
            after = ours.last().map_or(after, |event| event.position);
        }
    }
    Ok(())
}

//! Leases of the one process that has the file open.
//!
//! Holders and times are in memory, since nobody else can hold anything; epochs are in the file
//! before they are granted, so that none comes twice. A renewal therefore costs no commit.

use domain::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::rows::{integer, unreadable};
use crate::error::StoreError;
use crate::lease::{Claim, Lease, LeaseBook};

/// The book as the file tells it: epochs only.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<LeaseBook, StoreError> {
    let rows = sqlx::query("SELECT name, epoch FROM lease_epoch")
        .fetch_all(connection)
        .await
        .map_err(unreadable)?;
    let mut epochs = Vec::with_capacity(rows.len());
    for row in rows {
        let name: String = row.try_get(0).map_err(unreadable)?;
        let epoch: i64 = row.try_get(1).map_err(unreadable)?;
        epochs.push((name, u64::try_from(epoch).unwrap_or(0)));
    }
    Ok(LeaseBook::with_epochs(epochs))
}

/// What claims lead to, before anything of it is in force.
pub(super) struct Claimed {
    pub(super) book: LeaseBook,
    pub(super) answers: Vec<Option<Lease>>,
    /// The leases with a new epoch: to be written before the answers are given.
    pub(super) taken: Vec<(String, u64)>,
}

/// Decides the claims on a copy of the book.
pub(super) fn decide(book: &LeaseBook, claims: &[Claim], now: Timestamp) -> Claimed {
    let mut claimed = Claimed { book: book.clone(), answers: Vec::new(), taken: Vec::new() };
    for claim in claims {
        let before = claimed.book.epoch(&claim.name);
        let lease = claimed.book.claim(claim, now);
        if let Some(lease) = lease.as_ref().filter(|lease| lease.epoch > before) {
            claimed.taken.push((lease.name.clone(), lease.epoch));
        }
        claimed.answers.push(lease);
    }
    claimed
}

/// Writes the new epochs, in the open transaction.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    taken: &[(String, u64)],
) -> Result<(), sqlx::Error> {
    for (name, epoch) in taken {
        sqlx::query(
            "INSERT INTO lease_epoch (name, epoch) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch",
        )
        .bind(name.as_str())
        .bind(integer(*epoch))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

//! Leases, by the clock of the database.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::PgPool;

use super::PostgresEventStore;
use super::rows::{integer, natural};
use super::session::{Trouble, unreadable, within};
use crate::error::StoreError;
use crate::lease::{self, Claim, Lease};
use crate::port::Leases;

/// How often claims are tried that others stand in the way of.
const ATTEMPTS: usize = 4;

#[async_trait]
impl Leases for PostgresEventStore {
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Lease>>, StoreError> {
        lease::check(claims)?;
        let pools = &self.inner.pools;
        within(pools.patience, async {
            let mut leases = Vec::with_capacity(claims.len());
            for round in rounds(claims) {
                leases.extend(claim_round(&pools.log, round).await?);
            }
            Ok(leases)
        })
        .await
    }

    async fn release(&self, holder: &str, held: &[(String, u64)]) -> Result<(), StoreError> {
        lease::check_release(held)?;
        let names: Vec<&str> = held.iter().map(|(name, _)| name.as_str()).collect();
        let epochs: Vec<i64> = held.iter().map(|(_, epoch)| integer(*epoch)).collect();
        let pools = &self.inner.pools;
        within(pools.patience, async {
            sqlx::query(
                "UPDATE lease AS l SET expires_at = '-infinity', note = ''
                 FROM unnest($2::text[], $3::bigint[]) AS w (name, epoch)
                 WHERE l.name = w.name AND l.epoch = w.epoch AND l.holder = $1",
            )
            .bind(holder)
            .bind(names)
            .bind(epochs)
            .execute(&pools.log)
            .await
            .map_err(unreadable)?;
            Ok(())
        })
        .await
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        let pools = &self.inner.pools;
        within(pools.patience, async {
            let rows = sqlx::query(
                "SELECT name, holder, epoch, note,
                     (extract(epoch FROM expires_at - clock_timestamp()) * 1000000)::bigint
                 FROM lease WHERE starts_with(name, $1) AND expires_at > clock_timestamp()
                 ORDER BY name",
            )
            .bind(prefix)
            .fetch_all(&pools.log)
            .await
            .map_err(unreadable)?;
            rows.iter()
                .map(|row| {
                    Ok(Lease {
                        name: row.try_get(0)?,
                        holder: row.try_get(1)?,
                        epoch: natural(row.try_get(2)?),
                        note: Bytes::from(row.try_get::<Vec<u8>, _>(3)?),
                        left: Duration::from_micros(natural(row.try_get(4)?)),
                    })
                })
                .collect::<Result<_, _>>()
                .map_err(unreadable)
        })
        .await
    }
}

/// Splits claims where a name comes again: one statement writes a row once.
fn rounds(claims: &[Claim]) -> Vec<&[Claim]> {
    let (mut rounds, mut names, mut start) = (Vec::new(), HashSet::new(), 0);
    for (at, claim) in claims.iter().enumerate() {
        if !names.insert(claim.name.as_str()) {
            rounds.push(&claims[start..at]);
            names = HashSet::from([claim.name.as_str()]);
            start = at;
        }
    }
    rounds.push(&claims[start..]);
    rounds
}

async fn claim_round(pool: &PgPool, claims: &[Claim]) -> Result<Vec<Option<Lease>>, StoreError> {
    let mut attempt = 1;
    let epochs = loop {
        match epochs(pool, claims).await {
            Ok(epochs) => break epochs,
            Err(Trouble::Again(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(trouble) => {
                let reason = "the leases cannot be written";
                let cause = Some(Arc::clone(trouble.cause()));
                return Err(StoreError::Unavailable { reason, cause });
            }
        }
    };
    let lease = |claim: &Claim| {
        Some(Lease {
            name: claim.name.clone(),
            holder: claim.holder.clone(),
            epoch: *epochs.get(&claim.name)?,
            note: claim.note.clone(),
            left: claim.ttl,
        })
    };
    Ok(claims.iter().map(lease).collect())
}

/// The epochs of the claims that are granted.
async fn epochs(pool: &PgPool, claims: &[Claim]) -> Result<HashMap<String, u64>, Trouble> {
    // Renewals first and for themselves: they touch no key, so appends under a fence do not
    // hold them up, nor they them.
    let mut granted = write(
        pool,
        "UPDATE lease AS l SET note = w.note,
             expires_at = clock_timestamp() + make_interval(secs => w.ttl / 1e6)
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[])
             AS w (name, holder, ttl, note)
         WHERE l.name = w.name AND l.holder = w.holder AND l.expires_at > clock_timestamp()
         RETURNING l.name, l.epoch",
        &claims.iter().collect::<Vec<_>>(),
    )
    .await?;
    let others: Vec<_> = claims.iter().filter(|one| !granted.contains_key(&one.name)).collect();
    if !others.is_empty() {
        let taken = write(
            pool,
            "INSERT INTO lease AS l (name, holder, epoch, note, expires_at)
             SELECT w.name, w.holder, 1, w.note,
                 clock_timestamp() + make_interval(secs => w.ttl / 1e6)
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[])
                 AS w (name, holder, ttl, note) ORDER BY w.name
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = l.epoch + 1,
                 note = excluded.note, expires_at = excluded.expires_at
             WHERE l.expires_at <= clock_timestamp()
             RETURNING l.name, l.epoch",
            &others,
        )
        .await?;
        granted.extend(taken);
    }
    Ok(granted)
}

async fn write(
    pool: &PgPool,
    sql: &'static str,
    claims: &[&Claim],
) -> Result<HashMap<String, u64>, Trouble> {
    let micros = |claim: &Claim| i64::try_from(claim.ttl.as_micros()).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql)
        .bind(claims.iter().map(|claim| claim.name.as_str()).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.holder.as_str()).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| micros(claim)).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.note.as_ref()).collect::<Vec<_>>())
        .fetch_all(pool)
        .await?;
    let mut epochs = HashMap::with_capacity(rows.len());
    for row in rows {
        epochs.insert(row.try_get(0)?, natural(row.try_get(1)?));
    }
    Ok(epochs)
}

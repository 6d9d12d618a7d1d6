//! What the store is measured against: the fewest statements that write an event and its outbox
//! row, on tables with the same columns and keys.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgPool, PgPoolOptions};
use uuid::Uuid;

const INSERT: &str = "WITH written AS (
        INSERT INTO raw_event (tenant_id, kind, stream_id, version, event_id, type,
            schema_version, payload, actor_type, actor_id, occurred_at)
        VALUES ($1, 'call', $2, 1, $3, 'call.finished', 1, $4, 'api_key', $2, 0)
    )
    INSERT INTO raw_outbox (tenant_id, kind, stream_id, version) VALUES ($1, 'call', $2, 1)";

/// What each insert waits for.
#[derive(Clone, Copy)]
pub(crate) enum Lock {
    /// Nothing.
    None,
    /// The one before it, which makes an order without gaps.
    Global,
}

/// The two tables.
pub(crate) struct Raw {
    pool: PgPool,
    writers: usize,
}

impl Raw {
    pub(crate) async fn prepare(url: &str, writers: usize) -> Result<Self, sqlx::Error> {
        let options = PgPoolOptions::new().max_connections(writers as u32);
        let pool = options.test_before_acquire(false).connect(url).await?;
        sqlx::raw_sql(
            "CREATE TABLE raw_event (LIKE mcp_orch.event,
                 PRIMARY KEY (tenant_id, kind, stream_id, version), UNIQUE (tenant_id, event_id));
             CREATE TABLE raw_outbox (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                 tenant_id uuid NOT NULL, kind text NOT NULL, stream_id text NOT NULL,
                 version bigint NOT NULL)",
        )
        .execute(&pool)
        .await?;
        Ok(Self { pool, writers })
    }

    /// Appends/s.
    pub(crate) async fn measure(&self, time: Duration, lock: Lock) -> Result<f64, sqlx::Error> {
        let started = Instant::now();
        let writers: Vec<_> = (0..self.writers)
            .map(|writer| {
                let pool = self.pool.clone();
                tokio::spawn(async move {
                    let mut connection = pool.acquire().await?;
                    let mut count = 0_u64;
                    while started.elapsed() < time {
                        insert(&mut connection, writer as u128 % 8, lock).await?;
                        count += 1;
                    }
                    Ok::<_, sqlx::Error>(count)
                })
            })
            .collect();
        let mut count = 0;
        for writer in writers {
            count += writer.await.unwrap_or(Ok(0))?;
        }
        let elapsed = started.elapsed();
        // What the store's sequencer does meanwhile is part of its cost; here nobody does it.
        sqlx::raw_sql("TRUNCATE raw_outbox").execute(&self.pool).await?;
        Ok(count as f64 / elapsed.as_secs_f64())
    }
}

async fn insert(
    connection: &mut sqlx::PgConnection,
    tenant: u128,
    lock: Lock,
) -> Result<(), sqlx::Error> {
    let id = Uuid::now_v7();
    let insert = sqlx::query(INSERT)
        .bind(Uuid::from_u128(tenant))
        .bind(id.to_string())
        .bind(id)
        .bind(vec![b'p'; 400]);
    match lock {
        Lock::None => insert.execute(connection).await.map(drop),
        Lock::Global => {
            sqlx::raw_sql("BEGIN; SELECT pg_advisory_xact_lock(1)")
                .execute(&mut *connection)
                .await?;
            insert.execute(&mut *connection).await?;
            sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)
        }
    }
}

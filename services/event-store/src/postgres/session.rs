//! Transactions of one tenant, and what a database error means for its caller.

use std::sync::Arc;
use std::time::Duration;

use domain::TenantId;
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use tokio::time::error::Elapsed;

use crate::error::{Cause, StoreError};

/// Begins a transaction that sees `tenant` only. The setting ends with the transaction, so a
/// connection never carries a tenant to its next user.
pub(super) async fn begin(
    pool: &PgPool,
    tenant: TenantId,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    // A UUID has no character that means anything in SQL.
    let begin = format!("BEGIN; SET LOCAL mcp_orch.tenant = '{}'", tenant.as_uuid());
    pool.begin_with(AssertSqlSafe(begin)).await
}

/// What an error of the database is to who met it before a commit.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another was faster, or stood in the way: all of it again, with another look.
    Again(Cause),
    /// The connection ended, or none is to be had.
    Away(Cause),
    /// The database does not take it.
    Refused(Cause),
}

impl Trouble {
    pub(super) fn cause(&self) -> &Cause {
        let (Self::Again(cause) | Self::Away(cause) | Self::Refused(cause)) = self;
        cause
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        match class(&error) {
            Class::Again => Self::Again(Arc::new(error)),
            Class::Away => Self::Away(Arc::new(error)),
            Class::Refused => Self::Refused(Arc::new(error)),
        }
    }
}

impl From<Elapsed> for Trouble {
    fn from(late: Elapsed) -> Self {
        Self::Away(Arc::new(late))
    }
}

enum Class {
    Again,
    Away,
    Refused,
}

fn class(error: &sqlx::Error) -> Class {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::RowNotFound
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_) => Class::Refused,
            _ => Class::Away,
        };
    };
    match database.code().as_deref() {
        // A unique key, a serialization failure, a deadlock, a lock that did not come.
        Some("23505" | "40001" | "40P01" | "55P03") => Class::Again,
        // The server or its administrator ends connections, or has none left.
        Some(code)
            if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53")
                // A transaction that stood still too long.
                || code == "25P03" =>
        {
            Class::Away
        }
        _ => Class::Refused,
    }
}

/// Whether the server says of a commit that it was rolled back.
pub(super) fn is_rolled_back(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|database| database.code());
    code.is_some_and(|code| code.starts_with("40") || code.starts_with("23"))
}

/// A read that failed.
pub(super) fn unreadable(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::PoolClosed => StoreError::Closed,
        error => StoreError::Unavailable {
            reason: "the database cannot be read",
            cause: Some(Arc::new(error)),
        },
    }
}

/// Gives up on `what` after `patience`: a server that stands still does not say so.
pub(super) async fn within<T>(
    patience: Duration,
    what: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(patience, what).await.unwrap_or_else(|late| {
        let reason = "the database does not answer";
        Err(StoreError::Unavailable { reason, cause: Some(Arc::new(late)) })
    })
}

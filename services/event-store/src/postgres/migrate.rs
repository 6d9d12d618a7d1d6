//! Bringing a database up to date: run by the deployment, never by a service.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use super::open;
use crate::error::Cause;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The schema version of this build: the number of the last migration.
pub const SCHEMA_VERSION: i32 = 2;
/// Where everything of ours lies.
const SCHEMA: &str = "mcp_orch";

/// Why a database was not migrated.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MigrateError {
    /// The URL is none of PostgreSQL. Its text may hold a password and is not shown.
    #[error("the admin URL is not a PostgreSQL URL")]
    InvalidUrl,
    /// A newer build migrated it: use that build.
    #[error("the database has schema {found}, this build knows {SCHEMA_VERSION}")]
    Newer {
        /// The schema version of the database.
        found: i32,
    },
    /// The database refused. What was done before stands; a migration is done whole or not.
    #[error("the migration failed: {cause}")]
    Failed {
        /// The error of it.
        #[source]
        cause: Cause,
    },
}

/// Runs the migrations that the database does not have, as its owner: a role that may create
/// schemas and, the first time, roles. Two at once wait for each other.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(admin_url: &SecretString) -> Result<(), MigrateError> {
    migrate_to(admin_url, SCHEMA_VERSION).await
}

/// As [`migrate`], up to and with one version: what an earlier build made. For tests.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate_to(admin_url: &SecretString, version: i32) -> Result<(), MigrateError> {
    let mut connection = connect(admin_url).await?;
    let migrated = run(&mut connection, version).await;
    // What was migrated stands, whatever the goodbye.
    let _ = connection.close().await;
    migrated
}

/// Gives the two roles their passwords. They make the roles' way in where the server asks for
/// passwords; elsewhere they are not needed.
///
/// # Errors
/// [`MigrateError`].
pub async fn set_passwords(
    admin_url: &SecretString,
    app: &SecretString,
    log: &SecretString,
) -> Result<(), MigrateError> {
    let mut connection = connect(admin_url).await?;
    for (role, password) in [("mcp_orch_app", app), ("mcp_orch_log", log)] {
        // A password cannot be a parameter of the statement: the server quotes it.
        let statement: String =
            sqlx::query_scalar("SELECT format('ALTER ROLE %I PASSWORD %L', $1, $2)")
                .bind(role)
                .bind(password.expose_secret())
                .fetch_one(&mut connection)
                .await
                .map_err(failed)?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.map_err(failed)?;
    }
    connection.close().await.map_err(failed)
}

/// A connection as the owner.
pub(crate) async fn connect(admin_url: &SecretString) -> Result<PgConnection, MigrateError> {
    let options = open::parse(admin_url)
        .ok_or(MigrateError::InvalidUrl)?
        .application_name("mcp-orch migrate")
        .options([("search_path", SCHEMA)])
        .disable_statement_logging();
    options.connect().await.map_err(failed)
}

async fn run(connection: &mut PgConnection, version: i32) -> Result<(), MigrateError> {
    if let Some(found) = schema_version(connection).await.map_err(failed)?
        && found > SCHEMA_VERSION
    {
        return Err(MigrateError::Newer { found });
    }
    let wanted = MIGRATIONS.iter().filter(|one| one.version <= i64::from(version)).cloned();
    let mut migrator = Migrator::with_migrations(wanted.collect());
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name("mcp_orch.migration");
    let migrated = migrator.run_direct(None, connection, false).await;
    migrated.map_err(|error| MigrateError::Failed { cause: Arc::new(error) })
}

/// The schema version of the database; `None` where it has no schema of ours.
pub(crate) async fn schema_version(
    connection: &mut PgConnection,
) -> Result<Option<i32>, sqlx::Error> {
    let row = sqlx::query("SELECT to_regclass('mcp_orch.schema_version') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !row.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM mcp_orch.schema_version")
        .fetch_one(connection)
        .await
}

fn failed(error: sqlx::Error) -> MigrateError {
    MigrateError::Failed { cause: Arc::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_version_is_that_of_the_last_migration() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|one| one.version).collect();
        assert_eq!(versions.last(), Some(&i64::from(SCHEMA_VERSION)));
        for migration in MIGRATIONS.iter() {
            let line = format!("schema_version (version) VALUES ({});", migration.version);
            assert!(migration.sql.as_str().contains(&line), "{}", migration.description);
        }
    }
}

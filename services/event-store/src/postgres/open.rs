//! Opening: the connections, their limits, and the check that the database is ours.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};

use super::migrate::{SCHEMA_VERSION, schema_version};
use crate::error::Cause;
use crate::hook::CommitHook;
use crate::port::Clock;

/// How long a connection may take to be made, and a call to get one.
const CONNECT: Duration = Duration::from_millis(1_500);
/// How long the check of the database may take to connect.
const OPEN: Duration = Duration::from_secs(5);
/// A connection that was idle for so long is tried before it is used.
const IDLE: Duration = Duration::from_millis(500);
/// The smallest version of PostgreSQL, as the server counts them.
const SERVER_VERSION: i32 = 150_000;

/// How a PostgreSQL event store is opened.
#[derive(Clone)]
pub struct PostgresConfig {
    /// The database, as the role `mcp_orch_app`: appends and reads one tenant at a time.
    pub app_url: SecretString,
    /// The database, as the role `mcp_orch_log`: reads all tenants, gives positions and leases.
    pub log_url: SecretString,
    /// The time of recording, and of the expiry of keys and bodies. Leases go by the database's.
    pub clock: Clock,
    /// Connections that append, and as many groups of appends at once, so that their commits share the waits for the disk. 24 by
    /// default.
    pub writers: u32,
    /// Connections that read, of each of the two roles. 6 by default, at least 3.
    pub readers: u32,
    /// How long one statement may run on the server. 4 s by default.
    pub statement: Duration,
    /// How long one statement may wait for a lock. 2 s by default.
    pub lock: Duration,
    /// How long a transaction may stand still before the server ends it, so that a stopped
    /// process does not keep locks. 3 s by default.
    pub idle_transaction: Duration,
    /// How long a caller waits for a position, longer than a change of the leader takes. 15 s
    /// by default.
    pub placement: Duration,
    /// Called around each commit of appends; for tests of crashes.
    pub hook: Option<Arc<dyn CommitHook>>,
}

impl PostgresConfig {
    /// The usual configuration.
    pub fn new(app_url: SecretString, log_url: SecretString, clock: Clock) -> Self {
        Self {
            app_url,
            log_url,
            clock,
            writers: 24,
            readers: 6,
            statement: Duration::from_secs(4),
            lock: Duration::from_secs(2),
            idle_transaction: Duration::from_secs(3),
            placement: Duration::from_secs(15),
            hook: None,
        }
    }
}

/// Why a database was not opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PostgresOpenError {
    /// It does not answer, or refuses the role: check the address, the password and the server.
    #[error("the database cannot be reached: {cause}")]
    Unreachable {
        /// The error of it.
        #[source]
        cause: Cause,
    },
    /// The URL is none of PostgreSQL. Its text may hold a password and is not shown.
    #[error("the {which} is not a PostgreSQL URL")]
    InvalidUrl {
        /// Which of the URLs.
        which: &'static str,
    },
    /// The server is too old.
    #[error("the server is PostgreSQL {found}, at least 15 is needed")]
    ServerTooOld {
        /// As the server counts: 140005 is 14.5.
        found: i32,
    },
    /// It is a standby: give the address of the primary.
    #[error("the database is a standby, which cannot be written")]
    Standby,
    /// It has no schema: run the migrations.
    #[error("the database is not prepared: run `mcp-orch migrate`")]
    NotPrepared,
    /// The schema is older than this build: run the migrations.
    #[error("the database has schema {found}, this build needs {needed}: run `mcp-orch migrate`")]
    Older {
        /// The schema version of the database.
        found: i32,
        /// The schema version of this build.
        needed: i32,
    },
    /// The schema is newer than this build: use the newer build.
    #[error("the database has schema {found}, this build knows {needed}: use a newer build")]
    Newer {
        /// The schema version of the database.
        found: i32,
        /// The schema version of this build.
        needed: i32,
    },
    /// The role could pass the row-level security by: use one that the migrations made.
    #[error("the role {role:?} may pass row-level security by: use mcp_orch_app and mcp_orch_log")]
    TooPowerful {
        /// The role of the URL.
        role: String,
    },
}

/// The connections of a store.
#[derive(Clone)]
pub(super) struct Pools {
    /// As the role of one tenant, to append.
    pub(super) write: PgPool,
    /// As the role of one tenant, to read.
    pub(super) app: PgPool,
    /// As the role of all tenants.
    pub(super) log: PgPool,
    /// How long the client waits for one transaction.
    pub(super) patience: Duration,
}

impl Pools {
    pub(super) async fn close(&self) {
        self.write.close().await;
        self.app.close().await;
        self.log.close().await;
    }
}

/// Checks the database and makes the pools. Connections are opened when they are needed.
pub(super) async fn connect(config: &PostgresConfig) -> Result<Pools, PostgresOpenError> {
    let app = options(&config.app_url, "app_url", config)?;
    let log = options(&config.log_url, "log_url", config)?;
    check(&app).await?;
    check(&log).await?;
    // The listener and the sequencer each keep one for themselves.
    let readers = config.readers.max(3);
    Ok(Pools {
        write: pool(app.clone(), config.writers.max(1)),
        app: pool(app, readers),
        log: pool(log, readers),
        patience: config.statement + config.lock,
    })
}

/// What a URL of PostgreSQL says; `None` for anything else.
pub(super) fn parse(url: &SecretString) -> Option<PgConnectOptions> {
    let text = url.expose_secret();
    if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
        return None;
    }
    PgConnectOptions::from_str(text).ok()
}

fn options(
    url: &SecretString,
    which: &'static str,
    config: &PostgresConfig,
) -> Result<PgConnectOptions, PostgresOpenError> {
    let options = parse(url).ok_or(PostgresOpenError::InvalidUrl { which })?;
    let ms = |time: Duration| format!("{}ms", time.as_millis());
    Ok(options
        .application_name("mcp-orch")
        .options([
            ("search_path", "mcp_orch".to_owned()),
            ("statement_timeout", ms(config.statement)),
            ("lock_timeout", ms(config.lock)),
            ("idle_in_transaction_session_timeout", ms(config.idle_transaction)),
            ("default_transaction_isolation", "read committed".to_owned()),
            // A plan that looks costly and is not would be compiled for a quarter of a second.
            ("jit", "off".to_owned()),
        ])
        .disable_statement_logging())
}

fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(0)
        .acquire_timeout(CONNECT)
        .idle_timeout(Duration::from_secs(120))
        .max_lifetime(Duration::from_secs(1_800))
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for < IDLE {
                    return Ok(true);
                }
                let alive = tokio::time::timeout(CONNECT, connection.ping()).await;
                Ok(matches!(alive, Ok(Ok(()))))
            })
        })
        .connect_lazy_with(options)
}

async fn check(options: &PgConnectOptions) -> Result<(), PostgresOpenError> {
    let connecting = tokio::time::timeout(OPEN, options.connect()).await;
    let mut connection = match connecting {
        Ok(connected) => connected.map_err(unreachable)?,
        Err(late) => return Err(PostgresOpenError::Unreachable { cause: Arc::new(late) }),
    };
    let checked = check_server(&mut connection).await;
    let closed = connection.close().await;
    checked?;
    closed.map_err(unreachable)
}

async fn check_server(connection: &mut PgConnection) -> Result<(), PostgresOpenError> {
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
             current_user::text, (SELECT rolsuper OR rolbypassrls FROM pg_roles
             WHERE rolname = current_user), current_setting('synchronous_commit')",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(unreachable)?;
    let found: i32 = row.try_get(0).map_err(unreachable)?;
    if found < SERVER_VERSION {
        return Err(PostgresOpenError::ServerTooOld { found });
    }
    if row.try_get(1).map_err(unreachable)? {
        return Err(PostgresOpenError::Standby);
    }
    let powerful: Option<bool> = row.try_get(3).map_err(unreachable)?;
    if powerful != Some(false) {
        return Err(PostgresOpenError::TooPowerful { role: row.try_get(2).map_err(unreachable)? });
    }
    let synchronous: String = row.try_get(4).map_err(unreachable)?;
    if synchronous == "off" {
        tracing::warn!("synchronous_commit is off: a crash of the server loses what was answered");
    }
    match schema_version(connection).await.map_err(unreachable)? {
        None => Err(PostgresOpenError::NotPrepared),
        Some(found) if found < SCHEMA_VERSION => {
            Err(PostgresOpenError::Older { found, needed: SCHEMA_VERSION })
        }
        Some(found) if found > SCHEMA_VERSION => {
            Err(PostgresOpenError::Newer { found, needed: SCHEMA_VERSION })
        }
        Some(_) => Ok(()),
    }
}

fn unreachable(error: sqlx::Error) -> PostgresOpenError {
    PostgresOpenError::Unreachable { cause: Arc::new(error) }
}

//! Definitions of tools: which was seen first, which is approved, which is there now.
//!
//! The rules are those of the configuration that edges hold: what is approved by itself comes from
//! the same [`Sightings`].

use std::collections::HashMap;

use domain::connection::CatalogueSummary;
use domain::{ServerId, TenantId};
use events::Sightings;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};

use super::{ViewError, Views};

/// Rows in one statement.
const ROWS: usize = 250;

/// The definitions of a tool, by their hashes; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub(crate) struct Definition {
    /// The upstream's own name.
    pub(crate) tool: String,
    first_hash: String,
    approved_hash: String,
    /// The one in the last catalogue.
    pub(crate) current_hash: String,
}

impl Definition {
    /// The hash of the approved definition.
    pub(crate) fn approved(&self) -> &str {
        if self.approved_hash.is_empty() { &self.first_hash } else { &self.approved_hash }
    }

    /// Whether there is a definition, and another one than the approved one.
    pub(crate) fn changed(&self) -> bool {
        !self.current_hash.is_empty() && self.current_hash != self.approved()
    }
}

/// The statement that approves a definition.
pub(super) fn approve<'q>(
    server: &'q str,
    tool: &str,
    hash: &str,
) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(
        "INSERT INTO tool_definition (server_id, tool, first_hash, approved_hash, current_hash) \
         VALUES ($1, $2, '', $3, '') \
         ON CONFLICT (server_id, tool) DO UPDATE SET approved_hash = excluded.approved_hash",
    )
    .bind(server)
    .bind(tool.to_owned())
    .bind(hash.to_owned())
}

/// Takes in a catalogue of a server that has a row in `connection`.
pub(super) async fn observe(
    db: &mut SqliteConnection,
    server: &str,
    catalogue: &CatalogueSummary,
) -> Result<(), sqlx::Error> {
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM connection WHERE server_id = $1")
        .bind(server)
        .fetch_optional(&mut *db)
        .await?;
    if known.is_none() {
        return Ok(());
    }
    let changed = observed(&of_server(&mut *db, server).await?, catalogue);
    for changed in changed.chunks(ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO tool_definition \
             (server_id, tool, first_hash, approved_hash, current_hash) ",
        );
        query.push_values(changed, |mut row, definition| {
            row.push_bind(server)
                .push_bind(&definition.tool)
                .push_bind(&definition.first_hash)
                .push_bind(&definition.approved_hash)
                .push_bind(&definition.current_hash);
        });
        query.push(
            " ON CONFLICT (server_id, tool) DO UPDATE SET first_hash = excluded.first_hash, \
             current_hash = excluded.current_hash",
        );
        query.build().execute(&mut *db).await?;
    }
    // What is neither remembered nor there.
    sqlx::query(
        "DELETE FROM tool_definition WHERE server_id = $1 \
         AND first_hash = '' AND approved_hash = '' AND current_hash = ''",
    )
    .bind(server)
    .execute(db)
    .await?;
    Ok(())
}

/// The definitions that are others after a catalogue was observed.
fn observed(before: &[Definition], catalogue: &CatalogueSummary) -> Vec<Definition> {
    let remembered = before.iter().filter(|row| !row.first_hash.is_empty());
    let mut sightings: Sightings =
        remembered.map(|row| (row.tool.clone(), row.first_hash.clone())).collect();
    sightings.see(catalogue);
    let known: HashMap<&str, &Definition> =
        before.iter().map(|row| (row.tool.as_str(), row)).collect();
    let gone = |row: &Definition| Definition { current_hash: String::new(), ..row.clone() };
    let mut rows: HashMap<&str, Definition> =
        before.iter().map(|row| (row.tool.as_str(), gone(row))).collect();
    for one in catalogue.definitions.iter() {
        let row = rows.entry(&one.tool).or_default();
        // Of tools of one name the first counts.
        if row.current_hash.is_empty() {
            row.tool.clone_from(&one.tool);
            row.current_hash.clone_from(&one.hash);
            sightings.first(&one.tool).unwrap_or_default().clone_into(&mut row.first_hash);
        }
    }
    rows.into_values().filter(|row| known.get(row.tool.as_str()) != Some(&row)).collect()
}

async fn of_server(
    db: impl sqlx::SqliteExecutor<'_>,
    server: &str,
) -> Result<Vec<Definition>, sqlx::Error> {
    sqlx::query_as(
        "SELECT tool, first_hash, approved_hash, current_hash FROM tool_definition \
         WHERE server_id = $1 ORDER BY tool",
    )
    .bind(server.to_owned())
    .fetch_all(db)
    .await
}

impl Views {
    /// The definitions of a server's tools, by name; those of tools that are gone, too.
    pub(crate) async fn definitions(
        &self,
        tenant: TenantId,
        server: ServerId,
    ) -> Result<Vec<Definition>, ViewError> {
        let rows = sqlx::query_as(
            "SELECT d.tool, d.first_hash, d.approved_hash, d.current_hash FROM tool_definition d \
             JOIN server s ON s.server_id = d.server_id \
             WHERE d.server_id = $1 AND s.tenant = $2 ORDER BY d.tool",
        )
        .bind(server.to_string())
        .bind(tenant.to_string())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }
}

//! Two files of views, table by table and row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::views::TABLES;

/// Most differences that are listed of a table.
const MAX_DIFFERENCES: i64 = 100;
/// Characters of a value that are shown.
const SHOWN: usize = 80;

/// A table and what differs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// Its name.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// What differs; at most about 100.
    pub differences: Vec<Difference>,
}

/// A row that is not what the log makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The row's key, as SQL literals.
    pub key: String,
    /// How.
    pub kind: DifferenceKind,
}

/// How a row differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The log makes this row, and it is not there.
    Missing,
    /// The row is there, and the log does not make it.
    Extra,
    /// Columns with what they hold and what the log makes of them, as SQL literals.
    Altered(Vec<(String, String, String)>),
}

/// Compares every table of `current` with the same of the file `fresh`.
pub(super) async fn tables(
    current: &mut SqliteConnection,
    fresh: &Path,
) -> Result<Vec<TableReport>, sqlx::Error> {
    sqlx::query("ATTACH DATABASE $1 AS fresh")
        .bind(fresh.to_string_lossy().into_owned())
        .execute(&mut *current)
        .await?;
    let mut reports = Vec::with_capacity(TABLES.len());
    for (table, keys) in TABLES {
        reports.push(compare(current, table, keys).await?);
    }
    sqlx::query("DETACH DATABASE fresh").execute(current).await?;
    Ok(reports)
}

async fn compare(
    db: &mut SqliteConnection,
    table: &'static str,
    keys: &[&str],
) -> Result<TableReport, sqlx::Error> {
    let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT COUNT(*) FROM main.{table}")))
        .fetch_one(&mut *db)
        .await?;
    let key = key_of(keys, "");
    let here = only_in(db, table, &key, "main", "fresh").await?;
    let there = only_in(db, table, &key, "fresh", "main").await?;
    let mut differences = Vec::new();
    for key in here.union(&there) {
        let kind = match (here.contains(key), there.contains(key)) {
            (true, true) => DifferenceKind::Altered(columns(db, table, keys, key).await?),
            (true, false) => DifferenceKind::Extra,
            _ => DifferenceKind::Missing,
        };
        differences.push(Difference { key: key.clone(), kind });
    }
    Ok(TableReport { table, rows: u64::try_from(rows).unwrap_or_default(), differences })
}

/// The key of a row as one text.
fn key_of(keys: &[&str], alias: &str) -> String {
    let quoted: Vec<_> = keys.iter().map(|key| format!("quote({alias}{key})")).collect();
    quoted.join(" || ', ' || ")
}

async fn only_in(
    db: &mut SqliteConnection,
    table: &str,
    key: &str,
    here: &str,
    there: &str,
) -> Result<BTreeSet<String>, sqlx::Error> {
    let sql = format!(
        "SELECT {key} FROM (SELECT * FROM {here}.{table} EXCEPT SELECT * FROM {there}.{table}) \
         LIMIT {MAX_DIFFERENCES}"
    );
    let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(db).await?;
    Ok(keys.into_iter().collect())
}

async fn columns(
    db: &mut SqliteConnection,
    table: &str,
    keys: &[&str],
    key: &str,
) -> Result<Vec<(String, String, String)>, sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
        .bind(table.to_owned())
        .fetch_all(&mut *db)
        .await?;
    let (left, right) = (key_of(keys, "a."), key_of(keys, "b."));
    let mut differing = BTreeMap::new();
    for name in names {
        let sql = format!(
            "SELECT quote(a.{name}), quote(b.{name}) FROM main.{table} a, fresh.{table} b \
             WHERE {left} = $1 AND {right} = $1 AND a.{name} IS NOT b.{name}"
        );
        let values: Option<(String, String)> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(key.to_owned())
            .fetch_optional(&mut *db)
            .await?;
        if let Some(values) = values {
            differing.insert(name, values);
        }
    }
    let shown = |text: String| text.chars().take(SHOWN).collect();
    Ok(differing.into_iter().map(|(name, (a, b))| (name, shown(a), shown(b))).collect())
}

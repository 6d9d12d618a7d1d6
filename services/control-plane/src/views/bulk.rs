//! Statements that insert many rows at once, with few texts, so that each is prepared once.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// Rows per statement, largest first. 256 rows of 25 columns stay below SQLite's 32,766
/// parameters.
const SIZES: [usize; 4] = [256, 32, 4, 1];

/// One statement for each size.
pub(super) struct Bulk([Arc<str>; SIZES.len()]);

impl Bulk {
    /// `INSERT INTO {into} VALUES …`, each row of `columns` parameters.
    pub(super) fn insert(into: &str, columns: usize) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        Self(SIZES.map(|size| {
            let rows = vec![row.as_str(); size].join(",");
            format!("INSERT INTO {into} VALUES {rows}").into()
        }))
    }

    /// Splits `rows` into parts, each with the statement for as many. The text is made of
    /// constants: no value is ever part of it.
    pub(super) fn over<'a, T>(
        &'a self,
        mut rows: &'a [T],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, &'a [T])> {
        std::iter::from_fn(move || {
            let (at, size) = SIZES.iter().enumerate().find(|(_, size)| **size <= rows.len())?;
            let (part, rest) = rows.split_at(*size);
            rows = rest;
            Some((AssertSqlSafe(Arc::clone(&self.0[at])), part))
        })
    }
}

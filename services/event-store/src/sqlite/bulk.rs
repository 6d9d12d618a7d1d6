//! Statements over many rows at once, with few texts, so that each is prepared once.

use std::fmt::Write;
use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// Rows per statement, largest first. 256 rows of 17 columns stay below SQLite's 32,766
/// parameters.
const SIZES: [usize; 4] = [256, 32, 4, 1];

/// One statement for each size, made of a head, as many rows, and a tail.
pub(super) struct Bulk([Arc<str>; SIZES.len()]);

impl Bulk {
    /// A row is its number among the statement's rows, then `columns` parameters.
    pub(super) fn numbered(head: &str, columns: usize, tail: &str) -> Self {
        Self::build(head, tail, |text, row| {
            // Writing into a String does not fail.
            let _ = write!(text, "({row}{})", ",?".repeat(columns));
        })
    }

    /// A row is `columns` parameters.
    pub(super) fn plain(head: &str, columns: usize, tail: &str) -> Self {
        let parameters = format!("({})", vec!["?"; columns].join(","));
        Self::build(head, tail, |text, _| text.push_str(&parameters))
    }

    fn build(head: &str, tail: &str, row: impl Fn(&mut String, usize)) -> Self {
        Self(SIZES.map(|size| {
            let mut text = head.to_owned();
            for number in 0..size {
                text.push_str(if number == 0 { "" } else { "," });
                row(&mut text, number);
            }
            text.push_str(tail);
            text.into()
        }))
    }

    /// Splits `items` into parts, each with the statement for as many rows. The text is made
    /// of constants: no value is ever part of it.
    pub(super) fn over<'a, T>(
        &'a self,
        mut items: &'a [T],
    ) -> impl Iterator<Item = (AssertSqlSafe<Arc<str>>, &'a [T])> {
        std::iter::from_fn(move || {
            let (at, size) = SIZES.iter().enumerate().find(|(_, size)| **size <= items.len())?;
            let (part, rest) = items.split_at(*size);
            items = rest;
            Some((AssertSqlSafe(Arc::clone(&self.0[at])), part))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_split_into_the_sizes_in_order() {
        let bulk = Bulk::numbered("VALUES ", 1, ";");
        let items: Vec<_> = (0..299).collect();
        let parts: Vec<_> = bulk.over(&items).collect();
        let sizes: Vec<_> = parts.iter().map(|(_, part)| part.len()).collect();
        assert_eq!(sizes, [256, 32, 4, 4, 1, 1, 1]);
        assert_eq!(parts.iter().flat_map(|(_, part)| part.iter()).count(), 299);
        assert_eq!(&*parts[2].0.0, "VALUES (0,?),(1,?),(2,?),(3,?);");
    }
}

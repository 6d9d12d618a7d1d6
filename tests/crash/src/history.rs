//! What clients asked for, and what they were told.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What the client knows of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// It was asked for, and no word came back.
    Nothing,
    /// It was done.
    Ok,
    /// It was not done, for certain.
    Refused,
    /// It may have been done.
    Unknown,
}

impl Told {
    const ALL: [Self; 4] = [Self::Nothing, Self::Ok, Self::Refused, Self::Unknown];

    const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "ask",
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A line of the recorder's file: what was told of the operation with this id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was told.
    pub told: Told,
    /// Names the operation: visible ASCII, unique over the whole run.
    pub id: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.told.word(), self.id)
    }
}

/// A line that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnEntry(String);

impl fmt::Display for NotAnEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} is no entry of a history", self.0)
    }
}

impl std::error::Error for NotAnEntry {}

impl FromStr for Entry {
    type Err = NotAnEntry;

    fn from_str(line: &str) -> Result<Self, NotAnEntry> {
        let entry = line.split_once(' ').and_then(|(word, id)| {
            let told = Told::ALL.into_iter().find(|told| told.word() == word)?;
            let fits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
            fits.then(|| Self { told, id: id.to_owned() })
        });
        entry.ok_or_else(|| NotAnEntry(line.to_owned()))
    }
}

/// What was told of every operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    operations: BTreeMap<String, Told>,
}

impl History {
    /// Reads the recorder's file. A last line without its end was never confirmed: it is left out.
    ///
    /// # Errors
    /// When a whole line is no entry.
    pub fn parse(text: &str) -> Result<Self, NotAnEntry> {
        let mut history = Self::default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            history.add(line.parse()?);
        }
        Ok(history)
    }

    /// Takes in one more entry; of what is told of an operation the strongest word counts.
    pub fn add(&mut self, entry: Entry) {
        let told = self.operations.entry(entry.id).or_insert(Told::Nothing);
        if *told == Told::Nothing {
            *told = entry.told;
        }
    }

    /// Every operation.
    pub fn operations(&self) -> impl Iterator<Item = (&str, Told)> {
        self.operations.iter().map(|(id, told)| (id.as_str(), *told))
    }

    /// What was told of an operation; `None` when nobody asked for it.
    #[must_use]
    pub fn told(&self, id: &str) -> Option<Told> {
        self.operations.get(id).copied()
    }

    /// How many were told this.
    #[must_use]
    pub fn count(&self, told: Told) -> usize {
        self.operations.values().filter(|it| **it == told).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_what_was_told_last_and_half_a_line_is_nothing() {
        let history = History::parse("ask a\nask b\nok a\nask c\nunknown c\nok b").unwrap();
        let told: Vec<_> = history.operations().collect();
        assert_eq!(told, [("a", Told::Ok), ("b", Told::Nothing), ("c", Told::Unknown)]);
        assert_eq!(history.count(Told::Ok), 1);
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        for line in ["ok", "ok ", "done a", "ok a b", "ok \u{e9}"] {
            assert!(line.parse::<Entry>().is_err(), "{line:?}");
        }
    }

    #[test]
    fn entries_are_read_as_they_are_written() {
        for told in Told::ALL {
            let entry = Entry { told, id: "c-1".to_owned() };
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
    }
}

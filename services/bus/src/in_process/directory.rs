//! Who wants which subjects: one look-up for plain filters, a scan of those with wildcards.

use std::collections::HashMap;

use crate::{Subject, SubjectFilter};

/// Entries by filter, at most a fixed number.
#[derive(Debug)]
pub(super) struct Directory<T> {
    exact: HashMap<Subject, Vec<(u64, T)>>,
    wild: Vec<(SubjectFilter, u64, T)>,
    entries: usize,
    limit: usize,
    next_ticket: u64,
}

impl<T> Directory<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { exact: HashMap::new(), wild: Vec::new(), entries: 0, limit, next_ticket: 0 }
    }

    /// Adds an entry; the ticket removes it again. `None` at the limit.
    pub(super) fn insert(&mut self, filter: &SubjectFilter, entry: T) -> Option<u64> {
        if self.entries >= self.limit {
            return None;
        }
        let ticket = self.next_ticket;
        match filter.exact() {
            Some(subject) => self.exact.entry(subject).or_default().push((ticket, entry)),
            None => self.wild.push((filter.clone(), ticket, entry)),
        }
        self.entries += 1;
        self.next_ticket += 1;
        Some(ticket)
    }

    /// Removes an entry and returns it, so that it is dropped outside of any lock.
    pub(super) fn remove(&mut self, filter: &SubjectFilter, ticket: u64) -> Option<T> {
        let removed = match filter.exact() {
            Some(subject) => {
                let entries = self.exact.get_mut(&subject)?;
                let index = entries.iter().position(|(held, _)| *held == ticket)?;
                let (_, entry) = entries.remove(index);
                if entries.is_empty() {
                    self.exact.remove(&subject);
                }
                entry
            }
            None => {
                let index = self.wild.iter().position(|(_, held, _)| *held == ticket)?;
                self.wild.remove(index).2
            }
        };
        self.entries -= 1;
        Some(removed)
    }

    /// The entries that want `subject`.
    pub(super) fn matching(&self, subject: &Subject) -> impl Iterator<Item = &T> {
        let exact = self.exact.get(subject).into_iter().flatten().map(|(_, entry)| entry);
        let wild = self.wild.iter().filter(|(filter, ..)| filter.matches(subject));
        exact.chain(wild.map(|(.., entry)| entry))
    }

    /// All entries.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        let exact = self.exact.values().flatten().map(|(_, entry)| entry);
        exact.chain(self.wild.iter().map(|(.., entry)| entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> SubjectFilter {
        SubjectFilter::new(text).unwrap()
    }

    #[test]
    fn finds_plain_and_wild_entries_until_they_are_removed() {
        let mut directory = Directory::new(10);
        let plain = directory.insert(&filter("a.b"), "plain").unwrap();
        let wild = directory.insert(&filter("a.*"), "wild").unwrap();
        directory.insert(&filter("c"), "other").unwrap();
        let subject = Subject::new("a.b").unwrap();
        assert_eq!(directory.matching(&subject).collect::<Vec<_>>(), [&"plain", &"wild"]);

        assert_eq!(directory.remove(&filter("a.b"), plain), Some("plain"));
        assert_eq!(directory.remove(&filter("a.b"), plain), None);
        assert_eq!(directory.remove(&filter("a.*"), wild), Some("wild"));
        assert_eq!(directory.matching(&subject).count(), 0);
        assert_eq!(directory.all().collect::<Vec<_>>(), [&"other"]);
    }

    #[test]
    fn refuses_entries_above_its_limit_and_takes_them_after_a_removal() {
        let mut directory = Directory::new(1);
        let ticket = directory.insert(&filter("a"), 1).unwrap();
        assert_eq!(directory.insert(&filter("b"), 2), None);
        directory.remove(&filter("a"), ticket);
        assert!(directory.insert(&filter("b"), 2).is_some());
    }
}

//! What those who listen to a connection want to hear, taken together.
//!
//! Pure: the shell tells the upstream what is planned here. What always holds: a resource is
//! wanted as long as anybody wants it; the log level is the most verbose that anybody wants.

use std::collections::{BTreeMap, BTreeSet};

use mcp::LogLevel;

/// Most resources that one listener follows.
pub(crate) const MAX_URIS: usize = 10_000;
/// Most resources that all listeners of a connection follow.
const MAX_TOTAL: usize = 50_000;
/// The longest URI that is followed, in bytes.
pub(crate) const MAX_URI_BYTES: usize = 8 * 1024;

/// What one listener wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Resources whose updates it wants to hear of, by the upstream's own URIs.
    pub(crate) uris: BTreeSet<String>,
    /// The least severe log messages it wants; `None` where it never said.
    pub(crate) level: Option<LogLevel>,
}

impl Wants {
    /// Whether it may follow that resource, too.
    pub(crate) fn has_room(&self, uri: &str) -> bool {
        uri.len() <= MAX_URI_BYTES && (self.uris.contains(uri) || self.uris.len() < MAX_URIS)
    }
}

/// All wants of a connection.
#[derive(Debug, Default)]
pub(crate) struct Union {
    counts: BTreeMap<String, usize>,
    /// What requests asked for; it stays, for the next one of the client is likely to want it too.
    once: Option<LogLevel>,
}

/// What the upstream was told on a connection.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Resources it was asked to report on; with `false` those it refused.
    uris: BTreeMap<String, bool>,
    level: Option<LogLevel>,
}

/// Something to tell the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Report on a resource.
    Subscribe(String),
    /// Report on it no longer.
    Unsubscribe(String),
    /// Send log messages from this level on.
    Level(LogLevel),
}

impl Union {
    /// One more wants a resource.
    pub(crate) fn add(&mut self, uri: &str) {
        match self.counts.get_mut(uri) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(uri.to_owned(), 1)),
        }
    }

    /// Whether anybody wants a resource.
    pub(crate) fn wants(&self, uri: &str) -> bool {
        self.counts.contains_key(uri)
    }

    /// Whether nobody may follow any more resources.
    pub(crate) fn is_full(&self) -> bool {
        self.counts.len() >= MAX_TOTAL
    }

    /// One less wants it.
    pub(crate) fn remove(&mut self, uri: &str) {
        if let Some(count) = self.counts.get_mut(uri) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(uri);
            }
        }
    }

    /// A request wants log messages of this level while it runs; whether that is news.
    pub(crate) fn raise(&mut self, level: LogLevel) -> bool {
        let is_news = self.once.is_none_or(|before| level < before);
        if is_news {
            self.once = Some(level);
        }
        is_news
    }

    /// What is left to do so that the upstream does what is wanted. `levels` are those that the
    /// listeners want.
    pub(crate) fn plan(&self, told: &Told, levels: impl Iterator<Item = LogLevel>) -> Vec<Step> {
        let wanted = levels.chain(self.once).min();
        let level = wanted.filter(|level| told.level != Some(*level)).map(Step::Level);
        let gone = told.uris.keys().filter(|uri| !self.counts.contains_key(*uri));
        let new = self.counts.keys().filter(|uri| !told.uris.contains_key(*uri));
        level
            .into_iter()
            .chain(gone.cloned().map(Step::Unsubscribe))
            .chain(new.cloned().map(Step::Subscribe))
            .collect()
    }
}

impl Told {
    /// A step was taken, and the upstream agreed or not.
    pub(crate) fn note(&mut self, step: &Step, agreed: bool) {
        match step {
            Step::Subscribe(uri) => drop(self.uris.insert(uri.clone(), agreed)),
            Step::Unsubscribe(uri) => drop(self.uris.remove(uri)),
            // One that refuses a level is not asked again for the same.
            Step::Level(level) => self.level = Some(*level),
        }
    }

    /// What was refused may be tried again.
    pub(crate) fn forget_refusal(&mut self, uri: &str) {
        if self.uris.get(uri) == Some(&false) {
            self.uris.remove(uri);
        }
    }

    /// Whether the upstream has to be told that a resource is no longer wanted.
    pub(crate) fn has(&self, uri: &str) -> bool {
        self.uris.get(uri) == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(uri: &str) -> Step {
        Step::Subscribe(uri.to_owned())
    }

    fn unsubscribe(uri: &str) -> Step {
        Step::Unsubscribe(uri.to_owned())
    }

    #[test]
    fn the_first_subscribes_and_the_last_unsubscribes() {
        let (mut union, mut told) = (Union::default(), Told::default());
        union.add("a");
        union.add("a");
        assert_eq!(union.plan(&told, [].into_iter()), [subscribe("a")]);
        told.note(&subscribe("a"), true);
        assert!(told.has("a"));
        assert_eq!(union.plan(&told, [].into_iter()), []);
        union.remove("a");
        assert_eq!(union.plan(&told, [].into_iter()), []);
        union.remove("a");
        assert_eq!(union.plan(&told, [].into_iter()), [unsubscribe("a")]);
        told.note(&unsubscribe("a"), true);
        assert_eq!(union.plan(&told, [].into_iter()), []);
        union.remove("never");
    }

    #[test]
    fn a_new_connection_is_told_everything() {
        let mut union = Union::default();
        union.add("b");
        union.add("a");
        let levels = || [LogLevel::Error, LogLevel::Info].into_iter();
        assert_eq!(
            union.plan(&Told::default(), levels()),
            [Step::Level(LogLevel::Info), subscribe("a"), subscribe("b")]
        );
    }

    #[test]
    fn the_level_is_the_most_verbose_and_is_told_once() {
        let (mut union, mut told) = (Union::default(), Told::default());
        let warning = || [LogLevel::Warning].into_iter();
        assert_eq!(union.plan(&told, warning()), [Step::Level(LogLevel::Warning)]);
        told.note(&Step::Level(LogLevel::Warning), false);
        assert_eq!(union.plan(&told, warning()), []);
        assert!(union.raise(LogLevel::Debug));
        assert!(!union.raise(LogLevel::Info));
        assert_eq!(union.plan(&told, warning()), [Step::Level(LogLevel::Debug)]);
        told.note(&Step::Level(LogLevel::Debug), true);
        // Nobody wants anything any more: there is no way to say so.
        assert_eq!(Union::default().plan(&told, [].into_iter()), []);
    }

    #[test]
    fn what_was_refused_is_not_asked_for_again_by_itself() {
        let (mut union, mut told) = (Union::default(), Told::default());
        union.add("a");
        told.note(&subscribe("a"), false);
        assert_eq!(union.plan(&told, [].into_iter()), []);
        assert!(!told.has("a"));
        told.forget_refusal("a");
        assert_eq!(union.plan(&told, [].into_iter()), [subscribe("a")]);
    }

    #[test]
    fn one_listener_follows_so_many_resources() {
        let mut wants = Wants::default();
        wants.uris.extend((0..MAX_URIS).map(|number| number.to_string()));
        assert!(wants.has_room("7") && !wants.has_room("another"));
        assert!(!Wants::default().has_room(&"x".repeat(MAX_URI_BYTES + 1)));
    }
}

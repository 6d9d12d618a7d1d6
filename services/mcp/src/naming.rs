//! The names under which tools and prompts of many servers appear as one set.
//!
//! A name is `{server}__{item}` in `[A-Za-z0-9_-]`, at most [`Naming::max_chars`] long. It depends
//! on its own server and item alone, never on which other servers exist, so it is the same
//! tomorrow. A name that had to be changed (a foreign character, too long, a server name that
//! makes the separator ambiguous) ends in `_` and eight characters of a digest over both parts,
//! which keeps it unique.

use std::borrow::Cow;

use crate::digest;

/// Between the server and the item.
pub const SEPARATOR: &str = "__";

/// The digest's characters and the underscore before them.
const SUFFIX_CHARS: usize = 9;

/// How names are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Naming {
    prefixed: bool,
    max_chars: usize,
}

impl Default for Naming {
    /// Prefixed, at most 60 characters.
    fn default() -> Self {
        Self::prefixed(Self::DEFAULT_MAX_CHARS)
    }
}

impl Naming {
    /// The longest name by default: some clients hide tools with longer ones.
    pub const DEFAULT_MAX_CHARS: usize = 60;

    /// The shortest and longest limit that can be set; others are clamped.
    pub const MAX_CHARS_RANGE: std::ops::RangeInclusive<usize> = 24..=128;

    /// `{server}__{item}`, at most `max_chars` long.
    #[must_use]
    pub fn prefixed(max_chars: usize) -> Self {
        let range = Self::MAX_CHARS_RANGE;
        Self { prefixed: true, max_chars: max_chars.clamp(*range.start(), *range.end()) }
    }

    /// `{item}` alone, for a project with a single server; still in the charset and the limit.
    #[must_use]
    pub fn unprefixed(max_chars: usize) -> Self {
        Self { prefixed: false, ..Self::prefixed(max_chars) }
    }

    /// Whether names start with their server.
    #[must_use]
    pub fn is_prefixed(self) -> bool {
        self.prefixed
    }

    /// The longest name, in characters (all are ASCII).
    #[must_use]
    pub fn max_chars(self) -> usize {
        self.max_chars
    }

    /// The name under which `item` of `server` appears.
    #[must_use]
    pub fn expose(self, server: &str, item: &str) -> String {
        let plain = self.joined(server, item);
        if self.keeps(server, item) {
            return plain;
        }
        let server = if self.prefixed { server } else { "" };
        let digest = digest::sha256([server.as_bytes(), item.as_bytes()]);
        let keep = plain.len().min(self.max_chars - SUFFIX_CHARS);
        format!("{}_{}", &plain[..keep], digest::short(&digest))
    }

    /// Whether the name is server and item as they are, without a digest.
    #[must_use]
    pub fn keeps(self, server: &str, item: &str) -> bool {
        // With no separator inside the server's name and no underscore at its end, the first
        // separator of the whole is the one that was put there: two such pairs cannot meet.
        let server_is_plain = !self.prefixed
            || (is_plain(server)
                && !server.is_empty()
                && !server.contains(SEPARATOR)
                && !server.ends_with('_'));
        let prefix = if self.prefixed { server.len() + SEPARATOR.len() } else { 0 };
        server_is_plain
            && is_plain(item)
            && !item.is_empty()
            && prefix + item.len() <= self.max_chars
    }

    /// Both parts in the charset, of any length.
    fn joined(self, server: &str, item: &str) -> String {
        if self.prefixed {
            format!("{}{SEPARATOR}{}", sanitize(server), sanitize(item))
        } else {
            sanitize(item).into_owned()
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(is_name_byte)
}

fn sanitize(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let keep = |c: char| {
        if c.is_ascii() && is_name_byte(c as u8) { c } else { '_' }
    };
    Cow::Owned(text.chars().map(keep).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_are_joined_and_nothing_else() {
        let naming = Naming::default();
        assert_eq!(naming.expose("time", "get_current_time"), "time__get_current_time");
        assert_eq!(naming.expose("my-server", "_x"), "my-server___x");
        assert_eq!(Naming::unprefixed(60).expose("time", "echo"), "echo");
    }

    #[test]
    fn changed_names_end_in_a_digest_that_never_changes() {
        let naming = Naming::default();
        assert_eq!(naming.expose("git", "repo.status"), "git__repo_status_ba3drjri");
        assert_ne!(naming.expose("git", "repo.status"), naming.expose("git", "repo/status"));
        let long = naming.expose("server", &"x".repeat(200));
        assert_eq!(long.len(), 60);
        assert!(long.starts_with("server__xxx"));
    }

    #[test]
    fn a_separator_inside_a_server_name_cannot_imitate_another_server() {
        let naming = Naming::default();
        assert_eq!(naming.expose("a", "b__c"), "a__b__c");
        assert_ne!(naming.expose("a__b", "c"), "a__b__c");
        assert_ne!(naming.expose("a_", "b"), naming.expose("a", "_b"));
    }

    #[test]
    fn hostile_names_become_short_plain_ones() {
        let naming = Naming::default();
        let long = "\u{202e}\u{0}\n".repeat(10_000);
        for item in ["", " ", "\u{0}", "\u{202e}drop", "名前", "a\nb", "🦀", "..", long.as_str()]
        {
            let name = naming.expose("s", item);
            assert!(is_plain(&name) && name.len() <= 60, "{item:?}: {name}");
            assert!(!naming.keeps("s", item));
            assert_eq!(naming.expose("s", item), name);
        }
    }

    proptest! {
        #[test]
        fn names_fit_and_stay_apart(
            pairs in proptest::collection::hash_set(("[ab_.é-]{0,5}", "[ab_.é-]{0,5}"), 1..60),
            max_chars in 0_usize..140,
        ) {
            let naming = Naming::prefixed(max_chars);
            let mut seen = HashMap::new();
            for (server, item) in pairs {
                let name = naming.expose(&server, &item);
                prop_assert!(name.len() <= naming.max_chars());
                prop_assert!(is_plain(&name) && !name.is_empty());
                let before = seen.insert(name.clone(), (server, item));
                prop_assert!(before.is_none(), "{name} stands for two items: {before:?}");
            }
        }

        #[test]
        fn long_names_stay_apart(tail in "[a-z]{1,6}", other in "[a-z]{1,6}") {
            prop_assume!(tail != other);
            let naming = Naming::default();
            let long = "t".repeat(100);
            let (one, two) = (format!("{long}{tail}"), format!("{long}{other}"));
            prop_assert_ne!(naming.expose("s", &one), naming.expose("s", &two));
        }
    }
}

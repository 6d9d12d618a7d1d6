//! Where a message goes, and which messages somebody wants.
//!
//! Both are tokens separated by dots, as NATS has them, so that an adapter hands them through.

use std::fmt;
use std::sync::Arc;

/// A text that is no subject or filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid subject")]
pub struct InvalidSubject(String);

const MAX_BYTES: usize = 255;

/// A concrete address, e.g. `evt.server.registered`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Longest subject or filter in bytes.
    pub const MAX_BYTES: usize = MAX_BYTES;

    /// Checks and wraps `text`.
    ///
    /// # Errors
    /// Unless `text` has 1 to [`Self::MAX_BYTES`] bytes and consists of tokens of visible ASCII
    /// without `*`, `>` and `$`, separated by single dots.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidSubject> {
        let text = text.as_ref();
        if text.len() <= MAX_BYTES && text.split('.').all(is_token) {
            Ok(Self(text.into()))
        } else {
            Err(invalid(text))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tokens between the dots.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

/// A pattern over subjects: `*` stands for one token, a last `>` for one or more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectFilter(Arc<str>);

impl SubjectFilter {
    /// Checks and wraps `text`.
    ///
    /// # Errors
    /// Unless `text` is a [`Subject`] in which whole tokens may be `*`, and the last one `>`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidSubject> {
        let text = text.as_ref();
        let head = match text {
            ">" => return Ok(Self(text.into())),
            _ => text.strip_suffix(".>").unwrap_or(text),
        };
        if text.len() <= MAX_BYTES && head.split('.').all(|t| t == "*" || is_token(t)) {
            Ok(Self(text.into()))
        } else {
            Err(invalid(text))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a message to `subject` is wanted.
    pub fn matches(&self, subject: &Subject) -> bool {
        let mut tokens = subject.tokens();
        for wanted in self.0.split('.') {
            match (wanted, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }

    /// The one subject that a filter without wildcards matches.
    pub(crate) fn exact(&self) -> Option<Subject> {
        let wild = self.0.split('.').any(|token| token == "*" || token == ">");
        (!wild).then(|| Subject(Arc::clone(&self.0)))
    }
}

impl From<Subject> for SubjectFilter {
    fn from(subject: Subject) -> Self {
        Self(subject.0)
    }
}

fn is_token(token: &str) -> bool {
    !token.is_empty()
        && token.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'*' | b'>' | b'$'))
}

fn invalid(text: &str) -> InvalidSubject {
    InvalidSubject(text.chars().take(80).collect())
}

macro_rules! show_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidSubject;
            fn from_str(text: &str) -> Result<Self, InvalidSubject> {
                Self::new(text)
            }
        }
    )*};
}

show_as_text!(Subject, SubjectFilter);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_plain_tokens() {
        for good in ["a", "evt.server.registered", "worker.0198-ab_c", &"x".repeat(255)] {
            assert!(Subject::new(good).is_ok(), "{good:?}");
        }
        let long = "x".repeat(256);
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "$SYS.a", "ü", &long] {
            assert!(Subject::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_filter_has_wildcards_as_whole_tokens() {
        for good in ["a", "*", ">", "a.*", "a.>", "*.b.*.>"] {
            assert!(SubjectFilter::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a*", "a.>.b", ">.a", "a.b>", ".>", ">>", "a..>"] {
            assert!(SubjectFilter::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn filters_match_as_in_nats() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b", "a", false),
            ("a.b", "a.b.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a.b", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("*.*.c", "a.b.c", true),
        ];
        for (filter, subject, expected) in cases {
            let matches = SubjectFilter::new(filter).unwrap().matches(&subject.parse().unwrap());
            assert_eq!(matches, expected, "{filter} over {subject}");
        }
    }
}

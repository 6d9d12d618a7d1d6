//! The revisions of the protocol: those that open with `initialize`, how one of them is agreed on,
//! and the stateless one that has no session.

/// What two sides speak with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A session that `initialize` has opened.
    Sessions(Revision),
    /// No session: each request says all that it needs (2026-07-28).
    Stateless,
}

impl Protocol {
    /// The stateless revision as it is written on the wire.
    pub const STATELESS: &str = "2026-07-28";

    /// The revision as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions(revision) => revision.as_str(),
            Self::Stateless => Self::STATELESS,
        }
    }

    /// What is spoken, from its spelling on the wire; `None` if it is not supported.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == Self::STATELESS {
            return Some(Self::Stateless);
        }
        Revision::parse(text).map(Self::Sessions)
    }

    /// Whether there is no session.
    #[must_use]
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::Stateless)
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A revision of the protocol, in order of age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05: HTTP+SSE.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP; the only one with batches.
    V2025_03_26,
    /// 2025-06-18: the version header, structured results, elicitation.
    V2025_06_18,
    /// 2025-11-25: tasks, icons, URL elicitation.
    V2025_11_25,
}

impl Revision {
    /// Every supported revision, oldest first.
    pub const ALL: [Self; 4] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];

    /// The one that is offered and preferred.
    pub const LATEST: Self = Self::V2025_11_25;

    /// What a client speaks that sends no version header over HTTP.
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// The revision as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
        }
    }

    /// A revision from its spelling on the wire; `None` if it is not supported.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// What a server answers to a client that asks for `requested`: the same if it is supported,
    /// else the latest.
    #[must_use]
    pub fn negotiate(requested: &str) -> Self {
        Self::parse(requested).unwrap_or(Self::LATEST)
    }

    /// Whether a message may be an array of messages.
    #[must_use]
    pub const fn has_batches(self) -> bool {
        matches!(self, Self::V2025_03_26)
    }

    /// Whether requests over HTTP carry the version header.
    #[must_use]
    pub fn has_version_header(self) -> bool {
        self >= Self::V2025_06_18
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_read_back_from_its_name() {
        let sessions = Revision::ALL.map(Protocol::Sessions);
        for protocol in sessions.into_iter().chain([Protocol::Stateless]) {
            assert_eq!(Protocol::parse(protocol.as_str()), Some(protocol));
        }
        assert_eq!(Protocol::parse("2026-07-29"), None);
        assert!(Protocol::Stateless.is_stateless());
    }

    #[test]
    fn a_supported_request_is_granted_and_any_other_gets_the_latest() {
        for revision in Revision::ALL {
            assert_eq!(Revision::negotiate(revision.as_str()), revision);
        }
        assert_eq!(Revision::negotiate("2099-01-01"), Revision::LATEST);
        assert_eq!(Revision::negotiate(""), Revision::LATEST);
    }
}

//! Every identifier of the system, each its own type, from one macro.
//!
//! Ids made by the system are UUIDs of version 7: unique without coordination and ordered by
//! the time of their making. A [`ProjectId`] is a short slug instead, since it stands in URLs
//! that people copy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is no id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {kind}")]
pub struct InvalidId {
    /// What was expected, e.g. `server id`.
    pub kind: &'static str,
    /// What was given, cut at 80 characters.
    pub value: String,
}

impl InvalidId {
    fn new(kind: &'static str, value: &str) -> Self {
        Self { kind, value: value.chars().take(80).collect() }
    }
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that the caller made or read.
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID inside.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text).map(Self).map_err(|_| InvalidId::new($kind, text))
            }
        }
    )*};
}

uuid_ids! {
    /// A tenant: an organization, or [`TenantId::SYSTEM`] for what belongs to none.
    TenantId = "tenant id";
    /// A person who can log in. Users live in the system tenant.
    UserId = "user id";
    /// An MCP server registered in a project.
    ServerId = "server id";
    /// A key that opens one project's MCP endpoints.
    ApiKeyId = "API key id";
    /// One request of an MCP client that went to an upstream.
    CallId = "call id";
    /// One event. Appending the same event id twice is one append.
    EventId = "event id";
}

impl TenantId {
    /// The tenant of users, logins and organizations' own records.
    pub const SYSTEM: Self = Self(Uuid::nil());
}

/// A project's id: a slug of 1–64 characters of `[A-Za-z0-9_-]`, unique over all tenants.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectId(String);

impl ProjectId {
    /// Most characters of a project id.
    pub const MAX_LEN: usize = 64;

    /// A generated id: the 12 last hexadecimal digits of `seed`, which should be random.
    pub fn generated(seed: Uuid) -> Self {
        let hex = seed.simple().to_string();
        Self(hex[hex.len() - 12..].to_owned())
    }

    /// The slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ProjectId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        let fits = !text.is_empty()
            && text.len() <= Self::MAX_LEN
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(Self(text)) } else { Err(InvalidId::new("project id", &text)) }
    }
}

impl From<ProjectId> for String {
    fn from(id: ProjectId) -> Self {
        id.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProjectId({})", self.0)
    }
}

/// The kinds of streams. The order of the variants has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamKind {
    /// An organization and its members.
    Organization,
    /// A person (system tenant).
    User,
    /// A project, its settings and memberships.
    Project,
    /// A server's configuration.
    Server,
    /// What a worker observed of a server: its state and its catalogue.
    Connection,
    /// A key.
    ApiKey,
    /// Logins of a user (system tenant).
    Login,
    /// One call.
    Call,
    /// Denials and reads of sensitive configuration, one stream per project.
    Access,
}

impl StreamKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Organization,
        Self::User,
        Self::Project,
        Self::Server,
        Self::Connection,
        Self::ApiKey,
        Self::Login,
        Self::Call,
        Self::Access,
    ];

    /// The name under which the kind is stored and published.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::User => "user",
            Self::Project => "project",
            Self::Server => "server",
            Self::Connection => "connection",
            Self::ApiKey => "api_key",
            Self::Login => "login",
            Self::Call => "call",
            Self::Access => "access",
        }
    }

    /// Whether edges and workers build their projections from this kind.
    pub const fn is_configuration(self) -> bool {
        !matches!(self, Self::Call | Self::Access | Self::Login)
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StreamKind {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| InvalidId::new("stream kind", text))
    }
}

/// The name of one stream of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Who owns the stream.
    pub tenant: TenantId,
    /// What the stream tells of.
    pub kind: StreamKind,
    /// Which one of that kind: the text form of its id, at most 64 bytes.
    pub id: String,
}

impl StreamId {
    /// Names the stream of `id` in `tenant`.
    pub fn new(tenant: TenantId, kind: StreamKind, id: impl ToString) -> Self {
        Self { tenant, kind, id: id.to_string() }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.kind, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_id_is_a_slug() {
        assert!("abc123".parse::<ProjectId>().is_ok());
        for bad in ["", "a/b", "a b", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn stream_kinds_round_trip_through_their_names() {
        for kind in StreamKind::ALL {
            assert_eq!(kind.as_str().parse::<StreamKind>(), Ok(kind));
        }
    }
}

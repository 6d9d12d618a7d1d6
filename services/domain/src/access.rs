//! Who acts, and as what.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{ApiKeyId, InvalidId, UserId};

/// What a member, or a key, may do in a project. Ordered by reach: `Reporter < Developer < Owner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads, and never calls.
    Reporter,
    /// Uses servers and reads configurations.
    Developer,
    /// Changes everything in the project.
    Owner,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 3] = [Self::Reporter, Self::Developer, Self::Owner];

    /// The name in rules, events and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reporter => "reporter",
            Self::Developer => "developer",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| InvalidId { kind: "role", value: text.chars().take(80).collect() })
    }
}

/// Who caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person who is logged in.
    User(UserId),
    /// A client that shows a key.
    ApiKey(ApiKeyId),
    /// The system itself: first start, import by the operator, observation.
    System,
}

impl Actor {
    /// `user`, `api_key` or `system`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::ApiKey(_) => "api_key",
            Self::System => "system",
        }
    }

    /// The id as text; empty for the system.
    pub fn id(&self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::ApiKey(id) => id.to_string(),
            Self::System => String::new(),
        }
    }

    /// From [`Actor::kind`] and [`Actor::id`].
    ///
    /// # Errors
    /// When the kind is unknown or the id is none.
    pub fn parse(kind: &str, id: &str) -> Result<Self, InvalidId> {
        match kind {
            "user" => id.parse().map(Self::User),
            "api_key" => id.parse().map(Self::ApiKey),
            "system" => Ok(Self::System),
            other => Err(InvalidId { kind: "actor", value: other.chars().take(80).collect() }),
        }
    }
}

//! A key that opens one project's MCP endpoints.

use std::fmt;

use crate::access::Role;
use crate::error::{ErrorCode, Refusal};
use crate::event::ApiKeyEvent;
use crate::ids::{ProjectId, UserId};
use crate::text;
use crate::time::Timestamp;

/// SHA-256 of a whole key. A key has 160 random bits, so that its plain hash cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Lower-case hexadecimal.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({}…)", &self.to_hex()[..8])
    }
}

/// What a key is, while it is one.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuedKey {
    /// What it opens.
    pub project: ProjectId,
    /// For people.
    pub name: String,
    /// What it is known by.
    pub hash: KeyHash,
    /// Its last four characters.
    pub suffix: String,
    /// The most it may do. What it may do now is the lesser of this and its creator's role.
    pub role: Role,
    /// Who made it.
    pub creator: UserId,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

impl IssuedKey {
    /// Whether the key has ended by itself.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// The state of a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ApiKey {
    /// Nothing happened yet.
    #[default]
    Absent,
    /// Opens its project until it expires.
    Active(IssuedKey),
    /// Opens nothing any more; stays known, so that it stays denied.
    Revoked(IssuedKey),
}

/// What can be asked of a key.
#[derive(Clone, Debug)]
pub enum ApiKeyCommand {
    /// Make it.
    Issue {
        /// What it is to be.
        key: IssuedKey,
        /// Its creator's role in the project.
        creator_role: Role,
    },
    /// End it. Asking again changes nothing.
    Revoke,
}

/// The rules.
///
/// # Errors
/// A [`Refusal`] that says which rule stands against it.
pub fn decide(
    state: &ApiKey,
    command: ApiKeyCommand,
    now: Timestamp,
) -> Result<Vec<ApiKeyEvent>, Refusal> {
    match (state, command) {
        (ApiKey::Absent, ApiKeyCommand::Issue { key, creator_role }) => {
            if key.role > creator_role {
                return Err(Refusal::new(
                    ErrorCode::PermissionDenied,
                    format!("a {creator_role} cannot make a key with the role {}", key.role),
                ));
            }
            if key.is_expired(now) {
                return Err(Refusal::invalid("expire_time", "must lie in the future"));
            }
            Ok(vec![ApiKeyEvent::Issued {
                project: key.project,
                name: text::name("name", &key.name)?,
                hash: key.hash,
                suffix: key.suffix,
                role: key.role,
                creator: key.creator,
                expires_at: key.expires_at,
            }])
        }
        (ApiKey::Active(_) | ApiKey::Revoked(_), ApiKeyCommand::Issue { .. }) => {
            Err(Refusal::new(ErrorCode::AlreadyExists, "the key exists"))
        }
        (ApiKey::Active(_), ApiKeyCommand::Revoke) => Ok(vec![ApiKeyEvent::Revoked]),
        (ApiKey::Revoked(_), ApiKeyCommand::Revoke) => Ok(vec![]),
        (ApiKey::Absent, ApiKeyCommand::Revoke) => Err(Refusal::not_found("API key")),
    }
}

/// The state after an event.
#[must_use]
pub fn evolve(state: ApiKey, event: &ApiKeyEvent) -> ApiKey {
    match (state, event) {
        (_, ApiKeyEvent::Issued { project, name, hash, suffix, role, creator, expires_at }) => {
            ApiKey::Active(IssuedKey {
                project: project.clone(),
                name: name.clone(),
                hash: *hash,
                suffix: suffix.clone(),
                role: *role,
                creator: *creator,
                expires_at: *expires_at,
            })
        }
        (ApiKey::Active(key), ApiKeyEvent::Revoked) => ApiKey::Revoked(key),
        (state, ApiKeyEvent::Revoked) => state,
    }
}

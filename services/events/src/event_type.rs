//! The closed list of stored type names.

use std::fmt;
use std::str::FromStr;

use domain::StreamKind;

/// A type name that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known event type")]
pub struct UnknownEventType(String);

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal of $kind:ident v $version:literal;)*) => {
        /// What kind of event something is: the name under which it is stored and published.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventType {
            $($(#[$doc])* $name,)*
        }

        impl EventType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name, e.g. `server.registered`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The kind of stream that such events are in.
            pub const fn kind(self) -> StreamKind {
                match self { $(Self::$name => StreamKind::$kind,)* }
            }

            /// The version in which such events are written now, from 1.
            pub const fn schema_version(self) -> u32 {
                match self { $(Self::$name => $version,)* }
            }
        }
    };
}

event_types! {
    /// An organization exists.
    OrganizationCreated = "organization.created" of Organization v 1;
    /// A user belongs to an organization.
    OrganizationMemberAdded = "organization.member_added" of Organization v 1;
    /// A person can log in.
    UserRegistered = "user.registered" of User v 1;
    /// A person has another password.
    UserPasswordChanged = "user.password_changed" of User v 1;
    /// A project exists.
    ProjectCreated = "project.created" of Project v 1;
    /// A project's name, description or settings changed.
    ProjectChanged = "project.changed" of Project v 1;
    /// A user is in a project.
    ProjectMemberAdded = "project.member_added" of Project v 1;
    /// A member has another role.
    ProjectMemberRoleChanged = "project.member_role_changed" of Project v 1;
    /// A member left.
    ProjectMemberRemoved = "project.member_removed" of Project v 1;
    /// A project is gone.
    ProjectDeleted = "project.deleted" of Project v 1;
    /// A server exists.
    ServerRegistered = "server.registered" of Server v 1;
    /// A server is reached another way.
    ServerReconfigured = "server.reconfigured" of Server v 1;
    /// A server has another name.
    ServerRenamed = "server.renamed" of Server v 1;
    /// A server is to be used.
    ServerEnabled = "server.enabled" of Server v 1;
    /// A server is not to be used.
    ServerDisabled = "server.disabled" of Server v 1;
    /// Clients no longer see a tool.
    ServerToolDisabled = "server.tool_disabled" of Server v 1;
    /// Clients see a tool again.
    ServerToolEnabled = "server.tool_enabled" of Server v 1;
    /// An Owner approved a definition of a tool.
    ServerToolApproved = "server.tool_approved" of Server v 1;
    /// A server is gone.
    ServerDeleted = "server.deleted" of Server v 1;
    /// The state of a connection changed.
    ConnectionStateObserved = "connection.state_observed" of Connection v 1;
    /// The catalogue of a server changed.
    ConnectionCatalogueObserved = "connection.catalogue_observed" of Connection v 1;
    /// A key exists.
    ApiKeyIssued = "api_key.issued" of ApiKey v 1;
    /// A key opens nothing any more.
    ApiKeyRevoked = "api_key.revoked" of ApiKey v 1;
    /// Somebody logged in.
    LoginSucceeded = "login.succeeded" of Login v 1;
    /// Somebody gave a wrong password.
    LoginFailed = "login.failed" of Login v 1;
    /// A call is about to be forwarded.
    CallStarted = "call.started" of Call v 1;
    /// A call is over.
    CallFinished = "call.finished" of Call v 1;
    /// Somebody with a valid credential was refused.
    AccessDenied = "access.denied" of Access v 1;
    /// Launch values were shown.
    AccessConfigRevealed = "access.config_revealed" of Access v 1;
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;
    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL
            .iter()
            .copied()
            .find(|event_type| event_type.as_str() == text)
            .ok_or_else(|| UnknownEventType(text.chars().take(80).collect()))
    }
}

/// The names of all types, for filters and documentation.
pub fn event_types() -> impl ExactSizeIterator<Item = &'static str> {
    EventType::ALL.iter().map(|event_type| event_type.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_begin_with_their_kind() {
        for (index, event_type) in EventType::ALL.iter().enumerate() {
            let prefix = format!("{}.", event_type.kind());
            assert!(event_type.as_str().starts_with(&prefix), "{event_type}");
            assert_eq!(event_type.as_str().parse(), Ok(*event_type));
            assert!(event_types().take(index).all(|name| name != event_type.as_str()));
        }
        assert!("server.exploded".parse::<EventType>().is_err());
    }
}

//! The closed list of what can be done in a project.

use std::fmt;
use std::str::FromStr;

/// A text that names no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known action")]
pub struct UnknownAction(String);

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $object:literal . $verb:literal;)*) => {
        /// Something that can be done in a project.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in denials and documentation, e.g. `servers.write`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!($object, ".", $verb),)* }
            }

            /// What it is done to, as in the rules.
            pub const fn object(self) -> &'static str {
                match self { $(Self::$name => $object,)* }
            }

            /// What is done, as in the rules.
            pub const fn verb(self) -> &'static str {
                match self { $(Self::$name => $verb,)* }
            }
        }
    };
}

actions! {
    /// See a project and its settings.
    ProjectsRead = "projects"."read";
    /// Change a project's name, description or settings.
    ProjectsWrite = "projects"."write";
    /// Delete a project.
    ProjectsDelete = "projects"."delete";
    /// See who is in a project.
    MembersRead = "members"."read";
    /// Add, change or remove members. Leaving needs no role.
    MembersWrite = "members"."write";
    /// See servers, their state and their tools, without launch values.
    ServersRead = "servers"."read";
    /// Register, change, enable, disable and delete servers and tools; import.
    ServersWrite = "servers"."write";
    /// Take a changed definition of a tool as the one that clients may use.
    ServersApprove = "servers"."approve";
    /// Try a server's connection.
    ServersTest = "servers"."test";
    /// See launch values: arguments, environment, headers.
    ServersReveal = "servers"."reveal";
    /// See the last lines of a server's standard error.
    ServersLog = "servers"."log";
    /// See which keys there are.
    ApiKeysRead = "api_keys"."read";
    /// Make a key with at most one's own role.
    ApiKeysCreate = "api_keys"."create";
    /// Revoke a key that one made oneself. An Owner revokes each.
    ApiKeysRevoke = "api_keys"."revoke";
    /// See the record of calls without arguments and results.
    CallsRead = "calls"."read";
    /// See arguments and results of calls.
    CallsReadBody = "calls"."read_body";
    /// See who did what.
    AuditRead = "audit"."read";
    /// See configurations for MCP clients with a placeholder for the key.
    ClientConfigsRead = "client_configs"."read";
    /// Get a configuration for an MCP client with a new key in it.
    ClientConfigsMint = "client_configs"."mint";
    /// List tools, prompts and resources over MCP.
    McpList = "mcp"."list";
    /// Call tools, get prompts and read resources over MCP.
    McpCall = "mcp"."call";
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = UnknownAction;
    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| UnknownAction(text.chars().take(80).collect()))
    }
}

//! Everything that can be in the log, as values.
//!
//! The stored form is another type; the crate `events` maps between the two, so that a change
//! here never changes what is written.

use crate::access::Role;
use crate::api_key::KeyHash;
use crate::call::{CallFinished, CallStarted};
use crate::connection::{CatalogueSummary, Observation};
use crate::ids::{ProjectId, UserId};
use crate::project::ProjectSettings;
use crate::server::{ServerConfig, ServerName};
use crate::time::Timestamp;

/// Where a secret lies within its tenant: never its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef {
    /// The path, e.g. `servers/<id>/launch`.
    pub path: String,
    /// From 1.
    pub version: u32,
}

/// One event of any stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Of an organization.
    Organization(OrganizationEvent),
    /// Of a person.
    User(UserEvent),
    /// Of a project.
    Project(ProjectEvent),
    /// Of a server.
    Server(ServerEvent),
    /// What a worker observed.
    Connection(ConnectionEvent),
    /// Of a key.
    ApiKey(ApiKeyEvent),
    /// A login, or an attempt.
    Login(LoginEvent),
    /// Of a call.
    Call(CallEvent),
    /// A denial, or a read of sensitive configuration.
    Access(AccessEvent),
}

/// Events of an organization.
#[derive(Clone, Debug, PartialEq)]
pub enum OrganizationEvent {
    /// It exists.
    Created {
        /// Its name.
        name: String,
        /// Its first owner.
        owner: UserId,
    },
    /// A user belongs to it.
    MemberAdded {
        /// Who.
        user: UserId,
    },
}

/// Events of a person.
#[derive(Clone, Debug, PartialEq)]
pub enum UserEvent {
    /// Can log in from now on.
    Registered {
        /// Lower case.
        email: String,
        /// As shown to others.
        display_name: String,
        /// The password's verifier, sealed.
        credential: SecretRef,
    },
    /// Another password.
    PasswordChanged {
        /// The new verifier, sealed.
        credential: SecretRef,
    },
}

/// Events of a project.
#[derive(Clone, Debug, PartialEq)]
pub enum ProjectEvent {
    /// It exists.
    Created {
        /// 1–100 characters.
        name: String,
        /// Up to 1,000 characters.
        description: String,
        /// Its first Owner.
        owner: UserId,
    },
    /// Absent fields did not change.
    Changed {
        /// A new name.
        name: Option<String>,
        /// A new description.
        description: Option<String>,
        /// The settings that changed, as they are now.
        settings: Option<ProjectSettings>,
    },
    /// A user came in.
    MemberAdded {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
    },
    /// A member has another role.
    MemberRoleChanged {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
    },
    /// A member left.
    MemberRemoved {
        /// Who.
        user: UserId,
    },
    /// It is gone; its id stays taken.
    Deleted,
}

/// Events of a server.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEvent {
    /// It exists.
    Registered {
        /// Whose it is.
        project: ProjectId,
        /// Unique in the project.
        name: ServerName,
        /// How to reach it.
        config: ServerConfig,
        /// Registered, but not to be used yet.
        disabled: bool,
    },
    /// To be reached another way.
    Reconfigured {
        /// How.
        config: ServerConfig,
    },
    /// Has another name.
    Renamed {
        /// Which.
        name: ServerName,
    },
    /// To be used.
    Enabled,
    /// Not to be used.
    Disabled,
    /// Clients no longer see this tool.
    ToolDisabled {
        /// The upstream's own name.
        tool: String,
    },
    /// Clients see this tool again.
    ToolEnabled {
        /// The upstream's own name.
        tool: String,
    },
    /// An Owner approved a definition of this tool.
    ToolApproved {
        /// The upstream's own name.
        tool: String,
        /// SHA-256 over the definition, lower-case hexadecimal.
        hash: String,
    },
    /// It is gone.
    Deleted,
}

/// What a worker observed of a server.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionEvent {
    /// Its state changed.
    StateObserved {
        /// Whose server it is.
        project: ProjectId,
        /// What was seen.
        observation: Observation,
    },
    /// Its catalogue changed.
    CatalogueObserved {
        /// Whose server it is.
        project: ProjectId,
        /// What is in it.
        summary: CatalogueSummary,
    },
}

/// Events of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiKeyEvent {
    /// It exists.
    Issued {
        /// What it opens.
        project: ProjectId,
        /// For people.
        name: String,
        /// What it is known by.
        hash: KeyHash,
        /// Its last four characters.
        suffix: String,
        /// The most it may do.
        role: Role,
        /// Who made it.
        creator: UserId,
        /// When it ends by itself.
        expires_at: Option<Timestamp>,
    },
    /// It opens nothing any more.
    Revoked,
}

/// Logins.
#[derive(Clone, Debug, PartialEq)]
pub enum LoginEvent {
    /// The password was right.
    Succeeded {
        /// Whose.
        user: UserId,
    },
    /// The password was wrong.
    Failed {
        /// Whose.
        user: UserId,
    },
}

/// Events of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEvent {
    /// About to be forwarded.
    Started(CallStarted),
    /// Over.
    Finished(CallFinished),
}

/// Denials and sensitive reads.
#[derive(Clone, Debug, PartialEq)]
pub enum AccessEvent {
    /// Somebody with a valid credential was refused.
    Denied {
        /// Of which project, as far as the caller's tenant has it.
        project: Option<ProjectId>,
        /// What was asked for.
        action: String,
        /// The stable reason.
        reason: String,
        /// Of what.
        target: String,
    },
    /// Launch values were shown.
    ConfigRevealed {
        /// Of which project.
        project: ProjectId,
        /// Names of the servers.
        servers: Vec<String>,
    },
}

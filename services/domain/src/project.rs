//! A project: its settings and who is in it.

use std::collections::BTreeMap;

use crate::access::Role;
use crate::error::{ErrorCode, Refusal};
use crate::event::ProjectEvent;
use crate::ids::UserId;
use crate::text;

/// When the record of a call is written, as against when its answer is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuditMode {
    /// Answered at once, recorded soon; a crash may lose the last ones.
    Buffered,
    /// No answer before its record is durable.
    #[default]
    Acknowledged,
    /// Besides, nothing is forwarded before its start is durable.
    Strict,
}

impl AuditMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Buffered, Self::Acknowledged, Self::Strict];

    /// The name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buffered => "buffered",
            Self::Acknowledged => "acknowledged",
            Self::Strict => "strict",
        }
    }
}

/// How clients see the names of tools and prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Naming {
    /// `server__tool`, always.
    #[default]
    Prefixed,
    /// The upstream's own names while the project has a single server.
    PlainWhenSingle,
}

impl Naming {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Prefixed, Self::PlainWhenSingle];

    /// The name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prefixed => "prefixed",
            Self::PlainWhenSingle => "plain_when_single",
        }
    }
}

/// What happens when a tool's definition is not the one that was approved. The first definition
/// that is seen of a tool is approved by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ToolPinning {
    /// Nothing.
    #[default]
    Off,
    /// Members are shown it; clients use the tool.
    Warn,
    /// Clients do not see the tool, and cannot call it, until an Owner approves.
    Block,
}

impl ToolPinning {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Warn, Self::Block];

    /// The name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

/// Which calls are run again, once, when nobody knows whether they ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetryPolicy {
    /// None.
    #[default]
    Never,
    /// Those of tools annotated as read-only, resources and prompts.
    ReadOnly,
    /// Besides, those of tools annotated as idempotent.
    Idempotent,
}

impl RetryPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Never, Self::ReadOnly, Self::Idempotent];

    /// The name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::ReadOnly => "read_only",
            Self::Idempotent => "idempotent",
        }
    }
}

/// What an Owner can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectSettings {
    /// When calls are recorded.
    pub audit_mode: AuditMode,
    /// How names are made.
    pub naming: Naming,
    /// Whether the unified endpoints answer.
    pub unified_enabled: bool,
    /// Days for which arguments and results are kept, 0–3650; 0 keeps none.
    pub body_retention_days: u32,
    /// What a changed definition of a tool leads to.
    pub tool_pinning: ToolPinning,
    /// Which calls may be run again.
    pub retry_policy: RetryPolicy,
}

impl ProjectSettings {
    /// The longest retention of bodies.
    pub const MAX_RETENTION_DAYS: u32 = 3_650;
}

impl Default for ProjectSettings {
    fn default() -> Self {
        Self {
            audit_mode: AuditMode::default(),
            naming: Naming::default(),
            unified_enabled: true,
            body_retention_days: 30,
            tool_pinning: ToolPinning::default(),
            retry_policy: RetryPolicy::default(),
        }
    }
}

/// A project that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveProject {
    /// 1–100 characters.
    pub name: String,
    /// Up to 1,000 characters.
    pub description: String,
    /// What an Owner can set.
    pub settings: ProjectSettings,
    /// Who is in it. At least one is an Owner.
    pub members: BTreeMap<UserId, Role>,
}

impl ActiveProject {
    /// Most members.
    pub const MAX_MEMBERS: usize = 10_000;

    /// Whether `user` is the one Owner left.
    fn is_last_owner(&self, user: UserId) -> bool {
        self.members.get(&user) == Some(&Role::Owner)
            && self.members.values().filter(|role| **role == Role::Owner).count() == 1
    }
}

/// The state of a project.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Project {
    /// Nothing happened yet.
    #[default]
    Absent,
    /// In use.
    Active(ActiveProject),
    /// Gone; the id stays taken.
    Deleted,
}

/// What can be asked of a project.
#[derive(Clone, Debug)]
pub enum ProjectCommand {
    /// Make it.
    Create {
        /// 1–100 characters.
        name: String,
        /// Up to 1,000 characters.
        description: String,
        /// Its first Owner.
        owner: UserId,
    },
    /// Change what is given.
    Change {
        /// A new name.
        name: Option<String>,
        /// A new description.
        description: Option<String>,
        /// A new audit mode.
        audit_mode: Option<AuditMode>,
        /// Another way to make names.
        naming: Option<Naming>,
        /// Unified endpoints on or off.
        unified_enabled: Option<bool>,
        /// Another retention.
        body_retention_days: Option<u32>,
        /// Another way with changed tools.
        tool_pinning: Option<ToolPinning>,
        /// Other calls that may be run again.
        retry_policy: Option<RetryPolicy>,
    },
    /// Let a user in, or give a member another role.
    SetMember {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
    },
    /// Put a member out.
    RemoveMember {
        /// Who.
        user: UserId,
    },
    /// End it.
    Delete,
}

/// The rules.
///
/// # Errors
/// A [`Refusal`] that says which rule stands against it.
pub fn decide(state: &Project, command: ProjectCommand) -> Result<Vec<ProjectEvent>, Refusal> {
    let project = match (state, command) {
        (Project::Absent, ProjectCommand::Create { name, description, owner }) => {
            return Ok(vec![ProjectEvent::Created {
                name: text::name("name", &name)?,
                description: text::description("description", &description)?,
                owner,
            }]);
        }
        (_, ProjectCommand::Create { .. }) => {
            return Err(Refusal::new(ErrorCode::AlreadyExists, "the project id is taken"));
        }
        (Project::Active(project), command) => (project, command),
        (Project::Absent | Project::Deleted, _) => return Err(Refusal::not_found("project")),
    };
    match project {
        (project, ProjectCommand::SetMember { user, role }) => set_member(project, user, role),
        (project, ProjectCommand::RemoveMember { user }) => remove_member(project, user),
        (_, ProjectCommand::Delete) => Ok(vec![ProjectEvent::Deleted]),
        (project, change) => self::change(project, change),
    }
}

fn set_member(
    project: &ActiveProject,
    user: UserId,
    role: Role,
) -> Result<Vec<ProjectEvent>, Refusal> {
    match project.members.get(&user) {
        Some(current) if *current == role => Ok(vec![]),
        Some(_) if project.is_last_owner(user) => Err(last_owner()),
        Some(_) => Ok(vec![ProjectEvent::MemberRoleChanged { user, role }]),
        None if project.members.len() >= ActiveProject::MAX_MEMBERS => Err(Refusal::new(
            ErrorCode::ResourceExhausted,
            "the project has 10,000 members: remove one first",
        )),
        None => Ok(vec![ProjectEvent::MemberAdded { user, role }]),
    }
}

fn remove_member(project: &ActiveProject, user: UserId) -> Result<Vec<ProjectEvent>, Refusal> {
    if !project.members.contains_key(&user) {
        return Err(Refusal::not_found("member"));
    }
    if project.is_last_owner(user) {
        return Err(last_owner());
    }
    Ok(vec![ProjectEvent::MemberRemoved { user }])
}

fn last_owner() -> Refusal {
    Refusal::new(
        ErrorCode::FailedPrecondition,
        "a project keeps at least one Owner: make another member Owner first",
    )
}

fn change(project: &ActiveProject, command: ProjectCommand) -> Result<Vec<ProjectEvent>, Refusal> {
    let ProjectCommand::Change {
        name,
        description,
        audit_mode,
        naming,
        unified_enabled,
        body_retention_days,
        tool_pinning,
        retry_policy,
    } = command
    else {
        return Ok(vec![]);
    };
    let name = name.map(|text| text::name("name", &text)).transpose()?;
    let description =
        description.map(|text| text::description("description", &text)).transpose()?;
    if body_retention_days.is_some_and(|days| days > ProjectSettings::MAX_RETENTION_DAYS) {
        return Err(Refusal::invalid("body_retention_days", "must be 0 to 3650"));
    }
    let before = project.settings;
    let after = ProjectSettings {
        audit_mode: audit_mode.unwrap_or(before.audit_mode),
        naming: naming.unwrap_or(before.naming),
        unified_enabled: unified_enabled.unwrap_or(before.unified_enabled),
        body_retention_days: body_retention_days.unwrap_or(before.body_retention_days),
        tool_pinning: tool_pinning.unwrap_or(before.tool_pinning),
        retry_policy: retry_policy.unwrap_or(before.retry_policy),
    };
    let name = name.filter(|name| *name != project.name);
    let description = description.filter(|text| *text != project.description);
    let settings = (after != before).then_some(after);
    if name.is_none() && description.is_none() && settings.is_none() {
        return Ok(vec![]);
    }
    Ok(vec![ProjectEvent::Changed { name, description, settings }])
}

/// The state after an event.
#[must_use]
pub fn evolve(state: Project, event: &ProjectEvent) -> Project {
    let mut project = match (state, event) {
        (_, ProjectEvent::Created { name, description, owner }) => {
            return Project::Active(ActiveProject {
                name: name.clone(),
                description: description.clone(),
                settings: ProjectSettings::default(),
                members: BTreeMap::from([(*owner, Role::Owner)]),
            });
        }
        (_, ProjectEvent::Deleted) => return Project::Deleted,
        (Project::Active(project), _) => project,
        (state, _) => return state,
    };
    match event {
        ProjectEvent::Changed { name, description, settings } => {
            if let Some(name) = name {
                project.name.clone_from(name);
            }
            if let Some(description) = description {
                project.description.clone_from(description);
            }
            project.settings = settings.unwrap_or(project.settings);
        }
        ProjectEvent::MemberAdded { user, role }
        | ProjectEvent::MemberRoleChanged { user, role } => {
            project.members.insert(*user, *role);
        }
        ProjectEvent::MemberRemoved { user } => {
            project.members.remove(user);
        }
        ProjectEvent::Created { .. } | ProjectEvent::Deleted => {}
    }
    Project::Active(project)
}

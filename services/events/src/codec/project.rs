//! Projects and their members.

use domain::event::ProjectEvent;
use domain::project::{AuditMode, Naming, ProjectSettings, RetryPolicy, ToolPinning};
use domain::{Event, Role};
use proto::events::v1;

use super::{Encoded, InvalidField, id, write};
use crate::event_type::EventType;

pub(super) const fn role(role: Role) -> v1::Role {
    match role {
        Role::Owner => v1::Role::Owner,
        Role::Developer => v1::Role::Developer,
        Role::Reporter => v1::Role::Reporter,
    }
}

pub(super) fn read_role(stored: i32) -> Result<Role, InvalidField> {
    match v1::Role::try_from(stored) {
        Ok(v1::Role::Owner) => Ok(Role::Owner),
        Ok(v1::Role::Developer) => Ok(Role::Developer),
        Ok(v1::Role::Reporter) => Ok(Role::Reporter),
        Ok(v1::Role::Unspecified) | Err(_) => Err(InvalidField::missing("role")),
    }
}

const fn audit_mode(mode: AuditMode) -> v1::AuditMode {
    match mode {
        AuditMode::Buffered => v1::AuditMode::Buffered,
        AuditMode::Acknowledged => v1::AuditMode::Acknowledged,
        AuditMode::Strict => v1::AuditMode::Strict,
    }
}

const fn naming(naming: Naming) -> v1::Naming {
    match naming {
        Naming::Prefixed => v1::Naming::Prefixed,
        Naming::PlainWhenSingle => v1::Naming::PlainWhenSingle,
    }
}

const fn tool_pinning(pinning: ToolPinning) -> v1::ToolPinning {
    match pinning {
        ToolPinning::Off => v1::ToolPinning::Off,
        ToolPinning::Warn => v1::ToolPinning::Warn,
        ToolPinning::Block => v1::ToolPinning::Block,
    }
}

const fn retry_policy(policy: RetryPolicy) -> v1::RetryPolicy {
    match policy {
        RetryPolicy::Never => v1::RetryPolicy::Never,
        RetryPolicy::ReadOnly => v1::RetryPolicy::ReadOnly,
        RetryPolicy::Idempotent => v1::RetryPolicy::Idempotent,
    }
}

pub(super) fn encode(event: &ProjectEvent) -> Encoded {
    match event {
        ProjectEvent::Created { name, description, owner } => write(
            EventType::ProjectCreated,
            &v1::ProjectCreated {
                name: name.clone(),
                description: description.clone(),
                owner: owner.to_string(),
            },
        ),
        ProjectEvent::Changed { name, description, settings } => write(
            EventType::ProjectChanged,
            &v1::ProjectChanged {
                name: name.clone(),
                description: description.clone(),
                audit_mode: settings.map(|settings| audit_mode(settings.audit_mode).into()),
                naming: settings.map(|settings| naming(settings.naming).into()),
                unified_enabled: settings.map(|settings| settings.unified_enabled),
                body_retention_days: settings.map(|settings| settings.body_retention_days),
                // Written when it is set, so that settings without it stay as they ever were.
                tool_pinning: settings
                    .map(|settings| settings.tool_pinning)
                    .filter(|pinning| *pinning != ToolPinning::default())
                    .map(|pinning| tool_pinning(pinning).into()),
                retry_policy: settings
                    .map(|settings| settings.retry_policy)
                    .filter(|policy| *policy != RetryPolicy::default())
                    .map(|policy| retry_policy(policy).into()),
            },
        ),
        ProjectEvent::MemberAdded { user, role: as_what } => write(
            EventType::ProjectMemberAdded,
            &v1::ProjectMemberAdded { user: user.to_string(), role: role(*as_what).into() },
        ),
        ProjectEvent::MemberRoleChanged { user, role: as_what } => write(
            EventType::ProjectMemberRoleChanged,
            &v1::ProjectMemberRoleChanged { user: user.to_string(), role: role(*as_what).into() },
        ),
        ProjectEvent::MemberRemoved { user } => write(
            EventType::ProjectMemberRemoved,
            &v1::ProjectMemberRemoved { user: user.to_string() },
        ),
        ProjectEvent::Deleted => write(EventType::ProjectDeleted, &v1::ProjectDeleted {}),
    }
}

pub(super) fn read_created(stored: v1::ProjectCreated) -> Result<Event, InvalidField> {
    Ok(Event::Project(ProjectEvent::Created {
        name: stored.name,
        description: stored.description,
        owner: id("owner", &stored.owner)?,
    }))
}

pub(super) fn read_changed(stored: v1::ProjectChanged) -> Result<Event, InvalidField> {
    let settings = match (
        stored.audit_mode,
        stored.naming,
        stored.unified_enabled,
        stored.body_retention_days,
    ) {
        (None, None, None, None)
            if stored.tool_pinning.is_none() && stored.retry_policy.is_none() =>
        {
            None
        }
        (Some(audit_mode), Some(naming), Some(unified_enabled), Some(body_retention_days)) => {
            Some(ProjectSettings {
                audit_mode: read_audit_mode(audit_mode)?,
                naming: read_naming(naming)?,
                unified_enabled,
                body_retention_days,
                tool_pinning: read_tool_pinning(stored.tool_pinning)?,
                retry_policy: read_retry_policy(stored.retry_policy)?,
            })
        }
        // Settings are written as a whole: what a part of them meant cannot be known.
        _ => {
            return Err(InvalidField::new("audit_mode", "is there without the other settings"));
        }
    };
    Ok(Event::Project(ProjectEvent::Changed {
        name: stored.name,
        description: stored.description,
        settings,
    }))
}

fn read_audit_mode(stored: i32) -> Result<AuditMode, InvalidField> {
    match v1::AuditMode::try_from(stored) {
        Ok(v1::AuditMode::Buffered) => Ok(AuditMode::Buffered),
        Ok(v1::AuditMode::Acknowledged) => Ok(AuditMode::Acknowledged),
        Ok(v1::AuditMode::Strict) => Ok(AuditMode::Strict),
        Ok(v1::AuditMode::Unspecified) | Err(_) => Err(InvalidField::missing("audit_mode")),
    }
}

/// Settings of before there was pinning have none.
fn read_tool_pinning(stored: Option<i32>) -> Result<ToolPinning, InvalidField> {
    match stored.map(v1::ToolPinning::try_from) {
        None | Some(Ok(v1::ToolPinning::Off)) => Ok(ToolPinning::Off),
        Some(Ok(v1::ToolPinning::Warn)) => Ok(ToolPinning::Warn),
        Some(Ok(v1::ToolPinning::Block)) => Ok(ToolPinning::Block),
        Some(Ok(v1::ToolPinning::Unspecified) | Err(_)) => {
            Err(InvalidField::missing("tool_pinning"))
        }
    }
}

/// Settings of before calls were run again have none.
fn read_retry_policy(stored: Option<i32>) -> Result<RetryPolicy, InvalidField> {
    match stored.map(v1::RetryPolicy::try_from) {
        None | Some(Ok(v1::RetryPolicy::Never)) => Ok(RetryPolicy::Never),
        Some(Ok(v1::RetryPolicy::ReadOnly)) => Ok(RetryPolicy::ReadOnly),
        Some(Ok(v1::RetryPolicy::Idempotent)) => Ok(RetryPolicy::Idempotent),
        Some(Ok(v1::RetryPolicy::Unspecified) | Err(_)) => {
            Err(InvalidField::missing("retry_policy"))
        }
    }
}

fn read_naming(stored: i32) -> Result<Naming, InvalidField> {
    match v1::Naming::try_from(stored) {
        Ok(v1::Naming::Prefixed) => Ok(Naming::Prefixed),
        Ok(v1::Naming::PlainWhenSingle) => Ok(Naming::PlainWhenSingle),
        Ok(v1::Naming::Unspecified) | Err(_) => Err(InvalidField::missing("naming")),
    }
}

pub(super) fn read_member_added(stored: v1::ProjectMemberAdded) -> Result<Event, InvalidField> {
    let (user, role) = (id("user", &stored.user)?, read_role(stored.role)?);
    Ok(Event::Project(ProjectEvent::MemberAdded { user, role }))
}

pub(super) fn read_member_role_changed(
    stored: v1::ProjectMemberRoleChanged,
) -> Result<Event, InvalidField> {
    let (user, role) = (id("user", &stored.user)?, read_role(stored.role)?);
    Ok(Event::Project(ProjectEvent::MemberRoleChanged { user, role }))
}

pub(super) fn read_member_removed(stored: v1::ProjectMemberRemoved) -> Result<Event, InvalidField> {
    Ok(Event::Project(ProjectEvent::MemberRemoved { user: id("user", &stored.user)? }))
}

pub(super) fn read_deleted(_: v1::ProjectDeleted) -> Result<Event, InvalidField> {
    Ok(Event::Project(ProjectEvent::Deleted))
}

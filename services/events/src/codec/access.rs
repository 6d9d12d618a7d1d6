//! Denials and reads of sensitive configuration.

use domain::event::AccessEvent;
use domain::{Event, ProjectId};
use proto::events::v1;

use super::{InvalidField, id};

/// The stored form of [`AccessEvent::Denied`].
pub fn access_denied(
    project: Option<&ProjectId>,
    action: &str,
    reason: &str,
    target: &str,
) -> v1::AccessDenied {
    v1::AccessDenied {
        project: project.map(ProjectId::to_string).unwrap_or_default(),
        action: action.to_owned(),
        reason: reason.to_owned(),
        target: target.to_owned(),
    }
}

/// The event that [`access_denied`] made.
///
/// # Errors
/// Names the field that no such event can have.
pub fn read_access_denied(stored: v1::AccessDenied) -> Result<Event, InvalidField> {
    let project = match stored.project.as_str() {
        "" => None,
        project => Some(id("project", project)?),
    };
    Ok(Event::Access(AccessEvent::Denied {
        project,
        action: stored.action,
        reason: stored.reason,
        target: stored.target,
    }))
}

pub(crate) fn config_revealed(project: &ProjectId, servers: &[String]) -> v1::ConfigRevealed {
    v1::ConfigRevealed { project: project.to_string(), servers: servers.to_vec() }
}

pub(super) fn read_config_revealed(stored: v1::ConfigRevealed) -> Result<Event, InvalidField> {
    Ok(Event::Access(AccessEvent::ConfigRevealed {
        project: id("project", &stored.project)?,
        servers: stored.servers,
    }))
}

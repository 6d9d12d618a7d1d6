//! What workers observe.

use domain::connection::{CatalogueSummary, ConnectionState, Observation, ToolDefinition};
use domain::event::ConnectionEvent;
use domain::{Event, ProjectId};
use proto::events::v1;

use super::{InvalidField, id};

/// The stored form of [`ConnectionEvent::StateObserved`].
pub fn state_observed(
    project: &ProjectId,
    observation: &Observation,
) -> v1::ConnectionStateObserved {
    let state = match observation.state {
        ConnectionState::Starting => v1::ConnectionState::Starting,
        ConnectionState::Active => v1::ConnectionState::Active,
        ConnectionState::Degraded => v1::ConnectionState::Degraded,
        ConnectionState::Failed => v1::ConnectionState::Failed,
        ConnectionState::Disabled => v1::ConnectionState::Disabled,
    };
    v1::ConnectionStateObserved {
        project: project.to_string(),
        state: state.into(),
        cause: observation.cause.clone(),
        response_time_ms: observation.response_time_ms,
        setup_time_ms: observation.setup_time_ms,
        revision: observation.revision.clone(),
    }
}

/// The event that [`state_observed`] made.
///
/// # Errors
/// Names the field that no such event can have.
pub fn read_state_observed(stored: v1::ConnectionStateObserved) -> Result<Event, InvalidField> {
    let state = match v1::ConnectionState::try_from(stored.state) {
        Ok(v1::ConnectionState::Starting) => ConnectionState::Starting,
        Ok(v1::ConnectionState::Active) => ConnectionState::Active,
        Ok(v1::ConnectionState::Degraded) => ConnectionState::Degraded,
        Ok(v1::ConnectionState::Failed) => ConnectionState::Failed,
        Ok(v1::ConnectionState::Disabled) => ConnectionState::Disabled,
        Ok(v1::ConnectionState::Unspecified) | Err(_) => {
            return Err(InvalidField::missing("state"));
        }
    };
    Ok(Event::Connection(ConnectionEvent::StateObserved {
        project: id("project", &stored.project)?,
        observation: Observation {
            state,
            cause: stored.cause,
            response_time_ms: stored.response_time_ms,
            setup_time_ms: stored.setup_time_ms,
            revision: stored.revision,
        },
    }))
}

/// The stored form of [`ConnectionEvent::CatalogueObserved`].
pub fn catalogue_observed(
    project: &ProjectId,
    summary: &CatalogueSummary,
) -> v1::CatalogueObserved {
    v1::CatalogueObserved {
        project: project.to_string(),
        hash: summary.hash.clone(),
        tools: summary.tools,
        resources: summary.resources,
        resource_templates: summary.resource_templates,
        prompts: summary.prompts,
        definitions: summary
            .definitions
            .iter()
            .map(|one| v1::ToolDefinition { tool: one.tool.clone(), hash: one.hash.clone() })
            .collect(),
    }
}

/// The event that [`catalogue_observed`] made.
///
/// # Errors
/// Names the field that no such event can have.
pub fn read_catalogue_observed(stored: v1::CatalogueObserved) -> Result<Event, InvalidField> {
    Ok(Event::Connection(ConnectionEvent::CatalogueObserved {
        project: id("project", &stored.project)?,
        summary: CatalogueSummary {
            hash: stored.hash,
            tools: stored.tools,
            resources: stored.resources,
            resource_templates: stored.resource_templates,
            prompts: stored.prompts,
            definitions: stored
                .definitions
                .into_iter()
                .map(|one| ToolDefinition { tool: one.tool, hash: one.hash })
                .collect(),
        },
    }))
}

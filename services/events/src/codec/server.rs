//! Servers: what they are configured to be.

use domain::Event;
use domain::event::ServerEvent;
use domain::server::{HttpTarget, Isolation, ServerConfig, ServerName, Transport};
use proto::events::v1;

use super::identity::{read_secret_ref, secret_ref};
use super::{Encoded, InvalidField, id, optional, write};
use crate::event_type::EventType;

pub(super) fn encode(event: &ServerEvent) -> Encoded {
    match event {
        ServerEvent::Registered { project, name, config: to_be, disabled } => write(
            EventType::ServerRegistered,
            &v1::ServerRegistered {
                project: project.to_string(),
                name: name.to_string(),
                config: Some(config(to_be)),
                disabled: *disabled,
            },
        ),
        ServerEvent::Reconfigured { config: to_be } => write(
            EventType::ServerReconfigured,
            &v1::ServerReconfigured { config: Some(config(to_be)) },
        ),
        ServerEvent::Renamed { name } => {
            write(EventType::ServerRenamed, &v1::ServerRenamed { name: name.to_string() })
        }
        ServerEvent::Enabled => write(EventType::ServerEnabled, &v1::ServerEnabled {}),
        ServerEvent::Disabled => write(EventType::ServerDisabled, &v1::ServerDisabled {}),
        ServerEvent::ToolDisabled { tool } => {
            write(EventType::ServerToolDisabled, &v1::ServerToolDisabled { tool: tool.clone() })
        }
        ServerEvent::ToolEnabled { tool } => {
            write(EventType::ServerToolEnabled, &v1::ServerToolEnabled { tool: tool.clone() })
        }
        ServerEvent::ToolApproved { tool, hash } => write(
            EventType::ServerToolApproved,
            &v1::ServerToolApproved { tool: tool.clone(), hash: hash.clone() },
        ),
        ServerEvent::Deleted => write(EventType::ServerDeleted, &v1::ServerDeleted {}),
    }
}

fn config(config: &ServerConfig) -> v1::ServerConfig {
    let mut stored = v1::ServerConfig {
        launch: config.launch.as_ref().map(secret_ref),
        timeout_s: config.timeout_s,
        read_timeout_s: config.read_timeout_s.unwrap_or(0),
        auto_approve: config.auto_approve.clone(),
        isolation: match config.isolation {
            // Not written, so that a shared server is stored as it ever was.
            Isolation::Shared => v1::Isolation::Unspecified,
            Isolation::Session => v1::Isolation::Session,
        }
        .into(),
        placement_labels: config.placement_labels.iter().cloned().collect(),
        ..v1::ServerConfig::default()
    };
    let (kind, target) = match &config.transport {
        Transport::Stdio { command, shown_args, env_names, cwd } => {
            stored.command.clone_from(command);
            stored.shown_args.clone_from(shown_args);
            stored.env_names.clone_from(env_names);
            stored.cwd = cwd.clone().unwrap_or_default();
            (v1::TransportKind::Stdio, None)
        }
        Transport::Sse(target) => (v1::TransportKind::Sse, Some(target)),
        Transport::StreamableHttp(target) => (v1::TransportKind::StreamableHttp, Some(target)),
        Transport::Probe(target) => (v1::TransportKind::Probe, Some(target)),
        Transport::Unset => (v1::TransportKind::Unspecified, None),
    };
    stored.set_transport(kind);
    if let Some(target) = target {
        stored.url.clone_from(&target.url);
        stored.header_names.clone_from(&target.header_names);
        stored.ca_file = target.ca_file.clone().unwrap_or_default();
        stored.proxy = target.proxy.clone().unwrap_or_default();
    }
    stored
}

fn read_config(stored: Option<v1::ServerConfig>) -> Result<ServerConfig, InvalidField> {
    let stored = stored.ok_or(InvalidField::missing("config"))?;
    let kind = v1::TransportKind::try_from(stored.transport)
        .map_err(|_| InvalidField::new("transport", "is none that is known"))?;
    let target = HttpTarget {
        url: stored.url,
        header_names: stored.header_names,
        ca_file: optional(stored.ca_file),
        proxy: optional(stored.proxy),
    };
    let transport = match kind {
        v1::TransportKind::Unspecified => Transport::Unset,
        v1::TransportKind::Stdio => Transport::Stdio {
            command: stored.command,
            shown_args: stored.shown_args,
            env_names: stored.env_names,
            cwd: optional(stored.cwd),
        },
        v1::TransportKind::Sse => Transport::Sse(target),
        v1::TransportKind::StreamableHttp => Transport::StreamableHttp(target),
        v1::TransportKind::Probe => Transport::Probe(target),
    };
    let isolation = match v1::Isolation::try_from(stored.isolation) {
        Ok(v1::Isolation::Unspecified | v1::Isolation::Shared) => Isolation::Shared,
        Ok(v1::Isolation::Session) => Isolation::Session,
        Err(_) => return Err(InvalidField::new("isolation", "is none that is known")),
    };
    let launch = stored.launch.map(|secret| read_secret_ref("launch", Some(secret))).transpose()?;
    Ok(ServerConfig {
        transport,
        launch,
        timeout_s: stored.timeout_s,
        read_timeout_s: (stored.read_timeout_s > 0).then_some(stored.read_timeout_s),
        auto_approve: stored.auto_approve,
        isolation,
        placement_labels: stored.placement_labels.into_iter().collect(),
    })
}

fn read_name(text: &str) -> Result<ServerName, InvalidField> {
    ServerName::parse("name", text).map_err(|_| InvalidField::new("name", "is no server name"))
}

pub(super) fn read_registered(stored: v1::ServerRegistered) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::Registered {
        project: id("project", &stored.project)?,
        name: read_name(&stored.name)?,
        config: read_config(stored.config)?,
        disabled: stored.disabled,
    }))
}

pub(super) fn read_reconfigured(stored: v1::ServerReconfigured) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::Reconfigured { config: read_config(stored.config)? }))
}

pub(super) fn read_renamed(stored: v1::ServerRenamed) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::Renamed { name: read_name(&stored.name)? }))
}

pub(super) fn read_enabled(_: v1::ServerEnabled) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::Enabled))
}

pub(super) fn read_disabled(_: v1::ServerDisabled) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::Disabled))
}

pub(super) fn read_tool_disabled(stored: v1::ServerToolDisabled) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::ToolDisabled { tool: stored.tool }))
}

pub(super) fn read_tool_enabled(stored: v1::ServerToolEnabled) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::ToolEnabled { tool: stored.tool }))
}

pub(super) fn read_tool_approved(stored: v1::ServerToolApproved) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::ToolApproved { tool: stored.tool, hash: stored.hash }))
}

pub(super) fn read_deleted(_: v1::ServerDeleted) -> Result<Event, InvalidField> {
    Ok(Event::Server(ServerEvent::Deleted))
}

//! One event of each type, with every field set that its first version had, and those with later
//! fields: what the golden files hold.

use std::collections::BTreeSet;

use domain::api_key::KeyHash;
use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::connection::{CatalogueSummary, ConnectionState, Observation, ToolDefinition};
use domain::event::{
    AccessEvent, ApiKeyEvent, CallEvent, ConnectionEvent, LoginEvent, OrganizationEvent,
    ProjectEvent, ServerEvent, UserEvent,
};
use domain::project::{AuditMode, Naming, ProjectSettings, RetryPolicy, ToolPinning};
use domain::server::{HttpTarget, Isolation, ServerConfig, ServerName, Transport};
use domain::{Event, ProjectId, Role, SecretRef, Timestamp, UserId};
use events::EventType;

pub(crate) fn event(event_type: EventType) -> Event {
    match event_type {
        EventType::OrganizationCreated => {
            let created = OrganizationEvent::Created { name: "Acme".to_owned(), owner: user() };
            Event::Organization(created)
        }
        EventType::OrganizationMemberAdded => {
            Event::Organization(OrganizationEvent::MemberAdded { user: user() })
        }
        EventType::UserRegistered => Event::User(UserEvent::Registered {
            email: "ada@example.com".to_owned(),
            display_name: "Ada".to_owned(),
            credential: secret("users/1/credential"),
        }),
        EventType::UserPasswordChanged => {
            Event::User(UserEvent::PasswordChanged { credential: secret("users/1/credential") })
        }
        EventType::ConnectionStateObserved => state_observed(),
        EventType::ConnectionCatalogueObserved => catalogue_observed(),
        EventType::ApiKeyIssued => Event::ApiKey(ApiKeyEvent::Issued {
            project: project(),
            name: "laptop".to_owned(),
            hash: KeyHash([0xAB; 32]),
            suffix: "wxyz".to_owned(),
            role: Role::Developer,
            creator: user(),
            expires_at: Some(Timestamp::from_micros(1_900_000_000_000_000)),
        }),
        EventType::ApiKeyRevoked => Event::ApiKey(ApiKeyEvent::Revoked),
        EventType::LoginSucceeded => Event::Login(LoginEvent::Succeeded { user: user() }),
        EventType::LoginFailed => Event::Login(LoginEvent::Failed { user: user() }),
        EventType::CallStarted => {
            Event::Call(CallEvent::Started(CallStarted { subject: call(), edge: String::new() }))
        }
        EventType::CallFinished => Event::Call(CallEvent::Finished(call_finished())),
        EventType::AccessDenied => Event::Access(AccessEvent::Denied {
            project: Some(project()),
            action: "mcp.call".to_owned(),
            reason: "PERMISSION_DENIED".to_owned(),
            target: "files__read".to_owned(),
        }),
        EventType::AccessConfigRevealed => Event::Access(AccessEvent::ConfigRevealed {
            project: project(),
            servers: vec!["files".to_owned(), "web search".to_owned()],
        }),
        EventType::ProjectCreated
        | EventType::ProjectChanged
        | EventType::ProjectMemberAdded
        | EventType::ProjectMemberRoleChanged
        | EventType::ProjectMemberRemoved
        | EventType::ProjectDeleted => Event::Project(of_project(event_type)),
        EventType::ServerRegistered
        | EventType::ServerReconfigured
        | EventType::ServerRenamed
        | EventType::ServerEnabled
        | EventType::ServerDisabled
        | EventType::ServerToolDisabled
        | EventType::ServerToolEnabled
        | EventType::ServerToolApproved
        | EventType::ServerDeleted => Event::Server(of_server(event_type)),
    }
}

/// Events with fields that came later within a version, by a name for what they are.
pub(crate) fn later() -> Vec<(EventType, &'static str, Event)> {
    let labels = ["gpu", "docker"].map(str::to_owned);
    let placed = ServerConfig { placement_labels: labels.into(), ..config(Transport::Unset) };
    let started = CallStarted { subject: call(), edge: "edge-1".to_owned() };
    let alone = ServerConfig { isolation: Isolation::Session, ..config(Transport::Unset) };
    let blocking = ProjectSettings { tool_pinning: ToolPinning::Block, ..Default::default() };
    let repeating = ProjectSettings { retry_policy: RetryPolicy::Idempotent, ..Default::default() };
    let again = CallFinished { attempts: 2, ..call_finished() };
    let definition =
        |tool: &str, hash: &str| ToolDefinition { tool: tool.to_owned(), hash: hash.repeat(32) };
    let seen = CatalogueSummary {
        hash: "ab".repeat(32),
        tools: 2,
        definitions: [definition("read_file", "12"), definition("write_file", "34")].into(),
        ..CatalogueSummary::default()
    };
    vec![
        (
            EventType::ProjectChanged,
            "tool_pinning",
            Event::Project(ProjectEvent::Changed {
                name: None,
                description: None,
                settings: Some(blocking),
            }),
        ),
        (
            EventType::ProjectChanged,
            "retry_policy",
            Event::Project(ProjectEvent::Changed {
                name: None,
                description: None,
                settings: Some(repeating),
            }),
        ),
        (EventType::CallFinished, "attempts", Event::Call(CallEvent::Finished(again))),
        (
            EventType::ServerReconfigured,
            "isolation",
            Event::Server(ServerEvent::Reconfigured { config: alone }),
        ),
        (
            EventType::ServerReconfigured,
            "placement_labels",
            Event::Server(ServerEvent::Reconfigured { config: placed }),
        ),
        (EventType::CallStarted, "edge", Event::Call(CallEvent::Started(started))),
        (
            EventType::ConnectionCatalogueObserved,
            "definitions",
            Event::Connection(ConnectionEvent::CatalogueObserved {
                project: project(),
                summary: seen,
            }),
        ),
    ]
}

fn of_project(event_type: EventType) -> ProjectEvent {
    let (user, role) = (user(), Role::Reporter);
    match event_type {
        EventType::ProjectCreated => ProjectEvent::Created {
            name: "Search".to_owned(),
            description: "Finds things — fast.".to_owned(),
            owner: user,
        },
        EventType::ProjectChanged => ProjectEvent::Changed {
            name: Some("Search 2".to_owned()),
            description: Some(String::new()),
            settings: Some(ProjectSettings {
                audit_mode: AuditMode::Strict,
                naming: Naming::PlainWhenSingle,
                unified_enabled: false,
                body_retention_days: 0,
                tool_pinning: ToolPinning::Off,
                retry_policy: RetryPolicy::Never,
            }),
        },
        EventType::ProjectMemberAdded => ProjectEvent::MemberAdded { user, role },
        EventType::ProjectMemberRoleChanged => ProjectEvent::MemberRoleChanged { user, role },
        EventType::ProjectMemberRemoved => ProjectEvent::MemberRemoved { user },
        EventType::ProjectDeleted => ProjectEvent::Deleted,
        other => panic!("{other} is no event of a project"),
    }
}

fn of_server(event_type: EventType) -> ServerEvent {
    let tool = "read_file".to_owned();
    match event_type {
        EventType::ServerRegistered => ServerEvent::Registered {
            project: project(),
            name: name("files"),
            config: config(Transport::Stdio {
                command: "uvx".to_owned(),
                shown_args: vec!["mcp-server-files".to_owned(), "…".to_owned()],
                env_names: vec!["TOKEN".to_owned()],
                cwd: Some("/srv".to_owned()),
            }),
            disabled: true,
        },
        EventType::ServerReconfigured => ServerEvent::Reconfigured {
            config: config(Transport::StreamableHttp(HttpTarget {
                url: "https://mcp.example.com/mcp".to_owned(),
                header_names: vec!["Authorization".to_owned()],
                ca_file: Some("/etc/ca.pem".to_owned()),
                proxy: Some("http://proxy:3128".to_owned()),
            })),
        },
        EventType::ServerRenamed => ServerEvent::Renamed { name: name("files 2") },
        EventType::ServerEnabled => ServerEvent::Enabled,
        EventType::ServerDisabled => ServerEvent::Disabled,
        EventType::ServerToolDisabled => ServerEvent::ToolDisabled { tool },
        EventType::ServerToolEnabled => ServerEvent::ToolEnabled { tool },
        EventType::ServerToolApproved => ServerEvent::ToolApproved { tool, hash: "12".repeat(32) },
        EventType::ServerDeleted => ServerEvent::Deleted,
        other => panic!("{other} is no event of a server"),
    }
}

fn state_observed() -> Event {
    Event::Connection(ConnectionEvent::StateObserved {
        project: project(),
        observation: Observation {
            state: ConnectionState::Degraded,
            cause: "tools/list did not answer within 10 s".to_owned(),
            response_time_ms: 12,
            setup_time_ms: 340,
            revision: "2025-06-18".to_owned(),
        },
    })
}

fn catalogue_observed() -> Event {
    Event::Connection(ConnectionEvent::CatalogueObserved {
        project: project(),
        summary: CatalogueSummary {
            hash: "ab".repeat(32),
            tools: 3,
            resources: 2,
            resource_templates: 1,
            prompts: 4,
            definitions: [].into(),
        },
    })
}

fn call() -> CallSubject {
    CallSubject {
        project: project(),
        server: "0198c0de-0000-7000-8000-000000000002".parse().unwrap(),
        server_name: "files".to_owned(),
        method: "tools/call".to_owned(),
        target: "read_file".to_owned(),
        api_key: Some("0198c0de-0000-7000-8000-000000000003".parse().unwrap()),
        started_at: Timestamp::from_micros(1_795_000_000_000_001),
    }
}

fn call_finished() -> CallFinished {
    CallFinished {
        subject: call(),
        outcome: CallOutcome::UpstreamError,
        error_code: -32_602,
        queue_us: 40,
        upstream_us: 1_200,
        total_us: 1_260,
        arguments_bytes: 17,
        result_bytes: 4_096,
        arguments_digest: "cd".repeat(32),
        result_digest: "ef".repeat(32),
        body_truncated: true,
        body_masked: true,
        client: "claude-ai 0.1.0".to_owned(),
        mcp_session: "5f0c".to_owned(),
        attempts: 0,
    }
}

pub(crate) fn config(transport: Transport) -> ServerConfig {
    ServerConfig {
        transport,
        launch: Some(secret("servers/2/launch")),
        timeout_s: 60,
        read_timeout_s: Some(300),
        auto_approve: vec!["read_file".to_owned()],
        isolation: Isolation::Shared,
        placement_labels: BTreeSet::new(),
    }
}

pub(crate) fn project() -> ProjectId {
    "search".parse().unwrap()
}

pub(crate) fn user() -> UserId {
    "0198c0de-0000-7000-8000-000000000001".parse().unwrap()
}

pub(crate) fn name(text: &str) -> ServerName {
    ServerName::parse("name", text).unwrap()
}

fn secret(path: &str) -> SecretRef {
    SecretRef { path: path.to_owned(), version: 2 }
}

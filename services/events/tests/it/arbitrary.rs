//! Any event that the domain can make.

use domain::api_key::KeyHash;
use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::connection::{CatalogueSummary, ConnectionState, Observation, ToolDefinition};
use domain::event::{
    AccessEvent, ApiKeyEvent, CallEvent, ConnectionEvent, LoginEvent, OrganizationEvent,
    ProjectEvent, ServerEvent, UserEvent,
};
use domain::project::{AuditMode, Naming, ProjectSettings, RetryPolicy, ToolPinning};
use domain::server::{HttpTarget, Isolation, ServerConfig, ServerName, Transport};
use domain::{ApiKeyId, Event, ProjectId, Role, SecretRef, ServerId, Timestamp, UserId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

/// Any text, control characters and all.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", any::<String>()]
}

/// Texts whose absence is stored as the empty one.
fn some_text() -> impl Strategy<Value = Option<String>> {
    option::of("(?s).{1,12}")
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn user() -> impl Strategy<Value = UserId> {
    uuid().prop_map(UserId::from_uuid)
}

fn project() -> impl Strategy<Value = ProjectId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|slug| slug.parse().unwrap())
}

fn role() -> impl Strategy<Value = Role> {
    select(Role::ALL.as_slice())
}

fn secret() -> impl Strategy<Value = SecretRef> {
    (text(), any::<u32>()).prop_map(|(path, version)| SecretRef { path, version })
}

fn server_name() -> impl Strategy<Value = ServerName> {
    "[A-Za-z0-9_.-]([A-Za-z0-9_. -]{0,62}[A-Za-z0-9_.-])?"
        .prop_map(|name| ServerName::parse("name", &name).unwrap())
}

fn target() -> impl Strategy<Value = HttpTarget> {
    (text(), vec(text(), 0..3), some_text(), some_text()).prop_map(
        |(url, header_names, ca_file, proxy)| HttpTarget { url, header_names, ca_file, proxy },
    )
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![
        (text(), vec(text(), 0..3), vec(text(), 0..3), some_text()).prop_map(
            |(command, shown_args, env_names, cwd)| Transport::Stdio {
                command,
                shown_args,
                env_names,
                cwd
            }
        ),
        target().prop_map(Transport::Sse),
        target().prop_map(Transport::StreamableHttp),
        target().prop_map(Transport::Probe),
        Just(Transport::Unset),
    ]
}

fn config() -> impl Strategy<Value = ServerConfig> {
    let read_timeout = option::of(1..=86_400_u32);
    let isolation = select(Isolation::ALL.as_slice());
    let timeouts = (any::<u32>(), read_timeout);
    let labels = proptest::collection::btree_set("[a-z]{1,3}", 0..3);
    let config = (transport(), option::of(secret()), timeouts, vec(text(), 0..3));
    (config, isolation, labels).prop_map(
        |((transport, launch, timeouts, auto_approve), isolation, placement_labels)| ServerConfig {
            transport,
            launch,
            timeout_s: timeouts.0,
            read_timeout_s: timeouts.1,
            auto_approve,
            isolation,
            placement_labels,
        },
    )
}

fn settings() -> impl Strategy<Value = ProjectSettings> {
    (
        select(AuditMode::ALL.as_slice()),
        select(Naming::ALL.as_slice()),
        any::<bool>(),
        any::<u32>(),
        select(ToolPinning::ALL.as_slice()),
        select(RetryPolicy::ALL.as_slice()),
    )
        .prop_map(|(audit_mode, naming, unified_enabled, days, tool_pinning, retry_policy)| {
            ProjectSettings {
                audit_mode,
                naming,
                unified_enabled,
                body_retention_days: days,
                tool_pinning,
                retry_policy,
            }
        })
}

fn project_event() -> impl Strategy<Value = ProjectEvent> {
    prop_oneof![
        (text(), text(), user()).prop_map(|(name, description, owner)| ProjectEvent::Created {
            name,
            description,
            owner
        }),
        (option::of(text()), option::of(text()), option::of(settings())).prop_map(
            |(name, description, settings)| ProjectEvent::Changed { name, description, settings }
        ),
        (user(), role()).prop_map(|(user, role)| ProjectEvent::MemberAdded { user, role }),
        (user(), role()).prop_map(|(user, role)| ProjectEvent::MemberRoleChanged { user, role }),
        user().prop_map(|user| ProjectEvent::MemberRemoved { user }),
        Just(ProjectEvent::Deleted),
    ]
}

fn server_event() -> impl Strategy<Value = ServerEvent> {
    prop_oneof![
        (project(), server_name(), config(), any::<bool>()).prop_map(
            |(project, name, config, disabled)| ServerEvent::Registered {
                project,
                name,
                config,
                disabled
            }
        ),
        config().prop_map(|config| ServerEvent::Reconfigured { config }),
        server_name().prop_map(|name| ServerEvent::Renamed { name }),
        Just(ServerEvent::Enabled),
        Just(ServerEvent::Disabled),
        text().prop_map(|tool| ServerEvent::ToolDisabled { tool }),
        text().prop_map(|tool| ServerEvent::ToolEnabled { tool }),
        (text(), text()).prop_map(|(tool, hash)| ServerEvent::ToolApproved { tool, hash }),
        Just(ServerEvent::Deleted),
    ]
}

/// Few names and hashes, so that tools change and come back.
fn definitions() -> impl Strategy<Value = Vec<ToolDefinition>> {
    let one = ("[a-d]", "[01]").prop_map(|(tool, hash)| ToolDefinition { tool, hash });
    vec(one, 0..4)
}

pub(crate) fn connection_event() -> impl Strategy<Value = ConnectionEvent> {
    let state = select(ConnectionState::ALL.as_slice());
    let observation = (state, text(), any::<u32>(), any::<u32>(), text()).prop_map(
        |(state, cause, response_time_ms, setup_time_ms, revision)| Observation {
            state,
            cause,
            response_time_ms,
            setup_time_ms,
            revision,
        },
    );
    let summary =
        (text(), any::<[u32; 4]>(), definitions()).prop_map(|(hash, counts, definitions)| {
            CatalogueSummary {
                hash,
                tools: counts[0],
                resources: counts[1],
                resource_templates: counts[2],
                prompts: counts[3],
                definitions: definitions.into(),
            }
        });
    prop_oneof![
        (project(), observation).prop_map(|(project, observation)| {
            ConnectionEvent::StateObserved { project, observation }
        }),
        (project(), summary)
            .prop_map(|(project, summary)| ConnectionEvent::CatalogueObserved { project, summary }),
    ]
}

fn key_event() -> impl Strategy<Value = ApiKeyEvent> {
    // The end of time zero is stored as no end; no rule lets such a key be made.
    let expires_at = option::of(
        any::<i64>().prop_filter("zero", |us| *us != 0).prop_map(Timestamp::from_micros),
    );
    prop_oneof![
        (project(), text(), any::<[u8; 32]>(), text(), role(), user(), expires_at).prop_map(
            |(project, name, hash, suffix, role, creator, expires_at)| {
                ApiKeyEvent::Issued {
                    project,
                    name,
                    hash: KeyHash(hash),
                    suffix,
                    role,
                    creator,
                    expires_at,
                }
            }
        ),
        Just(ApiKeyEvent::Revoked),
    ]
}

fn call_subject() -> impl Strategy<Value = CallSubject> {
    (project(), uuid(), [text(), text(), text()], option::of(uuid()), any::<i64>()).prop_map(
        |(project, server, [server_name, method, target], api_key, started_at)| CallSubject {
            project,
            server: ServerId::from_uuid(server),
            server_name,
            method,
            target,
            api_key: api_key.map(ApiKeyId::from_uuid),
            started_at: Timestamp::from_micros(started_at),
        },
    )
}

fn call_event() -> impl Strategy<Value = CallEvent> {
    let outcome = select(CallOutcome::ALL.as_slice());
    let texts = [text(), text(), text(), text()];
    let finished = (
        call_subject(),
        outcome,
        any::<i32>(),
        any::<[u64; 5]>(),
        texts,
        any::<([bool; 2], u32)>(),
    )
        .prop_map(|(subject, outcome, error_code, numbers, texts, (flags, attempts))| {
            let [arguments_digest, result_digest, client, mcp_session] = texts;
            CallFinished {
                subject,
                outcome,
                error_code,
                queue_us: numbers[0],
                upstream_us: numbers[1],
                total_us: numbers[2],
                arguments_bytes: numbers[3],
                result_bytes: numbers[4],
                arguments_digest,
                result_digest,
                body_truncated: flags[0],
                body_masked: flags[1],
                client,
                mcp_session,
                attempts,
            }
        });
    prop_oneof![
        (call_subject(), text())
            .prop_map(|(subject, edge)| CallEvent::Started(CallStarted { subject, edge })),
        finished.prop_map(CallEvent::Finished),
    ]
}

fn access_event() -> impl Strategy<Value = AccessEvent> {
    prop_oneof![
        (option::of(project()), text(), text(), text()).prop_map(
            |(project, action, reason, target)| AccessEvent::Denied {
                project,
                action,
                reason,
                target
            }
        ),
        (project(), vec(text(), 0..3))
            .prop_map(|(project, servers)| AccessEvent::ConfigRevealed { project, servers }),
    ]
}

/// Any event, of each type about as often. Boxed: unboxed, the trees of all kinds lie on the stack.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let organization = prop_oneof![
        (text(), user()).prop_map(|(name, owner)| OrganizationEvent::Created { name, owner }),
        user().prop_map(|user| OrganizationEvent::MemberAdded { user }),
    ];
    let person = prop_oneof![
        (text(), text(), secret()).prop_map(|(email, display_name, credential)| {
            UserEvent::Registered { email, display_name, credential }
        }),
        secret().prop_map(|credential| UserEvent::PasswordChanged { credential }),
    ];
    let login = prop_oneof![
        user().prop_map(|user| LoginEvent::Succeeded { user }),
        user().prop_map(|user| LoginEvent::Failed { user }),
    ];
    prop_oneof![
        2 => organization.prop_map(Event::Organization).boxed(),
        2 => person.prop_map(Event::User).boxed(),
        2 => login.prop_map(Event::Login).boxed(),
        6 => project_event().prop_map(Event::Project).boxed(),
        9 => server_event().prop_map(Event::Server).boxed(),
        2 => connection_event().prop_map(Event::Connection).boxed(),
        2 => key_event().prop_map(Event::ApiKey).boxed(),
        2 => call_event().prop_map(Event::Call).boxed(),
        2 => access_event().prop_map(Event::Access).boxed(),
    ]
}

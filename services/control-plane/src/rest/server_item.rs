//! Servers as they are shown: names and counts of what may be secret, never a value.

use domain::server::{HttpTarget, Transport};
use serde::Serialize;
use utoipa::ToSchema;

use super::time;
use crate::import::transport_name;
use crate::views::ServerView;

/// A server. Which of the optional fields are there depends on `transport_type`.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerItem {
    id: String,
    project_id: String,
    name: String,
    /// `stdio`, `sse`, `streamable_http` or `probe`.
    transport_type: &'static str,
    #[serde(flatten)]
    launch: Launch,
    /// Connection timeout in seconds.
    timeout: u32,
    /// Seconds that a request may take; 0 is for ever.
    read_timeout: u32,
    /// Tools that clients may run without asking.
    auto_approve: Vec<String>,
    /// Whose connection a client's requests take: `shared` or `session`.
    isolation: &'static str,
    /// Only workers that have all of these labels run it; any worker when there are none.
    placement_labels: Vec<String>,
    disabled: bool,
    /// `starting`, `active`, `degraded`, `failed` or `disabled`.
    status: &'static str,
    /// Why the status is what it is; `null` when all is well.
    last_error: Option<String>,
    /// What the last handshake or ping took; `null` when unknown.
    response_time_ms: Option<u32>,
    /// What establishing the connection took; `null` when unknown.
    setup_time_ms: Option<u32>,
    /// The agreed protocol revision; `null` when none is.
    protocol_version: Option<String>,
    tools_count: u32,
    resources_count: u32,
    prompts_count: u32,
    /// How many tools have another definition than the approved one.
    changed_tools_count: u32,
    /// Tools that are switched off.
    disabled_tools: Vec<String>,
    /// RFC 3339.
    created_at: String,
    /// When the status was seen, RFC 3339; `null` before anything was seen.
    checked_at: Option<String>,
}

/// How a server is started or reached.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Launch {
    /// A process.
    Stdio {
        /// `null` for a server that was taken over without one.
        command: Option<String>,
        /// What may be secret is `…`.
        args: Vec<String>,
        env_vars_count: usize,
        has_custom_env: bool,
        env_names: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
    },
    /// An endpoint.
    Http {
        /// Without query and user info.
        url: String,
        headers_count: usize,
        has_custom_headers: bool,
        header_names: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ca_file: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        proxy: Option<String>,
    },
}

impl From<Transport> for Launch {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Stdio { command, shown_args, env_names, cwd } => Self::Stdio {
                command: Some(command),
                args: shown_args,
                env_vars_count: env_names.len(),
                has_custom_env: !env_names.is_empty(),
                env_names,
                cwd,
            },
            Transport::Unset => Self::Stdio {
                command: None,
                args: vec![],
                env_vars_count: 0,
                has_custom_env: false,
                env_names: vec![],
                cwd: None,
            },
            Transport::Sse(target)
            | Transport::StreamableHttp(target)
            | Transport::Probe(target) => {
                let HttpTarget { url, header_names, ca_file, proxy } = target;
                Self::Http {
                    url,
                    headers_count: header_names.len(),
                    has_custom_headers: !header_names.is_empty(),
                    header_names,
                    ca_file,
                    proxy,
                }
            }
        }
    }
}

impl From<ServerView> for ServerItem {
    fn from(view: ServerView) -> Self {
        let known = |ms: u32| (ms != 0).then_some(ms);
        let text = |text: String| (!text.is_empty()).then_some(text);
        let seen = view.observation;
        Self {
            id: view.id.to_string(),
            project_id: view.project.to_string(),
            name: view.name,
            transport_type: transport_name(&view.config.transport),
            launch: view.config.transport.into(),
            timeout: view.config.timeout_s,
            read_timeout: view.config.read_timeout_s.unwrap_or(0),
            auto_approve: view.config.auto_approve,
            isolation: view.config.isolation.as_str(),
            placement_labels: view.config.placement_labels.into_iter().collect(),
            disabled: view.disabled,
            status: seen.state.as_str(),
            last_error: text(seen.cause),
            response_time_ms: known(seen.response_time_ms),
            setup_time_ms: known(seen.setup_time_ms),
            protocol_version: text(seen.revision),
            tools_count: view.catalogue.tools,
            resources_count: view.catalogue.resources,
            prompts_count: view.catalogue.prompts,
            changed_tools_count: view.changed_tools,
            disabled_tools: view.disabled_tools,
            created_at: time::show(view.created_at),
            checked_at: view.observed_at.map(time::show),
        }
    }
}

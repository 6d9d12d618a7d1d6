//! A registered MCP server: what it is configured to be.
//!
//! What it *is* at the moment is an observation, in [`crate::connection`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{ErrorCode, Refusal};
use crate::event::{SecretRef, ServerEvent};
use crate::ids::ProjectId;

/// A server's name: 1–64 characters of `[A-Za-z0-9_.-]` and inner spaces, unique in its project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(String);

impl ServerName {
    /// Checks and trims a name.
    ///
    /// # Errors
    /// Names the field and the rule that is broken.
    pub fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let fits = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.- ".contains(&b));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::invalid(
                field,
                "must have 1 to 64 characters: letters, digits, '_', '-', '.', spaces",
            ))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A child process that speaks over its standard streams.
    Stdio {
        /// The program.
        command: String,
        /// The arguments as they may be shown: what may be secret is `…`.
        shown_args: Vec<String>,
        /// Names of the environment variables.
        env_names: Vec<String>,
        /// The working directory.
        cwd: Option<String>,
    },
    /// HTTP with server-sent events, the transport of 2024-11-05.
    Sse(HttpTarget),
    /// Streamable HTTP, from 2025-03-26.
    StreamableHttp(HttpTarget),
    /// One of the two above, found out by trying.
    Probe(HttpTarget),
    /// An entry that was taken over disabled and without a way to reach it.
    Unset,
}

/// Where an HTTP upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// Scheme, host, port and path; no query, no user info.
    pub url: String,
    /// Names of the headers that are sent.
    pub header_names: Vec<String>,
    /// A PEM file with the private CA.
    pub ca_file: Option<String>,
    /// An outbound proxy's URL.
    pub proxy: Option<String>,
}

/// Whose connection a client's requests take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// One connection for all clients.
    #[default]
    Shared,
    /// A connection of its own for each client session.
    Session,
}

impl Isolation {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Shared, Self::Session];

    /// The name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Session => "session",
        }
    }
}

/// What a server is configured to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// How it is reached.
    pub transport: Transport,
    /// The sealed values that go with it.
    pub launch: Option<SecretRef>,
    /// Seconds until a connection attempt is given up, 1–3600.
    pub timeout_s: u32,
    /// Seconds until a request without an answer is given up, up to 86,400; none waits for ever.
    pub read_timeout_s: Option<u32>,
    /// Tools that clients may run without asking.
    pub auto_approve: Vec<String>,
    /// Whose connection a client's requests take.
    pub isolation: Isolation,
    /// Only workers that have all of these labels run it; any worker when there are none.
    pub placement_labels: BTreeSet<String>,
}

impl ServerConfig {
    /// What `timeout` is when nobody says.
    pub const DEFAULT_TIMEOUT_S: u32 = 30;
    /// What `read_timeout` is when nobody says.
    pub const DEFAULT_READ_TIMEOUT_S: u32 = 300;
    /// Most arguments, most environment variables and most headers.
    pub const MAX_VALUES: usize = 1_000;
    /// Most labels that a worker must have.
    pub const MAX_PLACEMENT_LABELS: usize = 16;

    /// Checks the rules that need no more than the configuration.
    fn check(&self, disabled: bool) -> Result<(), Refusal> {
        if !(1..=3_600).contains(&self.timeout_s) {
            return Err(Refusal::invalid("timeout", "must be 1 to 3600 seconds"));
        }
        if self.read_timeout_s.is_some_and(|s| !(1..=86_400).contains(&s)) {
            return Err(Refusal::invalid("read_timeout", "must be 0 to 86400 seconds"));
        }
        if self.auto_approve.len() > 1_000 {
            return Err(Refusal::invalid("auto_approve", "has more than 1,000 tools"));
        }
        check_labels(&self.placement_labels)?;
        match &self.transport {
            Transport::Unset if !disabled => Err(Refusal::invalid(
                "command",
                "is missing: give a command, or a url, or register the server disabled",
            )),
            Transport::Stdio { command, .. } if command.trim().is_empty() => {
                Err(Refusal::invalid("command", "must not be empty"))
            }
            Transport::Stdio { command, cwd, .. }
                if command.contains('\0') || cwd.as_ref().is_some_and(|c| c.contains('\0')) =>
            {
                Err(Refusal::invalid("command", "must not contain a NUL character"))
            }
            Transport::Stdio { shown_args, env_names, .. } => {
                check_count("args", shown_args.len())?;
                check_count("env", env_names.len())
            }
            Transport::Sse(target)
            | Transport::StreamableHttp(target)
            | Transport::Probe(target) => target.check(),
            Transport::Unset => Ok(()),
        }
    }
}

impl HttpTarget {
    fn check(&self) -> Result<(), Refusal> {
        check_count("headers", self.header_names.len())?;
        check_url("url", &self.url)?;
        if self.url.contains('?') {
            return Err(Refusal::invalid("url", "has a query, which belongs to the sealed values"));
        }
        self.proxy.as_ref().map_or(Ok(()), |proxy| check_url("proxy", proxy))
    }
}

/// Whether `text` is a label of a worker: 1–63 characters of `[a-z0-9._=/-]`.
pub fn is_label(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._=/-".contains(&b);
    (1..=63).contains(&text.len()) && text.bytes().all(fits)
}

fn check_labels(labels: &BTreeSet<String>) -> Result<(), Refusal> {
    if labels.len() > ServerConfig::MAX_PLACEMENT_LABELS {
        return Err(Refusal::invalid("placement_labels", "has more than 16 labels"));
    }
    if labels.iter().all(|label| is_label(label)) {
        return Ok(());
    }
    Err(Refusal::invalid(
        "placement_labels",
        "must be labels of 1 to 63 characters: a-z, 0-9, '.', '_', '=', '/', '-'",
    ))
}

fn check_count(field: &str, count: usize) -> Result<(), Refusal> {
    if count > ServerConfig::MAX_VALUES {
        return Err(Refusal::invalid(field, "has more than 1,000 entries"));
    }
    Ok(())
}

/// Checks what is shown of a URL. User info would be a secret in an event: it is refused here
/// even though the caller takes it off before.
fn check_url(field: &str, url: &str) -> Result<(), Refusal> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if authority.is_empty() || url.len() > 2_048 {
        return Err(Refusal::invalid(field, "must be an http:// or https:// URL with a host"));
    }
    if authority.contains('@') {
        return Err(Refusal::invalid(field, "has user info, which belongs to the sealed values"));
    }
    Ok(())
}

/// A server that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveServer {
    /// Whose it is.
    pub project: ProjectId,
    /// Unique in the project.
    pub name: ServerName,
    /// What it is configured to be.
    pub config: ServerConfig,
    /// Not to be used.
    pub disabled: bool,
    /// Tools that clients do not see, by the upstream's own names.
    pub disabled_tools: BTreeSet<String>,
    /// The hash of the definition that an Owner approved, by the tool's own name. A tool that is
    /// not in here has the first definition that was observed of it as its approved one.
    pub approved_tools: BTreeMap<String, String>,
}

impl ActiveServer {
    /// Most tools that are switched off, and most that are approved.
    pub const MAX_TOOLS: usize = 10_000;
}

/// The state of a server.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every state is the large one")]
pub enum Server {
    /// Nothing happened yet.
    #[default]
    Absent,
    /// Registered.
    Active(ActiveServer),
    /// Gone.
    Deleted,
}

/// What can be asked of a server.
#[derive(Clone, Debug)]
pub enum ServerCommand {
    /// Make it known.
    Register {
        /// Whose it is.
        project: ProjectId,
        /// Unique in the project; the reservation in the append holds it.
        name: ServerName,
        /// What it is to be.
        config: ServerConfig,
        /// Not to be used yet.
        disabled: bool,
    },
    /// Change name, configuration or use, as far as they are given and differ.
    Change {
        /// Another name.
        name: Option<ServerName>,
        /// Another configuration.
        config: Option<ServerConfig>,
        /// To be used, or not.
        disabled: Option<bool>,
    },
    /// Let clients see a tool, or not.
    SetTool {
        /// The upstream's own name.
        tool: String,
        /// Whether clients see it.
        enabled: bool,
    },
    /// Take a tool's definition as the one that clients may use. Whether it is the one that the
    /// server has now is the caller's to know.
    ApproveTool {
        /// The upstream's own name.
        tool: String,
        /// SHA-256 over the definition, lower-case hexadecimal.
        hash: String,
    },
    /// Forget it.
    Delete,
}

/// The rules.
///
/// # Errors
/// A [`Refusal`] that says which rule stands against it.
pub fn decide(state: &Server, command: ServerCommand) -> Result<Vec<ServerEvent>, Refusal> {
    match (state, command) {
        (Server::Absent, ServerCommand::Register { project, name, config, disabled }) => {
            config.check(disabled)?;
            Ok(vec![ServerEvent::Registered { project, name, config, disabled }])
        }
        (_, ServerCommand::Register { .. }) => {
            Err(Refusal::new(ErrorCode::AlreadyExists, "the server exists"))
        }
        (Server::Active(server), ServerCommand::Change { name, config, disabled }) => {
            change(server, name, config, disabled)
        }
        (Server::Active(server), ServerCommand::SetTool { tool, enabled }) => {
            set_tool(server, tool, enabled)
        }
        (Server::Active(server), ServerCommand::ApproveTool { tool, hash }) => {
            approve_tool(server, tool, hash)
        }
        (Server::Active(_), ServerCommand::Delete) => Ok(vec![ServerEvent::Deleted]),
        (Server::Absent | Server::Deleted, _) => Err(Refusal::not_found("server")),
    }
}

fn change(
    server: &ActiveServer,
    name: Option<ServerName>,
    config: Option<ServerConfig>,
    disabled: Option<bool>,
) -> Result<Vec<ServerEvent>, Refusal> {
    let disabled_after = disabled.unwrap_or(server.disabled);
    config.as_ref().unwrap_or(&server.config).check(disabled_after)?;
    let mut events = Vec::new();
    if let Some(name) = name.filter(|name| *name != server.name) {
        events.push(ServerEvent::Renamed { name });
    }
    if let Some(config) = config.filter(|config| *config != server.config) {
        events.push(ServerEvent::Reconfigured { config });
    }
    match (server.disabled, disabled_after) {
        (false, true) => events.push(ServerEvent::Disabled),
        (true, false) => events.push(ServerEvent::Enabled),
        _ => {}
    }
    Ok(events)
}

fn set_tool(
    server: &ActiveServer,
    tool: String,
    enabled: bool,
) -> Result<Vec<ServerEvent>, Refusal> {
    if tool.is_empty() || tool.chars().count() > 256 {
        return Err(Refusal::invalid("tool", "must have 1 to 256 characters"));
    }
    match (server.disabled_tools.contains(&tool), enabled) {
        (true, true) => Ok(vec![ServerEvent::ToolEnabled { tool }]),
        (false, false) if server.disabled_tools.len() >= ActiveServer::MAX_TOOLS => {
            Err(Refusal::new(
                ErrorCode::ResourceExhausted,
                "10,000 tools are switched off already: disable the server instead",
            ))
        }
        (false, false) => Ok(vec![ServerEvent::ToolDisabled { tool }]),
        _ => Ok(vec![]),
    }
}

fn approve_tool(
    server: &ActiveServer,
    tool: String,
    hash: String,
) -> Result<Vec<ServerEvent>, Refusal> {
    // Longer than what can be switched off: what an upstream calls its tools is its own affair.
    if tool.is_empty() || tool.len() > 65_536 {
        return Err(Refusal::invalid("tool", "must have 1 to 65536 bytes"));
    }
    if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Refusal::invalid("hash", "must be 64 lower-case hexadecimal digits"));
    }
    match server.approved_tools.get(&tool) {
        Some(approved) if *approved == hash => Ok(vec![]),
        None if server.approved_tools.len() >= ActiveServer::MAX_TOOLS => Err(Refusal::new(
            ErrorCode::ResourceExhausted,
            "10,000 tools of the server are approved already: register it anew",
        )),
        _ => Ok(vec![ServerEvent::ToolApproved { tool, hash }]),
    }
}

/// The state after an event.
#[must_use]
pub fn evolve(state: Server, event: &ServerEvent) -> Server {
    let mut server = match (state, event) {
        (_, ServerEvent::Registered { project, name, config, disabled }) => {
            return Server::Active(ActiveServer {
                project: project.clone(),
                name: name.clone(),
                config: config.clone(),
                disabled: *disabled,
                disabled_tools: BTreeSet::new(),
                approved_tools: BTreeMap::new(),
            });
        }
        (_, ServerEvent::Deleted) => return Server::Deleted,
        (Server::Active(server), _) => server,
        (state, _) => return state,
    };
    match event {
        ServerEvent::Reconfigured { config } => server.config = config.clone(),
        ServerEvent::Renamed { name } => server.name = name.clone(),
        ServerEvent::Enabled => server.disabled = false,
        ServerEvent::Disabled => server.disabled = true,
        ServerEvent::ToolDisabled { tool } => {
            server.disabled_tools.insert(tool.clone());
        }
        ServerEvent::ToolEnabled { tool } => {
            server.disabled_tools.remove(tool);
        }
        ServerEvent::ToolApproved { tool, hash } => {
            server.approved_tools.insert(tool.clone(), hash.clone());
        }
        ServerEvent::Registered { .. } | ServerEvent::Deleted => {}
    }
    Server::Active(server)
}

//! The command line, as types.

pub(crate) mod cluster;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Many MCP servers behind one URL, every change and every call on record.
#[derive(Debug, Parser)]
#[command(name = "mcp-orch", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process, with all that it needs embedded
    Up(UpArgs),
    /// Bridge standard input and output to a unified endpoint, for clients that only speak stdio
    Connect(ConnectArgs),
    /// Take servers over from a client's configuration file, by name
    Import(ImportArgs),
    /// Log in and keep the token for the commands that follow
    Login(LoginArgs),
    /// Projects
    #[command(subcommand)]
    Project(ProjectCommand),
    /// MCP servers of a project
    #[command(subcommand)]
    Server(ServerCommand),
    /// Definitions of tools
    #[command(subcommand)]
    Tool(ToolCommand),
    /// API keys of a project
    #[command(subcommand)]
    Key(KeyCommand),
    /// The record of calls
    #[command(subcommand)]
    Call(CallCommand),
    /// Read the log again
    Replay(ReplayArgs),
    /// Run a control-plane of a cluster, or make its first owner
    ControlPlane(Box<cluster::ControlPlaneArgs>),
    /// Run a worker of a cluster
    Worker(cluster::WorkerArgs),
    /// Run an edge of a cluster
    Edge(cluster::EdgeArgs),
    /// Make the keys, certificates and passwords that the parts of a cluster share
    Prepare(cluster::PrepareArgs),
    /// Bring the tables of PostgreSQL to this version
    Migrate(cluster::MigrateArgs),
    /// The stream of published events
    #[command(subcommand)]
    Stream(cluster::StreamCommand),
    /// The event store
    #[command(subcommand)]
    Store(cluster::StoreCommand),
    /// The store of secrets
    #[command(subcommand)]
    Secrets(cluster::SecretsCommand),
    /// Ask a service how it is; fails unless it is ready
    Health(cluster::HealthArgs),
    /// Say what this machine lacks
    Doctor,
    /// A small MCP server over stdio, to try things with
    DemoServer,
    /// Runs a stdio server's process and ends its whole tree; used by the worker
    #[command(hide = true)]
    Reaper {
        /// As the worker gives them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where everything is kept
    #[arg(long, default_value = "data", env = "MCP_ORCH_DATA")]
    pub(crate) data: PathBuf,
    /// Where clients, the console and gRPC connect
    #[arg(long, default_value = "127.0.0.1:8080", env = "MCP_ORCH_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// Where /metrics, /healthz and /readyz are; any free port if this one is taken
    #[arg(long, default_value = "127.0.0.1:9464", env = "MCP_ORCH_ADMIN_LISTEN")]
    pub(crate) admin_listen: SocketAddr,
    /// The URL under which clients reach this, for every URL that is given out
    #[arg(long, env = "MCP_ORCH_PUBLIC_URL")]
    pub(crate) public_url: Option<String>,
    /// Allow plain HTTP on an address that others can reach (put TLS in front)
    #[arg(long, env = "MCP_ORCH_ALLOW_PLAINTEXT")]
    pub(crate) allow_plaintext: bool,
    /// Take servers over from a file with "mcpServers"
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Register the built-in demo server
    #[arg(long)]
    pub(crate) demo: bool,
    /// The id of the first project
    #[arg(long, env = "MCP_ORCH_PROJECT_ID")]
    pub(crate) project_id: Option<String>,
    /// One line of JSON when ready, for scripts
    #[arg(long)]
    pub(crate) json: bool,
    /// Where mcp-orch.log is written
    #[arg(long, default_value = "logs", env = "MCP_ORCH_LOGS")]
    pub(crate) logs: PathBuf,
    /// Seconds after which the session of a silent MCP client ends
    #[arg(long, default_value_t = 1_800, env = "MCP_ORCH_SESSION_IDLE")]
    pub(crate) session_idle: u64,
    /// Most sessions of MCP clients that one key may have open
    #[arg(long, default_value_t = 2_000, env = "MCP_ORCH_SESSIONS_PER_KEY")]
    pub(crate) sessions_per_key: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// A unified or single-server endpoint, ending in /sse or /mcp
    pub(crate) url: String,
    /// The project's API key
    #[arg(long, env = "MCP_ORCH_API_KEY", hide_env_values = true)]
    pub(crate) api_key: String,
}

/// Which system, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The system's URL; by default that of the `up` whose data directory is found
    // Not `--url`, which is the upstream's in `server add`.
    #[arg(id = "system", long = "system", value_name = "URL", env = "MCP_ORCH_URL", global = true)]
    pub(crate) url: Option<String>,
    /// A JWT; by default the one that `login` or a local `up` keeps
    #[arg(long, env = "MCP_ORCH_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
    /// The data directory of a local `up`
    #[arg(long, default_value = "data", env = "MCP_ORCH_DATA", global = true)]
    pub(crate) data: PathBuf,
    /// JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Which project.
#[derive(Debug, Args)]
pub(crate) struct InProject {
    /// The project's id; not needed while there is one
    #[arg(long, env = "MCP_ORCH_PROJECT_ID")]
    pub(crate) project: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Whose login
    #[arg(long)]
    pub(crate) email: String,
    /// The password; read from standard input when it is not given
    #[arg(long, env = "MCP_ORCH_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// Only print the token
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file with "mcpServers" or "servers"; comments are allowed
    pub(crate) file: PathBuf,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete servers that the file does not name
    #[arg(long)]
    pub(crate) prune: bool,
    /// Go on and take over every change of the file
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) target: InProject,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// The projects you are in
    List(Remote),
    /// Make a project
    Create {
        /// Its name
        name: String,
        /// Its id, if it is to be a certain one
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Change settings
    Set {
        /// When calls are recorded
        #[arg(long)]
        audit_mode: Option<AuditMode>,
        /// How tool names are made
        #[arg(long)]
        naming: Option<Naming>,
        /// What a changed definition of a tool leads to
        #[arg(long)]
        tool_pinning: Option<ToolPinning>,
        /// Which calls are run again when nobody knows whether they ran
        #[arg(long)]
        retry_policy: Option<RetryPolicy>,
        #[command(flatten)]
        target: InProject,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AuditMode {
    /// Answered at once, recorded soon
    Buffered,
    /// No answer before its record is durable
    Acknowledged,
    /// Besides, nothing is forwarded before its start is durable
    Strict,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Naming {
    /// server__tool, always
    Prefixed,
    /// The tool's own name while there is a single server
    PlainWhenSingle,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ToolPinning {
    /// Nothing
    Off,
    /// `server tools` shows it
    Warn,
    /// Clients do not get the tool until an Owner approves
    Block,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RetryPolicy {
    /// None
    Never,
    /// Those of tools that only read, resources and prompts
    ReadOnly,
    /// Besides, those of tools that may run twice
    Idempotent,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// All servers, their state and its cause
    List(InProject),
    /// Register a server: a command after `--`, or a URL
    Add {
        /// Its name
        name: String,
        /// Where it is, for SSE and Streamable HTTP
        #[arg(long, conflicts_with = "command")]
        url: Option<String>,
        /// How to speak to the URL; found out by trying when it is not given
        #[arg(long, requires = "url")]
        transport: Option<HttpTransport>,
        /// A header NAME=VALUE; may be given more than once
        #[arg(long = "header", value_parser = pair, requires = "url")]
        headers: Vec<(String, String)>,
        /// An environment variable NAME=VALUE; may be given more than once
        #[arg(long = "env", value_parser = pair)]
        env: Vec<(String, String)>,
        /// Whose connection a client's requests take
        #[arg(long)]
        isolation: Option<Isolation>,
        /// The command and its arguments
        #[arg(last = true)]
        command: Vec<String>,
        #[command(flatten)]
        target: InProject,
    },
    /// Connect for real, step by step
    Test(NamedServer),
    /// Use a server again
    Enable(NamedServer),
    /// Use a server no more, but keep it
    Disable(NamedServer),
    /// Forget a server
    Remove(NamedServer),
    /// What the server offers
    Tools(NamedServer),
    /// The last lines that a stdio server wrote to stderr
    Log(NamedServer),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Isolation {
    /// One connection for all clients
    Shared,
    /// A connection for each client session, as sampling, elicitation and roots over stdio need
    Session,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolCommand {
    /// Take changed definitions as the ones that clients may use
    Approve {
        /// The server's name
        server: String,
        /// The tool, by the server's own name for it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        tool: Option<String>,
        /// All tools of the server whose definition changed
        #[arg(long)]
        all: bool,
        /// The hash of the definition you have seen, as `server tools --json` shows it; refused
        /// when it is another one now
        #[arg(long, conflicts_with = "all")]
        hash: Option<String>,
        #[command(flatten)]
        target: InProject,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NamedServer {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) target: InProject,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HttpTransport {
    /// HTTP with server-sent events
    Sse,
    /// Streamable HTTP
    Http,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// All keys, without the keys themselves
    List(InProject),
    /// Make a key; it is shown once
    Create {
        /// What it is for
        name: String,
        /// The most it may do
        #[arg(long)]
        role: Option<KeyRole>,
        /// Days until it ends
        #[arg(long)]
        expires_in_days: Option<u32>,
        #[command(flatten)]
        target: InProject,
    },
    /// End a key, at once
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        target: InProject,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyRole {
    /// Everything
    Owner,
    /// Lists and calls
    Developer,
    /// Lists
    Reporter,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CallCommand {
    /// The last calls, the newest first
    List {
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Only calls to the server of this name
        #[arg(long)]
        server: Option<String>,
        /// Only calls of this tool
        #[arg(long)]
        tool: Option<String>,
        /// Only calls that ended so, e.g. ok, tool_error, unknown
        #[arg(long)]
        outcome: Option<String>,
        #[command(flatten)]
        target: InProject,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Build every projection again from the log and compare it row by row
    #[arg(long, required = true)]
    pub(crate) verify: bool,
    /// The data directory
    #[arg(long, default_value = "data", env = "MCP_ORCH_DATA")]
    pub(crate) data: PathBuf,
    /// The findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_stdio_server_takes_its_command_after_two_dashes() {
        let cli = Cli::parse_from([
            "mcp-orch",
            "server",
            "add",
            "time",
            "--env",
            "A=b=c",
            "--",
            "uvx",
            "mcp-server-time",
            "--local-timezone",
            "UTC",
        ]);
        let Command::Server(ServerCommand::Add { command, env, .. }) = cli.command else {
            panic!("another command");
        };
        assert_eq!(command.len(), 4);
        assert_eq!(env, [("A".to_owned(), "b=c".to_owned())]);
    }

    #[test]
    fn approving_names_one_tool_or_all() {
        let parse =
            |line: &str| Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command);
        let one = parse("mcp-orch tool approve files read --hash ab").unwrap();
        let Command::Tool(ToolCommand::Approve { tool, all, hash, .. }) = one else {
            panic!("another command");
        };
        assert_eq!((tool.as_deref(), all, hash.as_deref()), (Some("read"), false, Some("ab")));
        assert!(parse("mcp-orch tool approve files --all").is_ok());
        for wrong in ["", " read --all", " --all --hash ab"] {
            assert!(parse(&format!("mcp-orch tool approve files{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_is_isolated_and_a_project_pins_tools() {
        let line = "mcp-orch server add files --isolation session -- files";
        let cli = Cli::parse_from(line.split_whitespace());
        let Command::Server(ServerCommand::Add { isolation, command, .. }) = cli.command else {
            panic!("another command");
        };
        assert!(matches!(isolation, Some(Isolation::Session)) && command == ["files"]);
        let line = "mcp-orch project set --tool-pinning block";
        let cli = Cli::parse_from(line.split_whitespace());
        let Command::Project(ProjectCommand::Set { tool_pinning, .. }) = cli.command else {
            panic!("another command");
        };
        assert!(matches!(tool_pinning, Some(ToolPinning::Block)));
    }

    #[test]
    fn the_url_of_a_server_is_not_that_of_the_system() {
        let line = "mcp-orch server add search --url https://mcp.example/sse --transport sse \
                    --header A=b --system http://127.0.0.1:1";
        let cli = Cli::parse_from(line.split_whitespace());
        let Command::Server(ServerCommand::Add { url, target, .. }) = cli.command else {
            panic!("another command");
        };
        assert_eq!(url.as_deref(), Some("https://mcp.example/sse"));
        assert_eq!(target.remote.url.as_deref(), Some("http://127.0.0.1:1"));
    }
}

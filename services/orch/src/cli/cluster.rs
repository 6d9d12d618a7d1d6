//! The commands of a cluster: its services, and what prepares and repairs their stores.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

/// Where a service's configuration is; the flags weigh more than it.
#[derive(Debug, Args)]
pub(crate) struct ControlPlaneArgs {
    /// A file with the configuration, as TOML or JSON
    #[arg(long, value_name = "FILE", env = "MCP_ORCH_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: ControlPlaneFlags,
    /// Without one, the service runs
    #[command(subcommand)]
    pub(crate) command: Option<ControlPlaneCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ControlPlaneCommand {
    /// Make the first owner, organization, project and key, and show them once
    Bootstrap(BootstrapArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BootstrapArgs {
    /// The id of the first project
    #[arg(long, env = "MCP_ORCH_PROJECT_ID")]
    pub(crate) project_id: Option<String>,
    /// Register the built-in demo server
    #[arg(long)]
    pub(crate) demo: bool,
    /// One line of JSON, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

/// What of the configuration can be given as flags.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ControlPlaneFlags {
    /// Where the views are kept
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    /// Where mcp-orch.log is written
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logs: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) endpoint: EndpointFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) secrets: SecretsFlags,
}

#[derive(Debug, Args)]
pub(crate) struct EdgeArgs {
    /// A file with the configuration, as TOML or JSON
    #[arg(long, value_name = "FILE", env = "MCP_ORCH_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: EdgeFlags,
}

/// What of the configuration can be given as flags.
#[derive(Debug, Args, Serialize)]
pub(crate) struct EdgeFlags {
    /// Where mcp-orch.log is written
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logs: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) endpoint: EndpointFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) secrets: SecretsFlags,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// A file with the configuration, as TOML or JSON
    #[arg(long, value_name = "FILE", env = "MCP_ORCH_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: WorkerFlags,
}

/// What of the configuration can be given as flags.
#[derive(Debug, Args, Serialize)]
pub(crate) struct WorkerFlags {
    /// Where mcp-orch.log is written
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logs: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// What servers can ask for, such as docker; may be given more than once
    #[arg(long = "label", value_name = "LABEL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<String>,
    /// How much it gets compared with others
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<u32>,
    /// Most servers that it takes
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capacity: Option<u32>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) secrets: SecretsFlags,
}

/// Where a service listens.
#[derive(Debug, Args, Serialize)]
pub(crate) struct EndpointFlags {
    /// Where requests come
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where /metrics, /healthz and /readyz are
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The URL of the whole installation, for every URL that is given out
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_url: Option<String>,
    /// Allow plain HTTP on an address that others can reach (put TLS in front)
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) allow_plaintext: bool,
}

/// Where secrets are.
#[derive(Debug, Args, Serialize)]
pub(crate) struct SecretsFlags {
    /// Go without Vault, with the secrets sealed in a directory that all services share
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) local_secrets_in_a_cluster: bool,
    /// That directory
    #[arg(long, value_name = "DIR", global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local_secrets: Option<PathBuf>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    /// Where the keys are written, one directory for each service
    pub(crate) directory: PathBuf,
    /// A name or address under which the bus is reached, for its certificate
    #[arg(long = "bus-name", default_values_t = ["nats".to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()])]
    pub(crate) bus_names: Vec<String>,
    /// Where the server of the bus keeps its streams
    #[arg(long, value_name = "DIR", default_value = "/data")]
    pub(crate) bus_store: PathBuf,
    /// Where the database is, as HOST:PORT/NAME
    #[arg(long, default_value = "postgres:5432/mcp_orch")]
    pub(crate) database: String,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// The URL of a role that may make tables and roles
    #[arg(long, env = "MCP_ORCH_POSTGRES__ADMIN_URL", hide_env_values = true)]
    pub(crate) admin_url: Option<String>,
    /// The file with it
    #[arg(long, env = "MCP_ORCH_POSTGRES__ADMIN_URL_FILE", conflicts_with = "admin_url")]
    pub(crate) admin_url_file: Option<PathBuf>,
    /// The file with the password that the role of the application gets
    #[arg(long, requires = "log_password_file")]
    pub(crate) app_password_file: Option<PathBuf>,
    /// The file with the password that the role of the log gets
    #[arg(long, requires = "app_password_file")]
    pub(crate) log_password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// Make the stream of published events anew from the log
    Rebuild {
        /// A file with the configuration of a control-plane, as TOML or JSON
        #[arg(long, value_name = "FILE", env = "MCP_ORCH_CONFIG")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy the log of a local `up` into an empty PostgreSQL, and verify the copy
    Copy {
        /// The data directory to copy from; nothing may run on it
        #[arg(long, env = "MCP_ORCH_DATA", default_value = "data")]
        from: PathBuf,
        #[command(flatten)]
        to: MigrateArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Make a server of one's own with Vault's API ready: engines, policies, and a role for each
    /// service
    Prepare {
        /// The server, which unseals itself
        #[arg(long, env = "MCP_ORCH_VAULT__ADDRESS")]
        address: String,
        /// Where `mcp-orch prepare` made the directories of the services
        directory: PathBuf,
    },
    /// Copy the sealed secrets of a local `up` into Vault, with their versions
    Migrate {
        /// The data directory to copy from; nothing may run on it
        #[arg(long, env = "MCP_ORCH_DATA", default_value = "data")]
        from: PathBuf,
        /// A file with the configuration of a control-plane, as TOML or JSON
        #[arg(long, value_name = "FILE", env = "MCP_ORCH_CONFIG")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// What is asked
    #[arg(default_value = "http://127.0.0.1:9464/readyz")]
    pub(crate) url: String,
}

//! What an operator tells each service: typed, and from a file, the environment and flags, of
//! which the later one wins.
//!
//! A key is the same in all three: `nats.urls` in the file is `MCP_ORCH_NATS__URLS` in the
//! environment. Secrets are given as they are or, better, as `…_file`, the path of a file that
//! holds nothing else.

mod control_plane;
mod edge;
mod nats;
mod postgres;
mod secret;
mod vault;
mod worker;

pub(crate) use self::control_plane::ControlPlaneConfig;
pub(crate) use self::edge::EdgeServiceConfig;
pub(crate) use self::nats::NatsSettings;
pub(crate) use self::postgres::PostgresSettings;
pub(crate) use self::secret::read as read_secret;
pub(crate) use self::vault::{ChosenSecrets, SecretsSettings, VaultSettings};
pub(crate) use self::worker::WorkerServiceConfig;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    const FILE: &str = r#"
public_url = "https://mcp.example.com"
listen = "0.0.0.0:8080"
logs = "/var/log/mcp-orch"

[postgres]
app_url_file = "/etc/mcp-orch/keys/postgres-app.url"
log_url = "postgres://mcp_orch_log@db/mcp_orch"

[nats]
urls = ["tls://one:4222", "tls://two:4222"]
ca = "/etc/mcp-orch/keys/nats-ca.pem"
nkey_seed_file = "/etc/mcp-orch/keys/nats.seed"

[vault]
address = "https://vault:8200"
login = "kubernetes"
role = "mcp-orch-control-plane"
transit_mount = "transit"
"#;

    fn load(file: &Path, line: &str) -> Result<ControlPlaneConfig, runtime::config::ConfigError> {
        let cli = Cli::parse_from(format!("mcp-orch control-plane {line}").split_whitespace());
        let Command::ControlPlane(args) = cli.command else { panic!("another command") };
        runtime::config::load_with_prefix(Some(file), "MCP_ORCH_TEST_OF_CONFIG_", &args.flags)
    }

    #[test]
    fn a_whole_file_is_read_and_flags_weigh_more() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("control-plane.toml");
        std::fs::write(&file, FILE).unwrap();
        let config = load(&file, "--admin-listen 127.0.0.1:1 --data /srv/views").unwrap();
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.admin_listen.port(), 1);
        assert_eq!(config.data, Path::new("/srv/views"));
        assert_eq!(config.nats.urls.len(), 2);
        assert_eq!(config.nats.namespace, "mcp_orch");
        assert!(config.postgres.log().is_ok());
        assert!(config.postgres.app().is_err(), "its file is not there");
        assert!(matches!(config.secrets().choose().unwrap(), ChosenSecrets::Vault(_)));
        let shown = format!("{config:?}");
        assert!(!shown.contains("mcp_orch_log@db"), "{shown}");
    }

    #[test]
    fn the_files_of_the_units_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd");
        let prefix = "MCP_ORCH_TEST_OF_CONFIG_";
        let none = serde_json::Map::new();
        let file = |name: &str| folder.join(name);
        let control: ControlPlaneConfig =
            runtime::config::load_with_prefix(Some(&file("control-plane.toml")), prefix, &none)
                .unwrap();
        let worker: WorkerServiceConfig =
            runtime::config::load_with_prefix(Some(&file("worker.toml")), prefix, &none).unwrap();
        let edge: EdgeServiceConfig =
            runtime::config::load_with_prefix(Some(&file("edge.toml")), prefix, &none).unwrap();
        for secrets in [control.secrets(), worker.secrets(), edge.secrets()] {
            assert!(matches!(secrets.choose().unwrap(), ChosenSecrets::Vault(_)));
        }
    }

    #[test]
    fn a_key_that_nobody_reads_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("control-plane.toml");
        std::fs::write(&file, format!("{FILE}\nadress = \"typo\"\n")).unwrap();
        let error = load(&file, "").unwrap_err().to_string();
        assert!(error.contains("adress"), "{error}");
    }
}

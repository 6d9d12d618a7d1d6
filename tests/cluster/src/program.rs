//! Which program of this machine stands in for an image.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The programs that a cluster consists of.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `mcp-orch`.
    pub orch: PathBuf,
    /// The directory with `postgres` and `initdb`.
    pub postgres: PathBuf,
    /// `nats-server`.
    pub nats: PathBuf,
    /// `bao`, which has Vault's API.
    pub bao: PathBuf,
}

impl Programs {
    /// Those that the environment names, as `cargo xtask` sets it; else those on the path.
    ///
    /// # Errors
    /// When one is neither named nor on the path.
    pub fn find() -> Result<Self> {
        let postgres = match std::env::var_os("MCP_ORCH_TEST_POSTGRES_BIN") {
            Some(folder) => PathBuf::from(folder),
            None => {
                let initdb = on_path("initdb")?;
                initdb.parent().map(PathBuf::from).unwrap_or_default()
            }
        };
        Ok(Self {
            orch: named("MCP_ORCH_BIN", "mcp-orch")?,
            postgres,
            nats: named("MCP_ORCH_TEST_NATS_SERVER", "nats-server")?,
            bao: named("MCP_ORCH_TEST_BAO", "bao")?,
        })
    }
}

fn named(variable: &str, program: &str) -> Result<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) => Ok(PathBuf::from(path)),
        None => on_path(program).with_context(|| format!("{variable} is not set")),
    }
}

fn on_path(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .with_context(|| format!("{program} is not on the path: run this with `cargo xtask`"))
}

/// What an image is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of ours.
    Orch,
    /// The database.
    Postgres,
    /// The bus.
    Nats,
    /// The secrets.
    Bao,
    /// What stands in front.
    Balancer,
}

impl Kind {
    /// Reads it from an image such as `docker.io/library/postgres:17`.
    ///
    /// # Errors
    /// When nothing on this machine stands in for it.
    pub(crate) fn of(image: &str) -> Result<Self> {
        let name = image.rsplit('/').next().unwrap_or(image);
        match name.split([':', '@']).next().unwrap_or(name) {
            "mcp-orch" | "mcp-orch-worker" => Ok(Self::Orch),
            "postgres" => Ok(Self::Postgres),
            "nats" => Ok(Self::Nats),
            "openbao" => Ok(Self::Bao),
            "haproxy" => Ok(Self::Balancer),
            _ => bail!("nothing on this machine stands in for the image {image}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn images_are_known_by_their_names() {
        assert_eq!(Kind::of("mcp-orch-worker:latest").unwrap(), Kind::Orch);
        assert_eq!(Kind::of("docker.io/library/postgres:17").unwrap(), Kind::Postgres);
        assert_eq!(Kind::of("openbao/openbao:2.4").unwrap(), Kind::Bao);
        assert!(Kind::of("redis:7").is_err());
    }
}

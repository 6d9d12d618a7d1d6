//! Servers that `up` registers by itself: those of `--config`, and the demo server.

use anyhow::{Context, Result};
use control_plane::import::{ImportServers, import_servers};
use control_plane::use_case::{CreateServer, create_server};
use domain::ErrorCode;
use proto::control::v1::{ServerSpec, Transport};

use super::system::System;
use crate::cli::UpArgs;

/// Registers what is missing and says what was done.
pub(super) async fn register(system: &System, args: &UpArgs) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if let Some(file) = &args.config {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let import = ImportServers {
            project: system.project().clone(),
            config_json: text,
            dry_run: false,
            prune: false,
        };
        for server in import_servers(&system.app(), &system.ctx(), import).await? {
            notes.push(format!("{}: {}", server.name, server.action.as_str()));
        }
    }
    if args.demo {
        notes.extend(demo(system).await?);
    }
    Ok(notes)
}

async fn demo(system: &System) -> Result<Option<String>> {
    let program = std::env::current_exe().context("cannot find my own program")?;
    let create = CreateServer {
        project: system.project().clone(),
        spec: ServerSpec {
            name: "demo".to_owned(),
            transport: Transport::Stdio.into(),
            command: program.to_string_lossy().into_owned(),
            args: vec!["demo-server".to_owned()],
            ..ServerSpec::default()
        },
        idempotency_key: None,
    };
    match create_server(&system.app(), &system.ctx(), create).await {
        Ok(_) => Ok(Some("demo: registered".to_owned())),
        Err(refusal) if refusal.code == ErrorCode::AlreadyExists => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

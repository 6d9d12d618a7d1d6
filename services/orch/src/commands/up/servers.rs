//! Servers that `up` registers by itself: those of `--config`, and the demo server.

use anyhow::{Context, Result};
use control_plane::import::{ImportServers, import_servers};
use control_plane::use_case::{CreateServer, create_server};
use control_plane::{App, Ctx};
use domain::{ErrorCode, ProjectId};
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
        notes.extend(demo(&system.app(), &system.ctx(), system.project()).await?);
    }
    Ok(notes)
}

/// Registers the built-in demo server, unless it is there.
///
/// # Errors
/// When it is refused for another reason.
pub(crate) async fn demo(app: &App, ctx: &Ctx, project: &ProjectId) -> Result<Option<String>> {
    let program = std::env::current_exe().context("cannot find my own program")?;
    let create = CreateServer {
        project: project.clone(),
        spec: ServerSpec {
            name: "demo".to_owned(),
            transport: Transport::Stdio.into(),
            command: program.to_string_lossy().into_owned(),
            args: vec!["demo-server".to_owned()],
            ..ServerSpec::default()
        },
        idempotency_key: None,
    };
    match create_server(app, ctx, create).await {
        Ok(_) => Ok(Some("demo: registered".to_owned())),
        Err(refusal) if refusal.code == ErrorCode::AlreadyExists => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

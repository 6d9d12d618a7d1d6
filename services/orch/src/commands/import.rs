//! `mcp-orch import FILE`: servers from a client's configuration file, by name.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{RecursiveMode, Watcher};
use proto::control::v1 as pb;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::table::{print, say};
use crate::cli::ImportArgs;
use crate::remote::{Session, explain};

/// How long a file must be quiet before it is read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(300);

/// Takes the file over, and with `--watch` each later change of it.
pub(crate) async fn run(args: ImportArgs) -> Result<()> {
    import(&args).await?;
    if args.watch {
        say(&format!("watching {}; end with Ctrl-C", args.file.display()));
        watch(&args).await?;
    }
    Ok(())
}

/// Opens a session of its own: a token does not last as long as a file may be watched.
async fn import(args: &ImportArgs) -> Result<()> {
    let session = Session::open(&args.target.remote).await?;
    let project_id = session.project(args.target.project.as_ref()).await?;
    let config_json = std::fs::read_to_string(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let request = pb::ImportServersRequest {
        project_id,
        config_json,
        dry_run: args.dry_run,
        prune: args.prune,
    };
    let done = session.servers().import_servers(request).await.map_err(explain)?.into_inner();
    let rows: Vec<Value> = done.servers.iter().map(row).collect();
    print(args.target.remote.json, &["name", "action", "changes"], &rows)
}

fn row(server: &pb::ImportedServer) -> Value {
    let action = server.action().as_str_name().trim_start_matches("IMPORT_ACTION_");
    json!({ "name": server.name, "action": action.to_lowercase(), "changes": server.changes })
}

async fn watch(args: &ImportArgs) -> Result<()> {
    let (seen, mut changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that a change is waiting already.
            let _ = seen.try_send(());
        }
    })?;
    // The directory, since many editors replace the file.
    let parent = args.file.parent().filter(|parent| !parent.as_os_str().is_empty());
    watcher.watch(parent.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)?;
    let mut before = std::fs::read(&args.file).ok();
    while changes.recv().await.is_some() {
        while tokio::time::timeout(QUIET, changes.recv()).await.is_ok() {}
        let now = std::fs::read(&args.file).ok();
        if now.is_none() || now == before {
            continue;
        }
        before = now;
        if let Err(error) = import(args).await {
            say(&format!("not taken over: {error:#}"));
        }
    }
    Ok(())
}

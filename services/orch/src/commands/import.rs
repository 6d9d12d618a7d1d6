//! `mcp-orch import FILE`: servers from a client's configuration file, by name.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
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
    if !args.watch {
        return import(&args).await;
    }
    // Before the first import, so that no change after its reading is missed.
    let watched = Watched::begin(&args.file)?;
    import(&args).await?;
    say(&format!("watching {}; end with Ctrl-C", args.file.display()));
    watched.run(async || import(&args).await).await;
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

/// A file under watch, and what stood in it when that began.
struct Watched<'a> {
    file: &'a Path,
    changes: mpsc::Receiver<()>,
    before: Option<Vec<u8>>,
    /// Watches until it is dropped.
    _watcher: RecommendedWatcher,
}

impl<'a> Watched<'a> {
    /// Begins to watch.
    fn begin(file: &'a Path) -> Result<Self> {
        let (seen, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // Full means that a change is waiting already.
                let _ = seen.try_send(());
            }
        })?;
        // The directory, since many editors replace the file.
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        watcher.watch(parent.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)?;
        // Read after the watch began: what changes from here on is seen.
        let before = std::fs::read(file).ok();
        Ok(Self { file, changes, before, _watcher: watcher })
    }

    /// Takes over each state of the file that differs from the one before, for ever.
    async fn run(mut self, import: impl AsyncFn() -> Result<()>) {
        while self.changes.recv().await.is_some() {
            while tokio::time::timeout(QUIET, self.changes.recv()).await.is_ok() {}
            let now = std::fs::read(self.file).ok();
            if now.is_none() || now == self.before {
                continue;
            }
            self.before = now;
            if let Err(error) = import().await {
                say(&format!("not taken over: {error:#}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_during_the_first_import_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mcp.json");
        std::fs::write(&file, "first").unwrap();
        let watched = Watched::begin(&file).unwrap();
        // The first import has read the file and is still under way.
        std::fs::write(&file, "second").unwrap();
        let (imported, mut imports) = mpsc::channel(8);
        let run = watched.run(async || {
            imported.send(std::fs::read_to_string(&file)?).await?;
            Ok(())
        });
        let seen = async {
            assert_eq!(imports.recv().await.unwrap(), "second");
            std::fs::write(&file, "third").unwrap();
            assert_eq!(imports.recv().await.unwrap(), "third");
        };
        tokio::select! {
            () = run => panic!("it ended by itself"),
            seen = tokio::time::timeout(Duration::from_secs(30), seen) => seen.unwrap(),
        }
    }
}

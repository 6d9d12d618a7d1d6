//! `mcp-orch replay --verify`: every projection again from the log, compared row by row.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use control_plane::verify::{VerifyReport, verify};
use event_store::{SqliteConfig, SqliteEventStore};
use runtime::clock;
use serde_json::{Value, json};

use super::table::{print, say};
use crate::cli::ReplayArgs;
use crate::wiring::{LOG_FILE, VIEWS_FILE};

/// Verifies, and fails when anything differs.
pub(crate) async fn run(args: ReplayArgs) -> Result<ExitCode> {
    let log = args.data.join(LOG_FILE);
    let store = SqliteEventStore::open_read_only(SqliteConfig::new(log, clock::system()))
        .await
        .with_context(|| format!("cannot read the log in {}", args.data.display()))?;
    let report = verify(Arc::new(store.clone()), &args.data.join(VIEWS_FILE)).await?;
    store.close().await;
    show(&report, args.json)?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(report: &VerifyReport, json: bool) -> Result<()> {
    let faults: Vec<String> = report.log_faults.iter().map(|fault| format!("{fault:?}")).collect();
    let rows: Vec<Value> = report
        .tables
        .iter()
        .map(|table| {
            json!({
                "table": table.table,
                "rows": table.rows,
                "differences":
                    table.differences.iter().map(|d| format!("{d:?}")).collect::<Vec<_>>(),
            })
        })
        .collect();
    if json {
        let whole = json!({
            "clean": report.is_clean(),
            "events": report.events,
            "position": report.position,
            "log_faults": faults,
            "tables": rows,
        });
        say(&whole.to_string());
        return Ok(());
    }
    for fault in &faults {
        say(&format!("log: {fault}"));
    }
    print(false, &["table", "rows", "differences"], &rows)?;
    let verdict = if report.is_clean() { "clean" } else { "NOT CLEAN" };
    say(&format!("{} events up to position {}: {verdict}", report.events, report.position));
    Ok(())
}

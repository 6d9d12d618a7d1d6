//! `mcp-orch health`: for health checks in images that hold nothing else.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::table::say;
use crate::cli::cluster::HealthArgs;

/// How long the answer may take.
const LIMIT: Duration = Duration::from_secs(4);

/// Asks, says what was answered, and fails unless it was success.
pub(crate) async fn run(args: &HealthArgs) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build()?;
    let answer = client.get(&args.url).send().await;
    let answer = answer.with_context(|| format!("no answer from {}", args.url))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("{status}\n{}", text.trim_end());
    }
    say(text.trim_end());
    Ok(())
}

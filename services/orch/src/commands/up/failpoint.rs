//! A crash at a chosen commit, for tests of what survives one.
//!
//! `MCP_ORCH_FAILPOINT=before_commit:N` or `after_commit:N` ends the process with SIGKILL's effect
//! (no destructor, no flush) at the N-th commit of the log. Without the variable nothing is hooked
//! in.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use event_store::CommitHook;

/// The environment variable that asks for a crash.
const VARIABLE: &str = "MCP_ORCH_FAILPOINT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    After,
}

struct Crash {
    place: Place,
    left: AtomicU64,
}

impl Crash {
    fn reach(&self, place: Place) {
        if self.place == place && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            process::abort();
        }
    }
}

#[async_trait]
impl CommitHook for Crash {
    async fn before_commit(&self, _events: usize) {
        self.reach(Place::Before);
    }

    async fn after_commit(&self, _events: usize) {
        self.reach(Place::After);
    }
}

/// The crash that the environment asks for.
pub(super) fn from_environment() -> Result<Option<Arc<dyn CommitHook>>> {
    match std::env::var(VARIABLE) {
        Ok(text) => {
            let (place, left) = parse(&text)?;
            tracing::warn!(?place, left, "will crash at a commit, as {VARIABLE} says");
            Ok(Some(Arc::new(Crash { place, left: AtomicU64::new(left) })))
        }
        Err(_) => Ok(None),
    }
}

fn parse(text: &str) -> Result<(Place, u64)> {
    let (place, count) = text.split_once(':').context("must be PLACE:N")?;
    let count: u64 = count.parse().context("N must be a number")?;
    match (place, count) {
        (_, 0) => bail!("{VARIABLE}: commits are counted from 1"),
        ("before_commit", count) => Ok((Place::Before, count)),
        ("after_commit", count) => Ok((Place::After, count)),
        _ => bail!("{VARIABLE} must be before_commit:N or after_commit:N"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_counts_are_read_and_others_refused() {
        assert_eq!(parse("before_commit:3").unwrap(), (Place::Before, 3));
        assert_eq!(parse("after_commit:1").unwrap(), (Place::After, 1));
        for bad in ["", "after_commit", "after_commit:0", "elsewhere:1", "before_commit:x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

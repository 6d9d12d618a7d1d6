//! What was said unasked, kept for an edge that a client comes back to: bounded and lossy.

use std::sync::Arc;

use bus::{SharedMemory, Subject};
use bytes::Bytes;
use prost::Message as _;
use proto::internal::v1::TrailEntry;
use tokio::sync::mpsc;

use super::MEMORY_WAIT;

/// Messages of all sessions that wait to be kept; what comes beyond is not.
const WAITING: usize = 4_096;

/// A message for a trail.
pub(super) struct Step {
    pub(super) trail: Subject,
    pub(super) entry: TrailEntry,
}

/// Keeps messages in the order in which they are given, until the sender is gone.
pub(super) fn start(memory: Arc<dyn SharedMemory>) -> mpsc::Sender<Step> {
    let (sender, mut steps) = mpsc::channel::<Step>(WAITING);
    tokio::spawn(async move {
        while let Some(step) = steps.recv().await {
            let entry = Bytes::from(step.entry.encode_to_vec());
            let pushing = memory.push(&step.trail, entry);
            if !matches!(tokio::time::timeout(MEMORY_WAIT, pushing).await, Ok(Ok(()))) {
                metrics::counter!("mcp_orch_replay_dropped_total").increment(1);
            }
        }
    });
    sender
}

/// What is kept on a trail, in order; nothing if it cannot be had.
pub(super) async fn read(memory: &dyn SharedMemory, trail: &Subject) -> Vec<(u64, Bytes)> {
    let entries = match tokio::time::timeout(MEMORY_WAIT, memory.trail(trail)).await {
        Ok(Ok(entries)) => entries,
        Ok(Err(error)) => {
            tracing::warn!(%error, "what was said unasked cannot be had again");
            return Vec::new();
        }
        Err(_) => return Vec::new(),
    };
    let decoded = entries.into_iter().filter_map(|entry| TrailEntry::decode(entry).ok());
    decoded.map(|entry| (entry.number, entry.message)).collect()
}

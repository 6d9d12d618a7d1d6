//! What `server/discover` says of a scope.

use bytes::Bytes;
use mcp::catalogue::Feature;
use mcp::server::stateless::{CacheHint, DiscoverResult, TASKS_EXTENSION};
use mcp::splice;

use crate::merged::Merged;

/// The raw result. What is offered changes with the project's servers at any time.
pub(super) fn result(merged: &Merged, server_info: &[u8]) -> Bytes {
    let offered = merged.catalogue.discover_capabilities();
    // Tasks of the older kind are told as those of the extension.
    let has_tasks = merged.catalogue.servers_offering(Feature::Tasks).next().is_some();
    let path = ["extensions", TASKS_EXTENSION];
    let is_missing = has_tasks && splice::find(offered, &path).is_ok_and(|span| span.is_none());
    let with_tasks = is_missing.then(|| splice::set(offered, &path, b"{}")).and_then(Result::ok);
    DiscoverResult {
        capabilities: with_tasks.as_ref().unwrap_or(offered),
        server_info,
        instructions: merged.catalogue.instructions(),
        cache: CacheHint::NONE,
    }
    .to_json()
}

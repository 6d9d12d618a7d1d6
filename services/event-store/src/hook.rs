//! Points at which a test can stop, hold or kill a store.

use async_trait::async_trait;

/// Called around each commit of events. While a hook is pending, nothing is written and nobody
/// is answered. Where a store can append and commit in one statement, it does so in two for a
/// hook.
#[async_trait]
pub trait CommitHook: Send + Sync + 'static {
    /// Before the commit of a group of `events`: a crash here must lose all of it.
    async fn before_commit(&self, _events: usize) {}

    /// After the commit and before the answers: a crash here must keep all of it.
    async fn after_commit(&self, _events: usize) {}
}

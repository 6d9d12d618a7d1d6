//! An edge that runs.

use edge::{Edge, EdgeConfig, EdgeDeps};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::GRACE;

/// An edge and the task that keeps its sessions.
pub(crate) struct RunningEdge {
    edge: Edge,
    task: JoinHandle<()>,
}

/// Puts an edge together and runs it until `stop`.
pub(crate) fn start_edge(
    config: EdgeConfig,
    deps: EdgeDeps,
    stop: CancellationToken,
) -> RunningEdge {
    let edge = Edge::build(config, deps);
    let running = edge.clone();
    let task = tokio::spawn(async move { running.run(stop, GRACE).await });
    RunningEdge { edge, task }
}

impl RunningEdge {
    /// The MCP endpoints.
    pub(crate) fn router(&self) -> axum::Router {
        self.edge.router()
    }

    /// Waits until it has drained after its stop.
    pub(crate) async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the edge failed");
        }
    }
}

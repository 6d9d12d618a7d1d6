//! What every service has as a process: its log, its metrics, its health, and an end in order.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use runtime::health::{Health, HealthRegistry, HealthReporter};
use runtime::telemetry::{TelemetryConfig, TelemetryGuard};
use runtime::{admin, shutdown, telemetry};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{CLOSING, serve};

/// For so long whoever looks at `/readyz` may send requests after it says that no more should
/// come.
const NOTICE: Duration = Duration::from_secs(1);

/// A process of a cluster, from its first log line to its last.
pub(crate) struct Process {
    /// How its parts are.
    pub(crate) health: HealthRegistry,
    /// Cancelled by the first SIGTERM or SIGINT.
    pub(crate) stop: CancellationToken,
    own: HealthReporter,
    closed: CancellationToken,
    served: Vec<JoinHandle<std::io::Result<()>>>,
    _telemetry: TelemetryGuard,
}

impl Process {
    /// Begins to log, to count and to listen to signals, and serves metrics and health.
    ///
    /// # Errors
    /// When one of these cannot begin.
    pub(crate) fn start(logs: Option<PathBuf>, listener: TcpListener) -> Result<Self> {
        let filter = std::env::var("MCP_LOG_LEVEL").unwrap_or_else(|_| "INFO".to_owned());
        let config = TelemetryConfig { filter, directory: logs, console: true };
        let telemetry = telemetry::init(&config)?;
        let metrics = admin::install_metrics().context("cannot collect metrics")?;
        let health = HealthRegistry::default();
        let own = health.register("process");
        let closed = CancellationToken::new();
        let routes = admin::router(metrics, health.clone());
        let served = vec![tokio::spawn(serve(listener, routes, closed.clone()))];
        Ok(Self {
            health,
            stop: shutdown::on_signal()?,
            own,
            closed,
            served,
            _telemetry: telemetry,
        })
    }

    /// Waits for the start of the process's parts; none where it was asked to stop before.
    ///
    /// # Errors
    /// Why it cannot start.
    pub(crate) async fn unless_stopped<T>(
        &self,
        starting: impl Future<Output = Result<T>>,
    ) -> Result<Option<T>> {
        let started = starting.await;
        match started {
            Err(error) if self.stop.is_cancelled() => {
                tracing::info!(%error, "stopped before it was ready");
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    /// Serves requests from now on, and says that it is ready once all its parts are.
    pub(crate) fn serve(&mut self, listener: TcpListener, routes: axum::Router) {
        self.served.push(tokio::spawn(serve(listener, routes, self.closed.clone())));
        self.is_ready();
    }

    /// The same for who serves nothing.
    pub(crate) fn is_ready(&self) {
        self.own.set(Health::Ok);
        tracing::info!("ready");
    }

    /// Waits for the signal, and then until nobody sends new requests any more.
    pub(crate) async fn asked_to_stop(&self) {
        self.stop.cancelled().await;
        self.health.drain();
        tokio::time::sleep(NOTICE).await;
    }

    /// Closes what is still open.
    pub(crate) async fn end(self) {
        self.closed.cancel();
        let ended = async {
            for served in self.served {
                if let Ok(Err(error)) = served.await {
                    tracing::error!(%error, "a listener failed");
                }
            }
        };
        if tokio::time::timeout(CLOSING, ended).await.is_err() {
            tracing::warn!("connections were still open when the process ended");
        }
        tracing::info!("stopped");
    }
}

//! The admin listener: `/metrics`, `/healthz`, `/readyz`. Apart from what tenants reach.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::StatusCode;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::health::HealthRegistry;

/// Seconds: from a call in the same process to one that takes minutes.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];

/// Begins to collect metrics for the whole process.
///
/// # Errors
/// When a recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()
}

#[derive(Clone)]
struct AdminState {
    metrics: PrometheusHandle,
    health: HealthRegistry,
}

/// The admin endpoints. `/healthz` says that the process runs and how its parts are; `/readyz`
/// is 200 only while every part can serve.
pub fn router(metrics: PrometheusHandle, health: HealthRegistry) -> Router {
    Router::new()
        .route("/metrics", get(async |State(state): State<AdminState>| state.metrics.render()))
        .route("/healthz", get(async |State(state): State<AdminState>| state.health.report()))
        .route("/readyz", get(ready))
        .with_state(AdminState { metrics, health })
}

async fn ready(State(state): State<AdminState>) -> impl IntoResponse {
    let status =
        if state.health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, state.health.report())
}

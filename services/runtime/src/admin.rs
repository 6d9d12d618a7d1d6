//! The admin listener: `/metrics`, `/livez`, `/readyz`, `/healthz`. Apart from what tenants
//! reach.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
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

/// The admin endpoints.
///
/// - `/livez` is 200 for as long as the process answers: restart it when it does not.
/// - `/readyz` is 200 while every part can serve and the process does not drain, else 503: send
///   requests only then. Its text has one line a part.
/// - `/healthz` is 200, with the status of the process and of each part as JSON: look at it.
pub fn router(metrics: PrometheusHandle, health: HealthRegistry) -> Router {
    Router::new()
        .route("/metrics", get(async |State(state): State<AdminState>| state.metrics.render()))
        .route("/livez", get("ok\n"))
        .route("/readyz", get(ready))
        .route(
            "/healthz",
            get(async |State(state): State<AdminState>| Json(state.health.to_json())),
        )
        .with_state(AdminState { metrics, health })
}

async fn ready(State(state): State<AdminState>) -> impl IntoResponse {
    let status =
        if state.health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, state.health.report())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::health::Health;

    async fn get(health: &HealthRegistry, path: &str) -> (StatusCode, String) {
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(metrics, health.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 64 * 1024).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_the_parts_and_liveness_does_not() {
        let health = HealthRegistry::default();
        let store = health.register("store");
        let bus = health.register("bus");
        bus.set(Health::Ok);
        let (status, text) = get(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "bus: ok\nstore: starting\n");
        store.set(Health::Ok);
        assert_eq!(get(&health, "/readyz").await.0, StatusCode::OK);
        bus.set(Health::Degraded("reconnecting".into()));
        assert_eq!(get(&health, "/readyz").await.0, StatusCode::OK);
        store.set(Health::Down("disk full".into()));
        assert_eq!(get(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(get(&health, "/livez").await, (StatusCode::OK, "ok\n".to_owned()));
        assert_eq!(get(&health, "/healthz").await.0, StatusCode::OK);
        store.set(Health::Ok);
        health.drain();
        assert_eq!(get(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(get(&health, "/livez").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn health_names_what_is_degraded() {
        let health = HealthRegistry::default();
        health.register("store").set(Health::Ok);
        health.register("bus").set(Health::Degraded("reconnecting".into()));
        let (_, text) = get(&health, "/healthz").await;
        let shown: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(shown["summary"], "degraded: bus");
        assert_eq!(shown["parts"]["bus"]["cause"], "reconnecting");
        assert_eq!(get(&health, "/metrics").await.0, StatusCode::OK);
    }
}

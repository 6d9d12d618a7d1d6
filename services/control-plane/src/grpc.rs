//! The public contract over gRPC and grpc-web, with health and reflection.
//!
//! Each method authenticates, reads the request in `read`, calls one use case and shows the
//! answer by `show`. API keys never authenticate here: they open MCP endpoints.

mod api_key;
mod audit;
mod call;
mod project;
mod read;
mod server;
mod show;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use domain::Refusal;
use http::Request;
use proto::control::v1::api_key_service_server::ApiKeyServiceServer;
use proto::control::v1::audit_service_server::AuditServiceServer;
use proto::control::v1::call_service_server::CallServiceServer;
use proto::control::v1::project_service_server::ProjectServiceServer;
use proto::control::v1::server_service_server::ServerServiceServer;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_web::GrpcWebLayer;
use tower::Service;

use crate::app::App;
use crate::context::Ctx;
use crate::freshness::fresh;
use crate::identity;

/// Largest request, in bytes: an import of 1 MiB and what is around it.
const MAX_REQUEST_BYTES: usize = 2 * 1024 * 1024;

/// A service with our limit on requests.
macro_rules! limited {
    ($server:ident, $services:expr) => {
        $server::new($services.clone()).max_decoding_message_size(MAX_REQUEST_BYTES)
    };
}
/// The services over an [`App`]. Cheap to clone.
#[derive(Clone)]
struct Services {
    app: Arc<App>,
}

impl Services {
    /// Who asks.
    async fn ctx(&self, metadata: &MetadataMap) -> Result<Ctx, Status> {
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let ctx = identity::authenticate_session(&self.app, token.unwrap_or_default()).await;
        ctx.map_err(status)
    }
}

fn status(refusal: Refusal) -> Status {
    runtime::error::to_status(&refusal)
}

/// The routes of gRPC and grpc-web, mounted by service, so that they merge with others.
pub fn router(app: &Arc<App>) -> Router {
    let services = Services { app: Arc::clone(app) };
    let router = mount(Router::new(), limited!(ProjectServiceServer, services));
    let router = mount(router, limited!(ServerServiceServer, services));
    let router = mount(router, limited!(ApiKeyServiceServer, services));
    let router = mount(router, limited!(CallServiceServer, services));
    let router = mount(router, limited!(AuditServiceServer, services));
    // Health and reflection read no views.
    let router = router.layer(axum::middleware::from_fn_with_state(Arc::clone(app), fresh));
    let health = HealthService::from_health_reporter(app.grpc_health.clone());
    let router = mount(router, HealthServer::new(health));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let router = match reflection {
        Ok(reflection) => mount(router, reflection),
        Err(error) => {
            tracing::error!(%error, "no reflection");
            router
        }
    };
    router.layer(GrpcWebLayer::new())
}

/// Says of every service that it serves.
pub(crate) async fn health() -> HealthReporter {
    let reporter = HealthReporter::new();
    reporter.set_serving::<ProjectServiceServer<Services>>().await;
    reporter.set_serving::<ServerServiceServer<Services>>().await;
    reporter.set_serving::<ApiKeyServiceServer<Services>>().await;
    reporter.set_serving::<CallServiceServer<Services>>().await;
    reporter.set_serving::<AuditServiceServer<Services>>().await;
    reporter
}

fn mount<S>(router: Router, service: S) -> Router
where
    S: Service<Request<axum::body::Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*method}}", S::NAME), service)
}

//! A real handshake with a saved server, by the worker, step by step.

use std::time::Duration;

use authz::Action;
use bus::{BusError, Subject};
use domain::{ErrorCode, ProjectId, Refusal, ServerId};
use prost::Message as _;
use proto::internal::v1::{TestFrame, TestRequest};

use super::server_get::require_server;
use crate::app::App;
use crate::context::Ctx;
use crate::fault;

/// How long a test may take in all: longer than the longest connect timeout that is usual.
const LIMIT: Duration = Duration::from_secs(120);
const MAX_STEPS: usize = 100;

/// One step of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestStep {
    /// `resolve`, `spawn`, `connect`, `initialize`, `list_tools` …
    pub step: String,
    /// Whether it went well.
    pub ok: bool,
    /// What was seen, secrets masked.
    pub detail: String,
    /// How long it took.
    pub took_ms: u32,
}

/// What came of the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// Whether every step went well.
    pub ok: bool,
    /// The steps in their order; the last is where it failed, if it did.
    pub steps: Vec<TestStep>,
    /// How many tools the server offers.
    pub tools: u32,
}

/// Tests the server. Developer.
///
/// # Errors
/// `NotFound`, `PermissionDenied`; `Unavailable` when no worker runs or it does not answer.
pub async fn test_server(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    server: ServerId,
) -> Result<TestReport, Refusal> {
    require_server(app, ctx, project, server, Action::ServersTest).await?;
    let request = TestRequest {
        tenant: ctx.tenant.to_string(),
        project: project.to_string(),
        server: server.to_string(),
    };
    match tokio::time::timeout(LIMIT, collect(app, request)).await {
        Ok(report) => report,
        Err(_) => Err(unavailable("the worker did not finish the test within two minutes")),
    }
}

async fn collect(app: &App, request: TestRequest) -> Result<TestReport, Refusal> {
    let subject = Subject::new("worker.test").map_err(|error| fault::internal(&error))?;
    let exchange = app
        .bus
        .open(&subject, request.encode_to_vec().into())
        .await
        .map_err(|error| bus_refusal(&error))?;
    let mut report = TestReport { ok: false, steps: Vec::new(), tools: 0 };
    while let Some(frame) = exchange.next_frame().await {
        let bytes = frame.map_err(|error| bus_refusal(&error))?;
        let frame = TestFrame::decode(bytes).map_err(|error| fault::internal(&error))?;
        report.tools = report.tools.max(frame.tools);
        let done = frame.done;
        if !frame.step.is_empty() && report.steps.len() < MAX_STEPS {
            report.steps.push(TestStep {
                step: frame.step,
                ok: frame.ok,
                detail: frame.detail,
                took_ms: frame.took_ms,
            });
        }
        if done {
            report.ok = report.steps.iter().all(|step| step.ok) && !report.steps.is_empty();
            return Ok(report);
        }
    }
    Err(unavailable("the worker left in the middle of the test"))
}

/// What the bus said, for people.
pub(crate) fn bus_refusal(error: &BusError) -> Refusal {
    match error {
        BusError::NoResponders => unavailable("no worker is there for this server"),
        BusError::Busy { .. } => {
            Refusal::new(ErrorCode::ResourceExhausted, "the worker is busy, try again")
        }
        other => {
            tracing::warn!(error = %other, "an exchange with a worker failed");
            unavailable("the worker did not answer")
        }
    }
}

fn unavailable(message: &str) -> Refusal {
    Refusal::new(ErrorCode::Unavailable, message)
}

//! Tests a saved server: a real handshake step by step, over a connection of its own that is
//! closed afterwards.

use std::sync::Arc;
use std::time::Duration;

use bus::{Incoming, Server, ServerSide};
use domain::server::Transport;
use domain::{ServerId, TenantId};
use mcp::ListKind;
use mcp::client::{EraChoice, LearnLimits, learn_catalogue};
use prost::Message;
use proto::internal::v1::{TestFrame, TestRequest};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::connection::{ActorDeps, ConnectionSpec, Dialed, Introduction, Step, cause};
use crate::stdio::StderrRing;

/// Most tests under way; more are refused.
const MAX_TESTS: usize = 16;
/// How long the closing of the connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Takes requests for tests until `stop` is cancelled.
pub(crate) async fn serve(deps: Arc<ActorDeps>, mut server: Server, stop: CancellationToken) {
    let running = Arc::new(Semaphore::new(MAX_TESTS));
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            incoming = server.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let (deps, stop) = (Arc::clone(&deps), stop.clone());
        let permit = Arc::clone(&running).try_acquire_owned();
        let tasks = deps.tasks.clone();
        tasks.spawn(async move {
            let _permit = permit;
            let told = Told { exchange: &incoming.exchange };
            if _permit.is_err() {
                told.end("resolve", "too many tests are under way").await;
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // Nobody waits for the result any more.
                () = incoming.exchange.closed() => {}
                () = test(&deps, &incoming, &told) => {}
            }
        });
    }
}

async fn test(deps: &ActorDeps, incoming: &Incoming, told: &Told<'_>) {
    let Some(spec) = find(deps, incoming) else {
        told.end("resolve", "server not found").await;
        return;
    };
    let start = Instant::now();
    let stderr = Arc::<StderrRing>::default();
    let introduction = Introduction::of_server(EraChoice::Probe, spec.config.isolation);
    let dialed = match deps.dialer.dial(&spec, &stderr, &introduction).await {
        Ok(dialed) => dialed,
        Err(error) => {
            // What was passed on the way is known from where it ended.
            for step in passed(&spec, error.step) {
                told.step(*step, "", Duration::ZERO).await;
            }
            let took_ms = millis(start.elapsed());
            let step = error.step.as_str().to_owned();
            told.send(TestFrame { step, detail: error.cause, took_ms, done: true, ..ended() })
                .await;
            told.exchange.finish();
            return;
        }
    };
    for (step, took) in &dialed.steps {
        let revision = dialed.link.connection.hello().protocol.as_str();
        let detail = if *step == Step::Initialize { revision } else { "" };
        told.step(*step, detail, *took).await;
    }
    list_tools(deps, &dialed, told).await;
    drop(timeout(CLOSE_LIMIT, dialed.link.connection.close()).await);
    if let Some(process) = dialed.process {
        process.stop().await;
    }
}

/// The last step.
async fn list_tools(deps: &ActorDeps, dialed: &Dialed, told: &Told<'_>) {
    let start = Instant::now();
    let list_timeout = deps.config.list_timeout;
    let limits = LearnLimits { list_timeout, ..LearnLimits::default() };
    let learned = learn_catalogue(&dialed.link.connection, &limits).await;
    let failures: Vec<_> =
        learned.failures.into_iter().filter(|failure| failure.list == ListKind::Tools).collect();
    let tools = learned.catalogue.items(ListKind::Tools).len();
    let detail = match failures.as_slice() {
        [] => format!("{tools} tools"),
        failures => cause::cut(&cause::lists(failures, list_timeout, &dialed.link.masker)),
    };
    told.send(TestFrame {
        step: "list_tools".to_owned(),
        ok: failures.is_empty(),
        detail,
        took_ms: millis(start.elapsed()),
        done: true,
        tools: u32::try_from(tools).unwrap_or(u32::MAX),
    })
    .await;
    told.exchange.finish();
}

/// The saved server, if it is the tenant's and the project's.
fn find(deps: &ActorDeps, incoming: &Incoming) -> Option<ConnectionSpec> {
    let request = TestRequest::decode(incoming.first.clone()).ok()?;
    let (tenant, server): (TenantId, ServerId) =
        (request.tenant.parse().ok()?, request.server.parse().ok()?);
    let configuration = deps.replica.read();
    let entry = configuration.server(&server)?;
    let meant = entry.tenant == tenant && entry.server.project.as_str() == request.project;
    meant.then(|| ConnectionSpec::of(entry))
}

/// The steps before the one that failed.
fn passed(spec: &ConnectionSpec, failed: Step) -> &'static [Step] {
    let stdio = matches!(spec.config.transport, Transport::Stdio { .. });
    match failed {
        Step::Resolve => &[],
        Step::Spawn | Step::Connect => &[Step::Resolve],
        Step::Initialize if stdio => &[Step::Resolve, Step::Spawn],
        Step::Initialize => &[Step::Resolve, Step::Connect],
    }
}

/// Who asked.
struct Told<'a> {
    exchange: &'a ServerSide,
}

impl Told<'_> {
    async fn step(&self, step: Step, detail: &str, took: Duration) {
        let (step, detail) = (step.as_str().to_owned(), detail.to_owned());
        let took_ms = millis(took);
        self.send(TestFrame { step, ok: true, detail, took_ms, done: false, tools: 0 }).await;
    }

    async fn end(&self, step: &str, detail: &str) {
        let (step, detail) = (step.to_owned(), detail.to_owned());
        self.send(TestFrame { step, detail, ..ended() }).await;
        self.exchange.finish();
    }

    async fn send(&self, frame: TestFrame) {
        // Who asked may be gone, which is noticed elsewhere.
        drop(self.exchange.reply(frame.encode_to_vec().into()).await);
    }
}

/// The last frame of a test that failed.
fn ended() -> TestFrame {
    TestFrame { done: true, ..TestFrame::default() }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

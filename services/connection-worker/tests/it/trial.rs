//! Tests of saved servers, asked for over the bus.

use backplane::subject;
use domain::ServerId;
use domain::server::Transport;
use prost::Message;
use proto::internal::v1::{TestFrame, TestRequest};
use serde_json::json;

use crate::stage::{self, LIMIT, Stage, at, fixture};

async fn tested(stage: &Stage, server: ServerId) -> Vec<TestFrame> {
    let request = TestRequest {
        tenant: stage::tenant().to_string(),
        project: stage::project().to_string(),
        server: server.to_string(),
    };
    frames(stage, request).await
}

async fn frames(stage: &Stage, request: TestRequest) -> Vec<TestFrame> {
    let exchange =
        stage.bus.open(&subject::worker_test(), request.encode_to_vec().into()).await.unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = tokio::time::timeout(LIMIT, exchange.next_frame()).await.unwrap() {
        frames.push(TestFrame::decode(frame.unwrap()).unwrap());
    }
    frames
}

fn steps(frames: &[TestFrame]) -> Vec<(&str, bool, bool)> {
    frames.iter().map(|frame| (frame.step.as_str(), frame.ok, frame.done)).collect()
}

#[tokio::test]
async fn a_good_server_passes_every_step() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&["--tools", "2"]);
    let server = stage.register(transport, launch).await;
    stage.until(server, |view| view.catalogue.is_some()).await;
    let frames = tested(&stage, server).await;
    assert_eq!(
        steps(&frames),
        [
            ("resolve", true, false),
            ("spawn", true, false),
            ("initialize", true, false),
            ("list_tools", true, true)
        ]
    );
    assert!(frames[3].tools > 2);
}

#[tokio::test]
async fn a_bad_server_says_where_and_why() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&["--exit-at-start", "4"]);
    let exiting = stage.register(transport, launch).await;
    let absent = stage.register(Transport::Sse(at("http://127.0.0.1:9/sse")), json!({})).await;
    stage.until(absent, |view| view.observed_at.is_some()).await;
    let frames = tested(&stage, exiting).await;
    assert_eq!(
        steps(&frames),
        [("resolve", true, false), ("spawn", true, false), ("initialize", false, true)]
    );
    assert_eq!(frames[2].detail, "exited with status 4 before initialize");
    let frames = tested(&stage, absent).await;
    assert_eq!(steps(&frames), [("resolve", true, false), ("connect", false, true)]);
}

#[tokio::test]
async fn what_is_not_the_callers_is_not_found() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until(server, |view| view.observed_at.is_some()).await;
    let request = TestRequest {
        tenant: stage::tenant().to_string(),
        project: "other".to_owned(),
        server: server.to_string(),
    };
    let frames = frames(&stage, request).await;
    assert_eq!(steps(&frames), [("resolve", false, true)]);
    assert_eq!(frames[0].detail, "server not found");
}

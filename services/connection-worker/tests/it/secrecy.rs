//! No secret of a server in what is stored, logged or observed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::connection::ConnectionState;
use prost::Message;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{StderrReply, StderrRequest, finished};
use serde_json::json;

use crate::stage::{self, LIMIT, Stage, fixture, result, script};

const CANARY: &str = "canary-7f3a/91+c\"e";

fn scan(name: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let escaped = serde_json::to_string(CANARY).unwrap();
    for form in [CANARY, escaped.trim_matches('"'), &STANDARD.encode(CANARY), "canary-7f3a"] {
        assert!(!text.contains(form), "{form} in {name}: {text}");
    }
}

#[tokio::test]
async fn secrets_are_masked_everywhere_but_in_the_clients_result() {
    let stage = Stage::new().await;
    let (transport, mut launch) = fixture(&[]);
    launch["env"] = json!({"TOKEN": CANARY});
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;

    let leak = json!({"name": "TOKEN", "note": format!("mine is {CANARY}")});
    let finished = stage.call(server, "leak", leak).await;
    assert_eq!(finished.outcome(), CallOutcome::ToolError);
    let text = result(&finished)["content"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(text, format!("TOKEN={CANARY}"), "the client's result is unchanged");
    scan("the stored result", &finished.stored_result.unwrap());
    scan("the stored arguments", &finished.stored_arguments.unwrap());

    let finished = stage.call(server, "leak", json!({"name": "TOKEN", "as": "rpc_error"})).await;
    let Some(finished::Answer::Error(error)) = finished.answer else { panic!("no error") };
    scan("an error", &error);

    let request = StderrRequest {
        tenant: stage::tenant().to_string(),
        server: server.to_string(),
        max_lines: 100,
    };
    let subject = backplane::subject::worker_stderr(server);
    let lines = async {
        loop {
            let payload = request.encode_to_vec().into();
            let reply = stage.bus.request(&subject, payload, LIMIT).await.unwrap();
            let lines = StderrReply::decode(reply).unwrap().lines;
            if lines.iter().any(|line| line.contains("leak:")) {
                return lines;
            }
        }
    };
    let lines = tokio::time::timeout(LIMIT, lines).await.unwrap();
    scan("stderr", lines.join("\n").as_bytes());

    let foreign = StderrRequest { tenant: uuid::Uuid::from_u128(8).to_string(), ..request };
    let reply = stage.bus.request(&subject, foreign.encode_to_vec().into(), LIMIT).await.unwrap();
    assert_eq!(StderrReply::decode(reply).unwrap().lines.len(), 0);
    scan("the record", &stage.record.bytes());
}

#[tokio::test]
async fn a_cause_in_the_words_of_an_upstream_is_masked() {
    let stage = Stage::new().await;
    let answer = "while read line; do printf '{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":-32000,\
         \"message\":\"no access with '\"$TOKEN\"'\"}}\\n' \
         \"$(printf %s \"$line\" | sed 's/.*\"id\":\\([0-9]*\\).*/\\1/')\"; done";
    let (transport, mut launch) = script(answer);
    launch["env"] = json!({"TOKEN": "canary-7f3a91"});
    let server = stage.register(transport, launch).await;
    let seen = stage.until_state(server, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "initialize was refused: no access with *** (-32000)");
    scan("the record", &stage.record.bytes());
}

#[tokio::test]
async fn a_planted_secret_would_be_found() {
    let stage = Stage::new().await;
    let (mut transport, launch) = fixture(&[]);
    let domain::server::Transport::Stdio { cwd, .. } = &mut transport else { panic!() };
    // Shown in the configuration: nothing can be masked there.
    *cwd = Some(format!("/tmp/{CANARY}"));
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Failed).await;
    let bytes = stage.record.bytes();
    assert!(std::panic::catch_unwind(|| scan("the record", &bytes)).is_err());
}

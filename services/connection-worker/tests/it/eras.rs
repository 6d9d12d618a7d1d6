//! Both eras of the protocol towards upstreams.

use domain::connection::ConnectionState;
use domain::event::ServerEvent;
use domain::server::Transport;
use fixtures::Upstream;
use proto::events::v1::CallOutcome;
use serde_json::{Value, json};

use crate::stage::{self, Stage, at, conformance, result, script};

const STATELESS: &str = "2026-07-28";
const SESSIONS: &str = "2025-11-25";

fn text(finished: &proto::internal::v1::Finished) -> String {
    result(finished)["content"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_era_is_what_the_upstream_speaks_over_stdio() {
    let stage = Stage::new().await;
    for (arguments, revision) in [
        (&["--era", "both"][..], STATELESS),
        (&["--era", "both", "--lock-era"], STATELESS),
        (&["--era", "stateless"], STATELESS),
        (&["--era", "sessions"], SESSIONS),
        (&["--era", "sessions", "--lock-era"], SESSIONS),
    ] {
        let (transport, launch) = conformance(arguments);
        let server = stage.register(transport, launch).await;
        let seen = stage.until_state(server, ConnectionState::Active).await;
        assert_eq!(seen.revision, revision, "{arguments:?}");
        let called = stage.call(server, "test_simple_text", json!({})).await;
        assert_eq!(called.outcome(), CallOutcome::Ok, "{arguments:?}: {called:?}");
        assert!(text(&called).contains("simple text"), "{called:?}");
    }
}

#[tokio::test]
async fn the_era_is_what_the_upstream_speaks_over_http() {
    let stage = Stage::new().await;
    for (era, revision) in [("both", STATELESS), ("stateless", STATELESS), ("sessions", SESSIONS)] {
        let upstream = Upstream::conformance(["--era", era]).unwrap();
        let (mcp, sse) = (at(&upstream.mcp_url()), at(&upstream.sse_url()));
        for transport in [
            Transport::StreamableHttp(mcp.clone()),
            Transport::Probe(mcp),
            Transport::Sse(sse.clone()),
            Transport::Probe(sse),
        ] {
            let server = stage.register(transport.clone(), json!({})).await;
            let seen = stage.until_state(server, ConnectionState::Active).await;
            assert_eq!(seen.revision, revision, "{era} over {transport:?}");
            let called = stage.call(server, "test_simple_text", json!({})).await;
            assert_eq!(called.outcome(), CallOutcome::Ok, "{era} over {transport:?}: {called:?}");
        }
    }
}

/// Ends at a question that it does not know, and notes each method that it is asked.
fn fragile(notes: &str) -> (Transport, Value) {
    script(&format!(
        r#"while read line; do
             method=$(printf %s "$line" | sed 's/.*"method":"\([^"]*\)".*/\1/')
             id=$(printf %s "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
             echo "$method" >> {notes}
             case "$method" in
               initialize) echo '{{"jsonrpc":"2.0","id":'"$id"',"result":{{"protocolVersion":"2025-06-18","capabilities":{{}},"serverInfo":{{"name":"x","version":"1"}}}}}}' ;;
               ping|tools/call) echo '{{"jsonrpc":"2.0","id":'"$id"',"result":{{}}}}' ;;
               notifications/*) ;;
               *) exit 1 ;;
             esac
           done"#
    ))
}

fn count(notes: &std::path::Path, method: &str) -> usize {
    std::fs::read_to_string(notes).unwrap().lines().filter(|line| *line == method).count()
}

#[tokio::test]
async fn a_server_that_ends_at_the_question_for_the_era_gets_another_process_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    let mut stage = Stage::new().await;
    let (transport, launch) = fragile(&notes.display().to_string());
    let server = stage.register(transport.clone(), launch.clone()).await;
    let seen = stage.until_state(server, ConnectionState::Active).await;
    assert_eq!(seen.revision, "2025-06-18");
    assert_eq!((count(&notes, "server/discover"), count(&notes, "initialize")), (1, 1));

    // Another worker knows it from the record.
    let observations = stage.record.observations(server).len();
    stage.restart().await;
    stage.until(server, |_| stage.record.observations(server).len() > observations).await;
    stage.until_state(server, ConnectionState::Active).await;
    assert_eq!((count(&notes, "server/discover"), count(&notes, "initialize")), (1, 2));

    // Another configuration may be another program: it is asked again.
    let mut launch = launch;
    launch["env"] = json!({"VERSION": "2"});
    let config = stage.config(server, transport, launch).await;
    stage.change(server, ServerEvent::Reconfigured { config }).await;
    let asked = async {
        while count(&notes, "initialize") < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(stage::LIMIT, asked).await.unwrap();
    assert_eq!(count(&notes, "server/discover"), 2);
}

#[tokio::test]
async fn an_upstream_that_changed_its_era_is_asked_again() {
    let stage =
        Stage::with(|config| config.ping_interval = std::time::Duration::from_millis(100)).await;
    let upstream = Upstream::conformance(["--era", "stateless"]).unwrap();
    let address = upstream.address().to_string();
    let server =
        stage.register(Transport::StreamableHttp(at(&upstream.mcp_url())), json!({})).await;
    stage.until_state(server, ConnectionState::Active).await;
    drop(upstream);
    let _again = Upstream::conformance(["--era", "sessions", "--listen", &address]).unwrap();
    let called = async {
        loop {
            let called = stage.call(server, "test_simple_text", json!({})).await;
            if called.outcome() == CallOutcome::Ok {
                return;
            }
        }
    };
    tokio::time::timeout(stage::LIMIT, called).await.unwrap();
    let seen = stage
        .until(server, |view| {
            view.observation.state == ConnectionState::Active
                && view.observation.revision != STATELESS
        })
        .await;
    assert_eq!(seen.observation.revision, SESSIONS);
}

#[tokio::test]
async fn definitions_of_tools_are_recorded_by_their_bytes() {
    let stage = Stage::new().await;
    let (transport, launch) = conformance(&["--era", "sessions"]);
    let server = stage.register(transport, launch).await;
    let view = stage.until(server, |view| view.catalogue.is_some()).await;
    let known = view.catalogue.clone().unwrap();
    assert_eq!(known.definitions.len() as u32, known.tools);
    let hash = known.definition("test_simple_text").unwrap().to_owned();
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
    // Another tool changes nothing of it.
    stage.call(server, "test_trigger_tool_change", json!({})).await;
    let view = stage
        .until(server, |view| view.catalogue.as_ref().is_some_and(|c| c.hash != known.hash))
        .await;
    let changed = view.catalogue.clone().unwrap();
    assert_eq!(changed.definition("test_simple_text"), Some(hash.as_str()));
    assert!(changed.definition("test_dynamic_tool").is_some());
}

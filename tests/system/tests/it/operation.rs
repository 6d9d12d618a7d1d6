//! Running it: logging in, settings, gRPC-web, stopping while work is under way.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{Options, Orch, Program, Rest, eventually, stdio_fixture};

async fn fixture() -> Orch {
    let orch = Orch::start(Options::default()).await;
    orch.register(&stdio_fixture("fixture", &[])).await;
    orch.active(&["fixture"]).await;
    orch
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_call_under_way_finish() {
    let mut orch = fixture().await;
    let mcp = orch.mcp().await;
    let sse = orch.sse().await;
    let slow = json!({ "name": "fixture__slow", "arguments": { "ms": 2_000, "steps": 2 } });
    let stop = async {
        eventually("the call runs", Duration::from_secs(10), async || {
            let stats = mcp.call("fixture__stats", json!({})).await["structuredContent"].clone();
            if stats["in_flight"] == 1 { Ok(()) } else { Err(stats.to_string()) }
        })
        .await;
        kill(Pid::from_raw(orch.pid()), Signal::SIGTERM).unwrap();
    };
    let (answer, ()) = tokio::join!(mcp.ask("tools/call", slow), stop);
    assert_eq!(answer["result"]["content"][0]["text"], "waited 2000 ms in 2 steps", "{answer}");
    let status = orch.ended(Duration::from_secs(20)).await;
    assert!(status.success(), "{status}");
    orch.nothing_left().await;
    drop(sse);
    orch.start_again().await;
    let calls = orch.cli().rows(&["call", "list", "--tool", "slow"]).await;
    assert_eq!((calls.len(), &calls[0]["outcome"]), (1, &json!("ok")), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_audit_mode_records_each_call_once() {
    let orch = fixture().await;
    let mcp = orch.mcp().await;
    let cli = orch.cli();
    for (index, mode) in ["buffered", "acknowledged", "strict"].into_iter().enumerate() {
        cli.run(&["project", "set", "--audit-mode", mode]).await.ok();
        mcp.call("fixture__echo", json!({ "message": mode })).await;
        eventually(&format!("the {mode} call is recorded"), Duration::from_secs(10), async || {
            let calls = cli.rows(&["call", "list", "--outcome", "ok"]).await;
            let last = calls.first().is_some_and(|call| call["arguments"]["message"] == mode);
            if last && calls.len() == index + 1 { Ok(()) } else { Err(format!("{calls:?}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_may_go_without_its_prefix() {
    let orch = fixture().await;
    orch.cli().run(&["project", "set", "--naming", "plain-when-single"]).await.ok();
    let mcp = orch.mcp().await;
    eventually("tools have their own names", Duration::from_secs(10), async || {
        let tools = mcp.tools().await;
        if tools.contains(&"echo".to_owned()) { Ok(()) } else { Err(format!("{tools:?}")) }
    })
    .await;
    let echoed = mcp.call("echo", json!({ "message": "plain" })).await;
    assert_eq!(echoed["structuredContent"]["message"], "plain");
    orch.register(&stdio_fixture("second", &[])).await;
    eventually("with a second server the prefix is back", Duration::from_secs(20), async || {
        let tools = mcp.tools().await;
        let back = tools.contains(&"second__echo".to_owned())
            && tools.contains(&"fixture__echo".to_owned());
        if back { Ok(()) } else { Err(format!("{tools:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_from_another_machine_gives_a_token_that_works() {
    let orch = fixture().await;
    let admin = orch.ready.admin.clone().unwrap();
    let binary = std::env::var("MCP_ORCH_BIN").unwrap();
    let url = orch.ready.url.as_str();
    let password = admin.password.as_deref().unwrap();
    let login = ["login", "--system", url, "--email", &admin.email, "--print"];
    let printed = Program::run(&binary, login, &[("MCP_ORCH_PASSWORD", password)]).await.ok();
    let token = printed.stdout.trim();
    let environment = [("MCP_ORCH_TOKEN", token), ("MCP_ORCH_URL", url)];
    let list = ["server", "list", "--json"];
    let listed = Program::run(&binary, list, &environment).await.ok().json();
    assert_eq!(listed[0]["name"], "fixture", "{listed}");
    let refused = Program::run(&binary, login, &[("MCP_ORCH_PASSWORD", "wrong")]).await;
    assert!(!refused.success && !refused.stderr.is_empty(), "{refused:?}");
    let doctor = Program::run(&binary, ["doctor"], &[]).await;
    assert!(!doctor.stdout.is_empty(), "{doctor:?}");
}

/// One frame with an empty message.
const EMPTY_FRAME: [u8; 5] = [0; 5];

#[tokio::test(flavor = "multi_thread")]
async fn grpc_web_and_health_answer_on_the_same_port() {
    let orch = fixture().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |path: &str, token: &str| {
        let request = client.post(format!("{}/{path}", orch.ready.url)).bearer_auth(token);
        let request = request.header("content-type", "application/grpc-web+proto");
        let response = request.body(EMPTY_FRAME.to_vec()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let headers = format!("{:?}", response.headers());
        headers + &String::from_utf8_lossy(&response.bytes().await.unwrap())
    };
    let list = "mcp_orch.control.v1.ProjectService/ListProjects";
    let answer = ask(list, &orch.token).await;
    assert!(answer.contains(&orch.ready.project_id), "{answer}");
    let refused = ask(list, "nobody").await;
    assert!(refused.contains("grpc-status") && refused.contains("16"), "{refused}");
    let health = ask("grpc.health.v1.Health/Check", "").await;
    assert!(health.contains("\u{8}\u{1}"), "it serves: {health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_follows_its_file() {
    let orch = Orch::start(Options::default()).await;
    let path = orch.directory().join("mcp.json");
    let mut config = json!({ "mcpServers": { "one": stdio_fixture("one", &[]) } });
    std::fs::write(&path, config.to_string()).unwrap();
    let mut watching = tokio::process::Command::new(std::env::var("MCP_ORCH_BIN").unwrap())
        .args(["import", &path.display().to_string(), "--watch"])
        .args(["--project", &orch.ready.project_id, "--data", &orch.data().display().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    orch.active(&["one"]).await;
    config["mcpServers"]["two"] = stdio_fixture("two", &[]);
    // As an editor does: a new file takes the place of the old one. It is saved again from time
    // to time, since nobody says when the watching begins.
    let next = orch.directory().join("mcp.json.new");
    let mut saved: Option<Instant> = None;
    let mut text = config.to_string();
    eventually("the change is taken over", Duration::from_secs(20), async || {
        if saved.is_none_or(|saved| saved.elapsed() > Duration::from_secs(2)) {
            text.push('\n');
            std::fs::write(&next, &text).unwrap();
            std::fs::rename(&next, &path).unwrap();
            saved = Some(Instant::now());
        }
        let servers = orch.servers().await;
        if servers.len() == 2 { Ok(()) } else { Err(format!("{servers:?}")) }
    })
    .await;
    orch.active(&["two"]).await;
    watching.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_for_others_and_a_malformed_key_file_are_refused() {
    let binary = std::env::var("MCP_ORCH_BIN").unwrap();
    let open = ["up", "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"];
    let refused = Program::run(&binary, open, &[]).await;
    assert!(!refused.success, "{refused:?}");
    assert!(refused.stderr.contains("plaintext"), "{refused:?}");

    let mut orch = fixture().await;
    orch.stop().await;
    let mut keys = Vec::new();
    for entry in walk(&orch.data()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains("key") && std::fs::metadata(&entry).unwrap().len() < 4_096 {
            keys.push(entry);
        }
    }
    assert!(!keys.is_empty(), "no key file in {}", orch.data().display());
    for key in &keys {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(key).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", key.display());
        let kept = std::fs::read(key).unwrap();
        std::fs::write(key, &kept[..kept.len() / 2]).unwrap();
        let started = orch.start_again_with(Options::default()).await;
        assert!(started.is_err(), "it started with half of {}", key.display());
        std::fs::write(key, kept).unwrap();
    }
    orch.start_again().await;
    let health = Rest::new(&orch.admin_url(), None).get("/readyz").await;
    assert_eq!(health.status.as_u16(), 200);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_may_choose_the_project_and_the_key() {
    let key = format!("api_key_{}", "k".repeat(40));
    let options = Options::demo()
        .argument("--project-id")
        .argument("team-one")
        .variable("MCP_ORCH_BOOTSTRAP_API_KEY", key.as_str());
    let mut orch = Orch::start(options).await;
    assert_eq!((orch.ready.project_id.as_str(), orch.api_key.as_str()), ("team-one", key.as_str()));
    orch.active(&["demo"]).await;
    assert!(!orch.mcp().await.tools().await.is_empty());
    orch.stop().await;
    orch.start_again().await;
    assert!(!orch.mcp().await.tools().await.is_empty(), "the same start works again");
}

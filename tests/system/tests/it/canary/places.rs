//! Canaries in every place where a secret may be given, and a look at everything that is kept or
//! answered.

use std::time::Duration;

use fixtures::Upstream;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proto::control::v1 as pb;
use serde_json::{Value, json};

use super::scanner::Scanner;
use crate::harness::{Options, Orch, eventually, stdio_fixture};

const HEADER: &str = "cAnArY-header/+=&%-4f1c9";
const ENVIRONMENT: &str = "cAnArY-env/+=&\"%-77ab2";
const ARGUMENT: &str = "cAnArY-argv/+=&\"%-c03de";
const QUERY: &str = "cAnArY-query/+=&%-91e55";

const ALL: [(&str, &str); 4] =
    [("header", HEADER), ("env", ENVIRONMENT), ("argv", ARGUMENT), ("query", QUERY)];

/// Two servers that are given the secrets, and tell them when asked to.
struct Setup {
    orch: Orch,
    _upstream: Upstream,
}

impl Setup {
    async fn start() -> Self {
        let upstream = Upstream::start::<&str>([]).unwrap();
        let orch = Orch::start(Options::default().variable("MCP_LOG_LEVEL", "DEBUG")).await;
        let mut local = stdio_fixture("local", &["--revision", "2025-06-18"]);
        // The fixture takes no such option; a journal's name is an argument like any other.
        let journal = orch.directory().join("journal");
        std::fs::create_dir(&journal).unwrap();
        let arguments = local["args"].as_array_mut().unwrap();
        arguments.push(json!("--journal"));
        arguments.push(json!(format!("{}/{}", journal.display(), ARGUMENT.replace('/', "-"))));
        local["env"] = json!({ "LEAKED": ENVIRONMENT });
        orch.register(&local).await;
        let query = percent_encode(QUERY.as_bytes(), NON_ALPHANUMERIC);
        let remote = json!({
            "name": "remote", "type": "streamable_http",
            "url": format!("{}?token={query}", upstream.mcp_url()),
            "headers": { "X-Leaked": HEADER },
        });
        orch.register(&remote).await;
        orch.active(&["local", "remote"]).await;
        Self { orch, _upstream: upstream }
    }

    /// Each secret on stderr, in an error result, in a JSON-RPC error and in a result.
    async fn leak_everything(&self) {
        let mcp = self.orch.mcp().await;
        for form in ["error", "rpc_error", "result"] {
            for (server, from, name) in [
                ("local", "env", "LEAKED"),
                ("local", "argv", "-"),
                ("remote", "header", "x-leaked"),
                ("remote", "query", "-"),
            ] {
                let arguments = json!({ "from": from, "name": name, "as": form });
                let params = json!({ "name": format!("{server}__leak"), "arguments": arguments });
                let answer = mcp.ask("tools/call", params).await;
                assert_eq!(answer["error"].is_null(), form != "rpc_error", "{answer}");
            }
        }
    }
}

/// The argument's secret, as far as it can be a file's name.
fn argument() -> String {
    ARGUMENT.replace('/', "-")
}

fn scanner() -> Scanner {
    let argument = argument();
    let mut secrets = ALL.to_vec();
    secrets[2].1 = &argument;
    Scanner::new(&secrets)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_passes_unchanged_and_its_stored_body_is_masked() {
    let setup = Setup::start().await;
    let orch = &setup.orch;
    let mcp = orch.mcp().await;
    let arguments = json!({ "from": "env", "name": "LEAKED", "as": "result" });
    let told = mcp.call("local__leak", arguments).await;
    assert_eq!(told["content"][0]["text"], format!("LEAKED={ENVIRONMENT}"), "unchanged");
    let echoed = mcp.call("remote__echo", json!({ "message": HEADER })).await;
    assert_eq!(echoed["structuredContent"]["message"], HEADER, "unchanged");
    let grpc = orch.grpc().await;
    let calls = grpc.all_calls(&orch.ready.project_id).await;
    assert_eq!(calls.len(), 2);
    for listed in calls {
        let request = pb::GetCallRequest {
            project_id: orch.ready.project_id.clone(),
            call_id: listed.call.unwrap().id,
        };
        let stored = grpc.calls().get_call(request).await.unwrap().into_inner().call.unwrap();
        assert!(stored.body_masked, "{stored:?}");
        assert!(stored.result_json.contains("***"), "{stored:?}");
        serde_json::from_str::<Value>(&stored.result_json).expect("it stays JSON");
        for (name, secret) in ALL {
            assert!(!stored.result_json.contains(secret), "{name}: {stored:?}");
            assert!(!stored.arguments_json.contains(secret), "{name}: {stored:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_file_log_or_answer() {
    let mut setup = Setup::start().await;
    setup.leak_everything().await;
    let scanner = scanner();
    let orch = &setup.orch;
    let mut leaks = Vec::new();
    for (place, text) in answers(orch).await {
        leaks.extend(scanner.scan(&place, text.as_bytes()));
    }
    // The write-ahead logs are there while it runs.
    let wal = orch.data().join("events.db-wal");
    assert!(wal.metadata().is_ok_and(|wal| wal.len() > 0), "{} holds nothing", wal.display());
    leaks.extend(kept(orch, &scanner));
    setup.orch.stop().await;
    leaks.extend(kept(&setup.orch, &scanner));
    leaks.sort();
    leaks.dedup();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));

    let planted = setup.orch.data().join("planted");
    std::fs::write(&planted, format!("x {HEADER}")).unwrap();
    let found = kept(&setup.orch, &scanner);
    assert!(
        found.iter().any(|leak| leak.contains("planted")),
        "the same look misses it: {found:?}"
    );
}

/// The leaks in the data directory, in the log, and in what was printed.
fn kept(orch: &Orch, scanner: &Scanner) -> Vec<String> {
    let (mut leaks, files) = scanner.scan_folder(&orch.data());
    assert!(files >= 3, "only {files} files in the data directory");
    let (logged, files) = scanner.scan_folder(&orch.logs());
    assert!(files >= 1, "no log");
    leaks.extend(logged);
    for name in ["stderr.log", "stdout.log"] {
        let bytes = std::fs::read(orch.directory().join(name)).unwrap_or_default();
        leaks.extend(scanner.scan(name, &bytes));
    }
    leaks
}

/// Everything that can be asked for, but for the one answer that is there to show secrets.
async fn answers(orch: &Orch) -> Vec<(String, String)> {
    let mut answers = Vec::new();
    let mut paths = vec!["/projects".to_owned(), "/openapi.json".to_owned()];
    for path in
        ["", "/servers", "/cline-config?unified=true", "/api-keys", "/members", "/calls", "/audit"]
    {
        paths.push(orch.project(path));
    }
    for server in orch.servers().await {
        let id = server["id"].as_str().unwrap();
        paths.push(orch.project(&format!("/servers/{id}")));
        paths.push(orch.project(&format!("/servers/{id}/log")));
        let path = orch.project(&format!("/servers/{id}/test"));
        let tested = orch.rest().post(&path, &json!({})).await;
        answers.push((path, tested.text));
    }
    let calls = orch.rest().get(&orch.project("/calls")).await;
    for call in calls.body["calls"].as_array().or(calls.body.as_array()).into_iter().flatten() {
        paths.push(orch.project(&format!("/calls/{}", call["id"].as_str().unwrap())));
    }
    for path in paths {
        let answer = orch.rest().get(&path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.text);
        answers.push((path, answer.text));
    }
    let by_key = orch.rest_as(&orch.api_key);
    let individual = by_key.get(&orch.project("/cline-config?unified=false")).await;
    answers.push(("cline-config for a key".to_owned(), individual.text));
    answers.push(("metrics".to_owned(), orch.metrics().await));
    answers.extend(grpc_answers(orch).await);
    for arguments in [["server", "list"], ["call", "list"], ["key", "list"]] {
        let said = orch.cli().run(&arguments).await.ok();
        answers.push((arguments.join(" "), format!("{}{}", said.stdout, said.stderr)));
    }
    answers
}

async fn grpc_answers(orch: &Orch) -> Vec<(String, String)> {
    let grpc = orch.grpc().await;
    let project_id = orch.ready.project_id.clone();
    let mut answers = Vec::new();
    for call in grpc.all_calls(&project_id).await {
        let call_id = call.call.as_ref().unwrap().id.clone();
        answers.push(("ListCalls".to_owned(), plain(&format!("{call:?}"))));
        let request = pb::GetCallRequest { project_id: project_id.clone(), call_id };
        let got = grpc.calls().get_call(request).await.unwrap().into_inner();
        answers.push(("GetCall".to_owned(), plain(&format!("{got:?}"))));
    }
    for entry in grpc.all_entries(&project_id, "").await {
        answers.push(("ListAuditEntries".to_owned(), plain(&format!("{entry:?}"))));
    }
    let request = pb::ListServersRequest { project_id, ..pb::ListServersRequest::default() };
    let servers = grpc.servers().list_servers(request).await.unwrap().into_inner();
    for server in servers.servers {
        answers.push(("ListServers".to_owned(), plain(&format!("{server:?}"))));
        let request = pb::GetServerLogRequest {
            project_id: server.project_id,
            server_id: server.id,
            max_lines: 1_000,
        };
        let log = grpc.servers().get_server_log(request).await.unwrap().into_inner();
        answers.push(("GetServerLog".to_owned(), log.lines.join("\n")));
    }
    answers
}

/// A debug text without the escapes that it adds.
fn plain(text: &str) -> String {
    text.replace("\\\\", "\\").replace("\\\"", "\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn stderr_is_shown_with_its_secrets_masked() {
    let setup = Setup::start().await;
    setup.leak_everything().await;
    let cli = setup.orch.cli();
    eventually("stderr is shown, masked", Duration::from_secs(10), async || {
        let log = cli.run(&["server", "log", "local"]).await.ok().stdout;
        let shown = log.contains("leak: LEAKED=***");
        if shown && !log.contains(ENVIRONMENT) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Where they must appear: an Owner's session reads the individual configuration.
#[tokio::test(flavor = "multi_thread")]
async fn the_individual_config_of_an_owner_has_every_secret() {
    let setup = Setup::start().await;
    let path = setup.orch.project("/cline-config?unified=false");
    let config = setup.orch.rest().get(&path).await.expect_status(200);
    let id = &setup.orch.ready.project_id;
    let local = &config["mcpServers"][format!("project-{id}-local")];
    assert_eq!(local["env"]["LEAKED"], ENVIRONMENT);
    assert!(local["args"].to_string().contains(&argument().replace('"', "\\\"")), "{local}");
    let remote = &config["mcpServers"][format!("project-{id}-remote")];
    assert_eq!(remote["headers"]["X-Leaked"], HEADER);
    let query = percent_encode(QUERY.as_bytes(), NON_ALPHANUMERIC).to_string();
    assert!(remote["url"].as_str().is_some_and(|url| url.contains(&query)), "{remote}");
}

//! Any part of a cluster dies under load, in any order, and nothing that was answered is lost.
//!
//! `cargo xtask crash` runs this with more deaths than CI does. The plan comes from a seed, which
//! is printed; load, recorder and reckoning are outside of everything that dies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use cluster::Programs;
use crash::check::{Executions, LogRow, check};
use crash::faults::{Fault, Plan, Service};
use crash::history::{History, Told};
use crash::recorder::Recorder;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::plan::{deaths, seed};
use crate::harness::{Options, Orch, Rest, Streamable, eventually, stdio_fixture};

/// Faults of a run in CI; `MCP_ORCH_TEST_KILLS` asks for more.
const KILLS: usize = 20;
/// Clients that call, one call after the other.
const CALLERS: usize = 8;
/// Clients that give commands.
const COMMANDERS: usize = 2;
/// How long a caller waits before it tries again, once it was refused.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the whole may take to be well again after a fault.
const WELL_LIMIT: Duration = Duration::from_secs(60);
/// Answers between two faults, so that each meets a system that works.
const ANSWERS_BETWEEN: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_on_record_once_whoever_dies() {
    let seed = seed();
    let kills = deaths(KILLS);
    println!("again with MCP_ORCH_TEST_SEED={seed} MCP_ORCH_TEST_KILLS={kills}");
    let orch = Orch::start_cluster(Options::default()).await;
    let executions = orch.directory().join("executions");
    let shown = executions.display().to_string();
    orch.register(&stdio_fixture("fixture", &["--journal", &shown])).await;
    orch.active(&["fixture"]).await;
    let mut run = Run::new(orch, seed, executions).await;
    for (half, mode) in ["acknowledged", "strict"].into_iter().enumerate() {
        run.set_mode(mode).await;
        let load = run.load(half, mode == "strict");
        run.faults(&load, kills.div_ceil(2)).await;
        load.stop.store(true, Relaxed);
        run.well_again(&load).await;
        load.ended(&mut run.strict).await;
    }
    run.reckoning().await;
}

/// The system under load, and what is known of it from outside.
struct Run {
    orch: Orch,
    plan: Plan,
    seed: u64,
    executions: PathBuf,
    recorder: tokio::process::Child,
    /// Calls that had to be on record before they ran.
    strict: Vec<String>,
}

/// Clients at work.
struct Load {
    tasks: JoinSet<Vec<String>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    strict: bool,
}

impl Load {
    /// Waits for all clients to end what they are doing.
    async fn ended(mut self, strict: &mut Vec<String>) {
        while let Some(ended) = self.tasks.join_next().await {
            let calls = ended.expect("a client of the load");
            if self.strict {
                strict.extend(calls);
            }
        }
    }
}

impl Run {
    async fn new(orch: Orch, seed: u64, executions: PathBuf) -> Self {
        let socket = orch.directory().join("recorder");
        let recorder = Command::new(fixtures::binary("crash-recorder").unwrap())
            .args([&socket, &orch.directory().join("history")])
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        eventually("the recorder listens", Duration::from_secs(10), async || {
            socket.exists().then_some(()).ok_or_else(String::new)
        })
        .await;
        let plan = Plan::new(seed, 2);
        Self { orch, plan, seed, executions, recorder, strict: Vec::new() }
    }

    async fn set_mode(&self, mode: &str) {
        let body = json!({ "audit_mode": mode });
        let changed =
            self.orch.rest().send(Method::PATCH, &self.orch.project(""), Some(&body)).await;
        assert!(changed.status.is_success(), "{changed:?}");
        // Each edge knows it once it refuses or records by it: a call through each would do, and
        // a second is what a change may take.
        eventually("the edges know the mode", Duration::from_secs(20), async || {
            let project = self.orch.rest().get(&self.orch.project("")).await;
            (project.body["audit_mode"] == mode).then_some(()).ok_or(project.text)
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn load(&self, half: usize, strict: bool) -> Load {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        for number in 0..CALLERS + COMMANDERS {
            let client = Client {
                mcp_url: self.orch.ready.mcp_url.clone(),
                api_key: self.orch.api_key.clone(),
                rest: self.orch.rest(),
                servers: self.orch.project("/servers"),
                recorder: self.orch.directory().join("recorder"),
                name: format!("{:x}-{half}-{number}", self.seed),
                stop: Arc::clone(&stop),
                answered: Arc::clone(&answered),
            };
            if number < CALLERS {
                tasks.spawn(client.call_until_stopped());
            } else {
                tasks.spawn(client.command_until_stopped());
            }
        }
        Load { tasks, stop, answered, strict }
    }

    async fn faults(&mut self, load: &Load, count: usize) {
        for number in 0..count {
            self.answers(load, ANSWERS_BETWEEN).await;
            let (wait, fault) = self.plan.next_fault();
            tokio::time::sleep(wait).await;
            println!("fault {number}: {fault}; {} answered", load.answered.load(Relaxed));
            self.cause(fault).await;
        }
    }

    /// Waits for so many more answers: the system works.
    async fn answers(&mut self, load: &Load, more: usize) {
        let before = load.answered.load(Relaxed);
        let answered = Arc::clone(&load.answered);
        eventually("the load is answered again", WELL_LIMIT, async || {
            let now = answered.load(Relaxed);
            if now >= before + more { Ok(()) } else { Err(format!("{} answers", now - before)) }
        })
        .await;
        self.orch.cluster().start_services().await.unwrap();
    }

    async fn cause(&mut self, fault: Fault) {
        let cluster = self.orch.cluster();
        let name = |service| match service {
            Service::ControlPlane => "control-plane",
            Service::Worker => "worker",
            Service::Edge => "edge",
        };
        match fault {
            Fault::Kill(service, which) => {
                let instance = cluster.instance(name(service), which).unwrap();
                instance.kill().await.unwrap();
                instance.start().unwrap();
            }
            Fault::Pause(service, which, time) => {
                let instance = cluster.instance(name(service), which).unwrap();
                instance.signal(Signal::SIGSTOP).unwrap();
                tokio::time::sleep(time).await;
                instance.signal(Signal::SIGCONT).unwrap();
            }
            Fault::StopPostgres => {
                let postgres = cluster.instance("postgres", 0).unwrap();
                // SIGQUIT is its immediate stop: no checkpoint, recovery at the next start.
                postgres.end(Signal::SIGQUIT, WELL_LIMIT).await.unwrap();
                postgres.start().unwrap();
            }
            Fault::KillNats => {
                let nats = cluster.instance("nats", 0).unwrap();
                nats.kill().await.unwrap();
                nats.start().unwrap();
            }
            Fault::PauseNats(time) => {
                let nats = cluster.instance("nats", 0).unwrap();
                nats.signal(Signal::SIGSTOP).unwrap();
                tokio::time::sleep(time).await;
                nats.signal(Signal::SIGCONT).unwrap();
            }
        }
    }

    /// Everything runs, and every edge answers a call.
    async fn well_again(&mut self, load: &Load) {
        self.orch.cluster().start_services().await.unwrap();
        let (url, key) = (self.orch.ready.mcp_url.clone(), self.orch.api_key.clone());
        for _ in 0..2 {
            eventually("a call is answered", WELL_LIMIT, async || {
                let session = Streamable::try_open(&url, &key).await?;
                let call = json!({ "name": "fixture__echo", "arguments": { "message": "well" } });
                let answer = session.try_ask("tools/call", call).await?;
                if answer["result"].is_object() { Ok(()) } else { Err(answer.to_string()) }
            })
            .await;
        }
        println!("{} answered in this half", load.answered.load(Relaxed));
    }

    async fn reckoning(mut self) {
        let history = std::fs::read_to_string(self.orch.directory().join("history")).unwrap();
        let history = History::parse(&history).unwrap();
        self.recorder.kill().await.unwrap();
        let executions = Executions {
            counts: executions(&self.executions),
            nameless: 0,
            recorded_before: std::mem::take(&mut self.strict),
        };
        self.everything_is_finished().await;
        let rows = self.query(LOG).await;
        let log = log(&rows);
        let nameless = rows.iter().filter(|row| is_nameless(row)).count();
        let executions = Executions { nameless, ..executions };
        let violations = check(&history, &log, &executions);
        println!(
            "{} events; {} operations: {} done, {} refused, {} without a word or unknown",
            log.len(),
            history.operations().count(),
            history.count(Told::Ok),
            history.count(Told::Refused),
            history.count(Told::Nothing) + history.count(Told::Unknown),
        );
        let shown: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
        assert!(violations.is_empty(), "{} violations: {shown:#?}", violations.len());
        assert!(history.count(Told::Ok) > 0 && !executions.counts.is_empty());
        self.orch.stop().await;
    }

    /// What the database says, asked of it past everything of ours.
    async fn query(&mut self, statement: &str) -> Vec<Value> {
        let cluster = self.orch.cluster();
        let address = cluster.address("postgres", 5432, 0).unwrap();
        let password = cluster.directory().join("volumes/keys/postgres/admin.password");
        let password = std::fs::read_to_string(password).unwrap();
        let rows = format!("SELECT coalesce(json_agg(r), '[]') FROM ({statement}) r");
        let psql = Programs::find().unwrap().postgres.join("psql");
        let asked = Command::new(psql)
            .env("PGPASSWORD", password.trim_end())
            .args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &address.port().to_string()])
            .args(["-U", "postgres", "-d", "mcp_orch", "-v", "ON_ERROR_STOP=1", "-c", &rows])
            .output()
            .await
            .unwrap();
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        serde_json::from_slice(&asked.stdout).unwrap()
    }

    /// Calls that were started and whose edge died are closed as unknown.
    async fn everything_is_finished(&mut self) {
        eventually("no call stays open", WELL_LIMIT, async || {
            let open = self.query(OPEN_CALLS).await;
            let open = open.first().and_then(|row| row["open"].as_u64());
            if open == Some(0) { Ok(()) } else { Err(format!("{open:?} calls are open")) }
        })
        .await;
    }
}

/// A client of the load. It writes down what it asks for before it does, and what it was told.
struct Client {
    mcp_url: String,
    api_key: String,
    rest: Rest,
    servers: String,
    recorder: PathBuf,
    name: String,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Client {
    /// Calls until it is stopped; gives the ids of its calls.
    async fn call_until_stopped(self) -> Vec<String> {
        let mut recorder = Recorder::connect(&self.recorder).await.unwrap();
        let mut session = None;
        let mut calls = Vec::new();
        while !self.stop.load(Relaxed) {
            let current = match session.take() {
                Some(session) => session,
                None => match Streamable::try_open(&self.mcp_url, &self.api_key).await {
                    Ok(session) => session,
                    Err(_) => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let id = format!("call-{}-{}", self.name, calls.len());
            recorder.note(Told::Nothing, &id).await.unwrap();
            let call = json!({ "name": "fixture__echo", "arguments": { "message": id } });
            let told = match current.try_ask("tools/call", call).await {
                Ok(answer) => told(&answer, &id),
                // The connection broke: the session may live on, and so may the call.
                Err(_) => Told::Unknown,
            };
            recorder.note(told, &id).await.unwrap();
            calls.push(id);
            if told == Told::Ok {
                self.answered.fetch_add(1, Relaxed);
                session = Some(current);
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
        calls
    }

    /// Registers servers until it is stopped. A command without an answer is given once more
    /// under its own key, which makes it one.
    async fn command_until_stopped(self) -> Vec<String> {
        let mut recorder = Recorder::connect(&self.recorder).await.unwrap();
        let mut number = 0;
        while !self.stop.load(Relaxed) {
            let id = format!("name-{}-{number}", self.name);
            number += 1;
            recorder.note(Told::Nothing, &id).await.unwrap();
            let body = json!({ "name": id, "type": "stdio", "command": "true", "disabled": true });
            let rest = self.rest.under(&id);
            let mut told = Told::Unknown;
            for _ in 0..2 {
                let answer = rest.try_send(Method::POST, &self.servers, Some(&body)).await;
                if answer.is_ok_and(|answer| answer.status.is_success()) {
                    told = Told::Ok;
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            recorder.note(told, &id).await.unwrap();
            if told == Told::Ok {
                self.answered.fetch_add(1, Relaxed);
            }
        }
        Vec::new()
    }
}

/// What an answer says of its call.
fn told(answer: &Value, id: &str) -> Told {
    if answer["result"]["structuredContent"]["message"] == id {
        return Told::Ok;
    }
    assert!(answer["result"].is_null(), "{id} got another's answer: {answer}");
    Told::Unknown
}

/// How often each call ran, as the upstream wrote down.
fn executions(journal: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in fixtures::process::journal(journal).unwrap_or_default() {
        if line.starts_with("call-") {
            *counts.entry(line).or_default() += 1;
        }
    }
    counts
}

/// The log in its order, with what tells of which operation an event is.
const LOG: &str = "
    SELECT l.position, l.tenant_id AS tenant, l.tenant_position, l.kind || '/' || l.stream_id AS
        stream, l.version, l.recorded_at, e.type, convert_from(e.payload, 'UTF8') AS payload,
        convert_from(b.bytes, 'UTF8') AS body
    FROM mcp_orch.log l
    JOIN mcp_orch.event e USING (tenant_id, kind, stream_id, version)
    LEFT JOIN mcp_orch.call_body b
        ON b.tenant_id = e.tenant_id AND b.event_id = e.event_id AND e.kind = 'call'
    ORDER BY l.position";

/// Calls that were started and not finished.
const OPEN_CALLS: &str = "
    SELECT count(*) AS open FROM mcp_orch.event s
    WHERE s.type = 'call.started' AND NOT EXISTS (
        SELECT FROM mcp_orch.event f
        WHERE f.tenant_id = s.tenant_id AND f.kind = s.kind AND f.stream_id = s.stream_id
            AND f.type = 'call.finished')";

fn log(rows: &[Value]) -> Vec<LogRow> {
    rows.iter()
        .map(|row| LogRow {
            position: row["position"].as_u64().unwrap(),
            tenant: row["tenant"].as_str().unwrap().to_owned(),
            tenant_position: row["tenant_position"].as_u64().unwrap(),
            stream: row["stream"].as_str().unwrap().to_owned(),
            version: row["version"].as_u64().unwrap(),
            recorded_at: row["recorded_at"].as_i64().unwrap(),
            epoch: 0,
            operation: operation(row),
        })
        .collect()
}

/// Whether this is the end of a call of which nobody knows the arguments: its edge died.
fn is_nameless(row: &Value) -> bool {
    row["type"] == "call.finished" && row["body"].is_null()
}

/// The operation that an event is the effect of.
fn operation(row: &Value) -> Option<String> {
    let json = |name: &str| -> Value {
        row[name].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    match row["type"].as_str()? {
        "call.finished" => json("body")["arguments"]["message"].as_str().map(str::to_owned),
        "server.registered" => json("payload")["name"].as_str().map(str::to_owned),
        _ => None,
    }
    .filter(|id| id.starts_with("call-") || id.starts_with("name-"))
}

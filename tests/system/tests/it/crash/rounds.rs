//! Rounds of load, death and reckoning on one data directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use proto::control::v1 as pb;
use serde_json::json;
use tokio::task::JoinSet;

use super::plan::{Death, death, deaths, seed};
use super::recorder::Recorder;
use crate::harness::{Grpc, Options, Orch, Streamable, eventually, sql, stdio_fixture};

/// Deaths in the midst of the load, if no other number is asked for. After half of them, calls are
/// recorded before they are forwarded.
const DEATHS: usize = 24;
/// Rounds at most for each death: one that came before or after the load does not count.
const ROUNDS_PER_DEATH: usize = 2;
const CALLS: usize = 150;
const SERVERS: usize = 30;
const KEYS: usize = 20;
const OPERATIONS: usize = CALLS + SERVERS + KEYS;
const SESSIONS: usize = 10;
/// How long a round's load may take, if nothing kills it before.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// What the whole run has seen.
struct Run {
    orch: Orch,
    seed: u64,
    journal: PathBuf,
    /// Everything that was answered in any round.
    answered: Vec<String>,
    /// Call records and executions when strictness began.
    strict_since: Option<(usize, usize)>,
    /// How often the system died in the midst of the load.
    deaths: usize,
    rounds: usize,
    /// How many grandchildren there were, which had to die with it.
    grandchildren: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_on_record_exactly_once_after_any_death() {
    let seed = seed();
    let orch = Orch::start(Options::default()).await;
    let journal = orch.directory().join("executions");
    let journal_text = journal.display().to_string();
    orch.register(&stdio_fixture("fixture", &["--journal", &journal_text])).await;
    orch.active(&["fixture"]).await;
    let mut run = Run {
        orch,
        seed,
        journal,
        answered: Vec::new(),
        strict_since: None,
        deaths: 0,
        rounds: 0,
        grandchildren: 0,
    };
    let wanted = deaths(DEATHS);
    while run.deaths < wanted {
        let enough = run.rounds < wanted * ROUNDS_PER_DEATH;
        assert!(enough, "only {} deaths in the midst of the load", run.deaths);
        if run.deaths >= wanted / 2 && run.strict_since.is_none() {
            run.be_strict().await;
        }
        run.round().await;
    }
    assert!(run.grandchildren > 0, "no grandchild was ever started");
    run.final_reckoning().await;
}

impl Run {
    async fn be_strict(&mut self) {
        let path = self.orch.project("");
        let body = json!({ "audit_mode": "strict" });
        let changed = self.orch.rest().send(reqwest::Method::PATCH, &path, Some(&body)).await;
        assert!(changed.status.is_success(), "{changed:?}");
        let calls = self.orch.grpc().await.all_calls(&self.orch.ready.project_id).await;
        self.strict_since = Some((echoes(&calls), executions(&self.journal).len()));
    }

    async fn round(&mut self) {
        let round = self.rounds;
        self.rounds += 1;
        let death = death(self.seed, round, OPERATIONS);
        println!("round {round}: {death:?}; again with MCP_ORCH_TEST_SEED={}", self.seed);
        if let Some(failpoint) = death.failpoint() {
            self.orch.stop().await;
            let options = Options::default().variable("MCP_ORCH_FAILPOINT", failpoint);
            if let Err(reason) = self.orch.start_again_with(options).await {
                // It died while it was starting, which is as good a moment as any.
                assert!(reason.contains("did not get ready"), "{reason}");
            }
        }
        let kill_at = match death {
            Death::AfterAnswers(number) => Some((number, Pid::from_raw(self.orch.pid()))),
            Death::BeforeCommit(_) | Death::AfterCommit(_) => None,
        };
        let path = self.orch.directory().join(format!("answered-{round}"));
        let recorder = Arc::new(Recorder::new(&path, kill_at));
        if self.orch.is_running() {
            self.load_until_death(round, &recorder).await;
        }
        self.orch.kill().await;
        self.orch.nothing_left().await;
        let (finished, answered) = recorder.progress();
        println!("  {answered} of {finished} answered; {:?}", recorder.refusal());
        self.deaths += usize::from(finished > 0 && answered < OPERATIONS);
        self.answered.extend(recorder.answered());
        self.orch.start_again_with(Options::default()).await.unwrap();
        self.repeat_commands(round, &recorder).await;
        self.reckoning().await;
    }

    async fn load_until_death(&mut self, round: usize, recorder: &Arc<Recorder>) {
        let mut load = JoinSet::new();
        let load_of_round = Load {
            mcp_url: self.orch.ready.mcp_url.clone(),
            api_key: self.orch.api_key.clone(),
            project_id: self.orch.ready.project_id.clone(),
            prefix: prefix(self.seed, round),
            recorder: Arc::clone(recorder),
        };
        self.grandchildren += usize::from(load_of_round.start(&mut load, &self.orch).await);
        eventually("the round ends", ROUND_LIMIT, async || {
            let (finished, answered) = recorder.progress();
            if finished == OPERATIONS || !self.orch.is_running() {
                return Ok(());
            }
            Err(format!("{answered} of {finished} answered: {:?}", recorder.refusal()))
        })
        .await;
        self.orch.kill().await;
        while let Some(ended) = load.join_next().await {
            ended.unwrap();
        }
    }

    /// A command that nobody answered is given again under its own key: one, in the end.
    async fn repeat_commands(&self, round: usize, recorder: &Recorder) {
        let grpc = self.orch.grpc().await;
        let answered = recorder.answered();
        for index in 0..SERVERS {
            let name = format!("s-{}-{index}", prefix(self.seed, round));
            if !answered.contains(&name) {
                let made = create_server(&grpc, &self.orch.ready.project_id, &name).await;
                made.unwrap_or_else(|error| panic!("{name} again: {error}"));
            }
        }
    }

    async fn reckoning(&self) {
        let grpc = self.orch.grpc().await;
        let project_id = &self.orch.ready.project_id;
        let calls = eventually("no call stays open", Duration::from_secs(30), async || {
            let calls = grpc.all_calls(project_id).await;
            let open = calls.iter().filter(|call| {
                call.call.as_ref().unwrap().outcome == i32::from(pb::CallOutcome::Unspecified)
            });
            match open.count() {
                0 => Ok(calls),
                open => Err(format!("{open} of {} calls are open", calls.len())),
            }
        })
        .await;
        let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
        for call in &calls {
            let arguments: serde_json::Value =
                serde_json::from_str(&call.arguments_json).unwrap_or_default();
            if let Some(message) = arguments["message"].as_str() {
                *recorded.entry(message.to_owned()).or_default() += 1;
            }
        }
        let executions = executions(&self.journal);
        for unique in self.answered.iter().filter(|unique| unique.starts_with("c-")) {
            assert_eq!(recorded.get(unique), Some(&1), "{unique} was answered; its records");
            assert_eq!(executions.get(unique), Some(&1), "{unique} was answered; its executions");
        }
        twice("recorded", &recorded);
        twice("executed", &executions);
        if let Some((calls_before, executions_before)) = self.strict_since {
            let calls = echoes(&calls) - calls_before;
            let executions = executions.len() - executions_before;
            assert!(executions <= calls, "{executions} executions, {calls} records");
        }
    }

    /// The log itself, with the system stopped.
    async fn final_reckoning(&mut self) {
        self.orch.stop().await;
        let log = self.orch.data().join("events.db");
        let twice = "SELECT stream_id FROM event WHERE type = 'call.finished' \
                     GROUP BY stream_id HAVING count(*) > 1";
        assert!(sql(&log, twice).await.is_empty(), "a call is finished twice");
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let made =
            "SELECT payload FROM event WHERE type IN ('server.registered', 'api_key.issued')";
        for row in sql(&log, made).await {
            let payload: serde_json::Value =
                serde_json::from_str(row[0].as_str().unwrap()).unwrap();
            *names.entry(payload["name"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        for name in self.answered.iter().filter(|unique| !unique.starts_with("c-")) {
            assert_eq!(names.get(name), Some(&1), "{name} was answered; its events");
        }
        for index in (0..self.rounds).flat_map(|round| (0..SERVERS).map(move |it| (round, it))) {
            let name = format!("s-{}-{}", prefix(self.seed, index.0), index.1);
            assert_eq!(names.get(&name), Some(&1), "{name} was given until it was answered");
        }
        let verified = self.orch.cli().run(&["replay", "--verify", "--json"]).await;
        assert!(verified.success, "{verified:?}");
    }
}

fn prefix(seed: u64, round: usize) -> String {
    format!("{seed:x}-{round}")
}

/// How often each argument was executed, as the upstream wrote down.
fn executions(journal: &Path) -> BTreeMap<String, usize> {
    let mut executions = BTreeMap::new();
    for line in fixtures::process::journal(journal).unwrap_or_default() {
        *executions.entry(line).or_default() += 1;
    }
    executions.retain(|unique, _| unique.starts_with("c-"));
    executions
}

/// How many calls are recorded, whether or not their end and arguments are known.
fn echoes(calls: &[pb::CallWithBody]) -> usize {
    calls.iter().filter(|call| call.call.as_ref().unwrap().target == "echo").count()
}

#[track_caller]
fn twice(what: &str, counts: &BTreeMap<String, usize>) {
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{what} more than once: {twice:?}");
}

/// The load of one round.
struct Load {
    mcp_url: String,
    api_key: String,
    project_id: String,
    prefix: String,
    recorder: Arc<Recorder>,
}

impl Load {
    /// Starts everything at once; what cannot even connect ends as not answered. Says whether
    /// there is a grandchild.
    async fn start(self, load: &mut JoinSet<()>, orch: &Orch) -> bool {
        let grpc = Grpc::try_connect(&orch.ready.url, &orch.token).await;
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(match Streamable::try_open(&self.mcp_url, &self.api_key).await {
                Ok(session) => Ok(Arc::new(session)),
                Err(reason) => Err(reason),
            });
        }
        let mut has_grandchild = false;
        if let Some(Ok(session)) = sessions.first() {
            // It leaves its parent's group, and must not outlive the system either.
            let arguments = json!({ "detach": true });
            let call = json!({ "name": "fixture__spawn_grandchild", "arguments": arguments });
            let spawned = session.try_ask("tools/call", call).await;
            has_grandchild =
                spawned.is_ok_and(|it| it["result"]["structuredContent"]["pid"].is_u64());
        }
        for index in 0..CALLS {
            let unique = format!("c-{}-{index}", self.prefix);
            let session = sessions[index % SESSIONS].clone();
            let recorder = Arc::clone(&self.recorder);
            load.spawn(async move {
                let outcome = match session {
                    Ok(session) => echo(&session, &unique).await,
                    Err(reason) => Err(reason),
                };
                recorder.ended(&unique, outcome);
            });
        }
        for index in 0..SERVERS + KEYS {
            let (kind, index) = if index < SERVERS { ("s", index) } else { ("k", index - SERVERS) };
            let name = format!("{kind}-{}-{index}", self.prefix);
            let (grpc, project_id) = (grpc.clone(), self.project_id.clone());
            let recorder = Arc::clone(&self.recorder);
            load.spawn(async move {
                let outcome = match (grpc, kind) {
                    (Ok(grpc), "s") => create_server(&grpc, &project_id, &name).await,
                    (Ok(grpc), _) => create_key(&grpc, &project_id, &name).await,
                    (Err(reason), _) => Err(reason),
                };
                recorder.ended(&name, outcome);
            });
        }
        has_grandchild
    }
}

async fn echo(session: &Streamable, unique: &str) -> Result<(), String> {
    let call = json!({ "name": "fixture__echo", "arguments": { "message": unique } });
    let answer = session.try_ask("tools/call", call).await?;
    if answer["result"]["structuredContent"]["message"] == unique {
        return Ok(());
    }
    assert!(answer["result"].is_null(), "{unique} got another's answer: {answer}");
    Err(answer.to_string())
}

async fn create_server(grpc: &Grpc, project_id: &str, name: &str) -> Result<(), String> {
    let spec = pb::ServerSpec {
        name: name.to_owned(),
        transport: pb::Transport::Stdio.into(),
        command: "true".to_owned(),
        disabled: true,
        ..pb::ServerSpec::default()
    };
    let request = pb::CreateServerRequest {
        project_id: project_id.to_owned(),
        spec: Some(spec),
        idempotency_key: name.to_owned(),
    };
    let made = grpc.servers().create_server(request).await;
    made.map(drop).map_err(|status| status.to_string())
}

async fn create_key(grpc: &Grpc, project_id: &str, name: &str) -> Result<(), String> {
    let request = pb::CreateApiKeyRequest {
        project_id: project_id.to_owned(),
        name: name.to_owned(),
        idempotency_key: name.to_owned(),
        ..pb::CreateApiKeyRequest::default()
    };
    let made = grpc.keys().create_api_key(request).await;
    made.map(drop).map_err(|status| status.to_string())
}

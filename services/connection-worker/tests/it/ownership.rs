//! Servers that are owned by lease, by one of several workers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backplane::exchange::{Exchange, NOT_OWNED};
use bus::BusError;
use domain::ServerId;
use domain::connection::ConnectionState;
use domain::server::Transport;
use proto::events::v1::CallOutcome;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stage::{
    self, Authority, Stage, failure, finish, fixture, result, script, soon, until_gone,
};

const A: &str = "worker-a";
const B: &str = "worker-b";

async fn stage() -> (Stage, Authority) {
    let stage = Stage::empty().await;
    let authority = Authority::serve(&*stage.bus).await;
    (stage, authority)
}

/// Whether somebody serves the server.
async fn is_served(stage: &Stage, server: ServerId) -> bool {
    let open = stage::open(server, "echo", json!({"message": "x"}));
    match Exchange::open(&*stage.bus, server, &open).await {
        Ok(exchange) => finish(&exchange).await.1.outcome() == CallOutcome::Ok,
        Err(BusError::NoResponders) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn until_served(stage: &Stage, server: ServerId) {
    let served = async {
        while !is_served(stage, server).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(stage::LIMIT, served).await.unwrap();
}

async fn until_not_served(stage: &Stage, server: ServerId) {
    let gone = async {
        while is_served(stage, server).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(stage::LIMIT, gone).await.unwrap();
}

async fn pid(stage: &Stage, server: ServerId) -> u64 {
    let finished = stage.call(server, "env", json!({})).await;
    result(&finished)["structuredContent"]["pid"].as_u64().unwrap()
}

/// The fixture, which notes in `file` each time that it is started.
fn counted(file: &Path) -> (Transport, Value) {
    let program = fixtures::binary("fixture-upstream").unwrap();
    let (file, program) = (file.display(), program.display());
    script(&format!("echo $$ >> '{file}'; exec '{program}' stdio"))
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn only_what_is_granted_is_served_and_only_until_it_is_lost() {
    let (stage, authority) = stage().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    let _worker = stage.employ(A).await;
    soon("it asks", || authority.last(A).worker == A).await;
    assert!(!is_served(&stage, server).await && stage.record.observations(server).is_empty());

    authority.grant(A, &[(server, 7)]);
    stage.until_state(server, ConnectionState::Active).await;
    let pid = pid(&stage, server).await;
    assert!(stage.record.epochs(server).iter().all(|epoch| *epoch == 7));

    authority.grant(A, &[]);
    until_not_served(&stage, server).await;
    until_gone(pid).await;
    let seen = stage.record.observations(server).len();

    authority.grant(A, &[(server, 9)]);
    until_served(&stage, server).await;
    soon("it is recorded again", || stage.record.epochs(server).contains(&9)).await;
    let states: Vec<_> = stage.record.observations(server)[..seen].to_vec();
    assert!(states.iter().all(|seen| seen.state != ConnectionState::Failed), "{states:?}");
}

#[tokio::test]
async fn what_was_prepared_is_served_without_another_connection() {
    let (stage, authority) = stage().await;
    let started = tempfile::NamedTempFile::new().unwrap();
    let (transport, launch) = counted(started.path());
    let server = stage.announce(transport, launch).await;
    authority.say(A, &[], |reply| reply.prepare = vec![server.to_string()]);
    let _worker = stage.employ(A).await;
    soon("it is ready", || authority.last(A).prepared == [server.to_string()]).await;
    assert!(!is_served(&stage, server).await, "it is another's");
    assert!(stage.record.observations(server).is_empty(), "and another's to be observed");

    authority.grant(A, &[(server, 3)]);
    stage.until_state(server, ConnectionState::Active).await;
    let child = pid(&stage, server).await;
    assert_eq!(lines(started.path()), [child.to_string()]);
}

#[tokio::test]
async fn a_server_that_cannot_be_connected_is_handed_over_all_the_same() {
    let (stage, authority) = stage().await;
    let (transport, launch) = script("exit 3");
    let server = stage.announce(transport, launch).await;
    authority.say(A, &[], |reply| reply.prepare = vec![server.to_string()]);
    let _worker = stage.employ(A).await;
    soon("it was tried", || authority.last(A).prepared == [server.to_string()]).await;
}

#[tokio::test]
async fn what_is_prepared_in_vain_ends() {
    let (stage, authority) = stage().await;
    let started = tempfile::NamedTempFile::new().unwrap();
    let (transport, launch) = counted(started.path());
    let server = stage.announce(transport, launch).await;
    authority.say(A, &[], |reply| reply.prepare = vec![server.to_string()]);
    let _worker = stage.employ(A).await;
    soon("it is ready", || !authority.last(A).prepared.is_empty()).await;
    authority.grant(A, &[]);
    until_gone(lines(started.path())[0].parse().unwrap()).await;
}

#[tokio::test]
async fn a_server_moves_while_its_call_under_way_goes_on() {
    let (stage, authority) = stage().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    authority.grant(A, &[(server, 1)]);
    authority.say(B, &[], |reply| reply.prepare = vec![server.to_string()]);
    let (_a, _b) = (stage.employ(A).await, stage.employ(B).await);
    stage.until_state(server, ConnectionState::Active).await;
    let before = pid(&stage, server).await;
    soon("the other is ready", || !authority.last(B).prepared.is_empty()).await;
    let slow = stage::open(server, "slow", json!({"ms": 3_000}));
    let running = stage.open(server, &slow).await;
    // It is under way as soon as one that came after it is answered.
    stage.call(server, "echo", json!({"message": "x"})).await;

    authority.say(A, &[(server, 1)], |reply| reply.let_go = vec![server.to_string()]);
    let asked = Instant::now();
    soon("it is let go", || authority.has_released(server, 1)).await;
    authority.grant(B, &[(server, 2)]);
    until_served(&stage, server).await;
    assert!(asked.elapsed() < Duration::from_millis(2_500), "without waiting for the call");
    assert_ne!(pid(&stage, server).await, before);
    assert_eq!(finish(&running).await.1.outcome(), CallOutcome::Ok);
    until_gone(before).await;
}

#[tokio::test]
async fn without_renewal_all_ends_and_what_waited_was_not_started() {
    let (stage, authority) = stage().await;
    let (transport, launch) = fixture(&[]);
    let ready = stage.announce(transport, launch).await;
    let program = fixtures::binary("fixture-upstream").unwrap();
    let text = format!("sleep 60; exec '{}' stdio", program.display());
    let (transport, launch) = script(&text);
    let starting = stage.announce(transport, launch).await;
    authority.grant(A, &[(ready, 1), (starting, 2)]);
    let _worker = stage.employ(A).await;
    stage.until_state(ready, ConnectionState::Active).await;
    stage.until(starting, |view| view.observed_at.is_some()).await;
    let pid = pid(&stage, ready).await;
    let waits = stage::open(starting, "echo", json!({"message": "x"}));
    let waits = stage.open(starting, &waits).await;
    let runs = stage.open(ready, &stage::open(ready, "slow", json!({"ms": 60_000}))).await;
    stage.call(ready, "echo", json!({"message": "x"})).await;

    authority.fall_silent();
    let silent = Instant::now();
    let waited = finish(&waits).await.1;
    assert_eq!(waited.outcome(), CallOutcome::NotStarted);
    assert_eq!(failure(&waited).0, NOT_OWNED);
    let cut = finish(&runs).await.1;
    assert_eq!(cut.outcome(), CallOutcome::Unknown);
    assert!(silent.elapsed() < Duration::from_secs(5), "{:?}", silent.elapsed());
    until_gone(pid).await;
    assert!(!is_served(&stage, ready).await);
}

#[tokio::test]
async fn who_is_refused_as_stale_stops_serving() {
    let (stage, authority) = stage().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    authority.grant(A, &[(server, 4)]);
    stage.record.raise_fence(server, 5);
    let _worker = stage.employ(A).await;
    // It is granted again and again, but what it sees belongs to nobody.
    soon("it has tried", || authority.last(A).held.is_empty()).await;
    until_not_served(&stage, server).await;
    assert!(stage.record.observations(server).is_empty());
    authority.grant(A, &[(server, 5)]);
    stage.until_state(server, ConnectionState::Active).await;
    assert!(stage.record.epochs(server).iter().all(|epoch| *epoch == 5));
}

#[tokio::test]
async fn who_ends_waits_for_others_to_be_ready() {
    let (stage, authority) = stage().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    authority.grant(A, &[(server, 1)]);
    let (a, _b) = (stage.employ(A).await, stage.employ(B).await);
    until_served(&stage, server).await;
    let ending = tokio::spawn(a.stop());
    soon("it says so", || authority.last(A).draining).await;
    // Nobody is ready yet.
    assert!(is_served(&stage, server).await && !authority.has_released(server, 1));
    authority.say(B, &[], |reply| reply.prepare = vec![server.to_string()]);
    soon("the other is ready", || !authority.last(B).prepared.is_empty()).await;
    authority.say(A, &[(server, 1)], |reply| reply.let_go = vec![server.to_string()]);
    soon("it is let go", || authority.has_released(server, 1)).await;
    authority.grant(B, &[(server, 2)]);
    ending.await.unwrap();
    until_served(&stage, server).await;
}

#[tokio::test]
async fn who_ends_alone_waits_for_nobody_and_gives_everything_up() {
    let (stage, authority) = stage().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    authority.grant(A, &[(server, 1)]);
    let a = stage.employ(A).await;
    until_served(&stage, server).await;
    let asked = Instant::now();
    a.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(authority.has_released(server, 1));
}

#[tokio::test]
async fn nobody_waits_for_the_hand_over_for_ever() {
    let (stage, authority) = stage().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    authority.grant(A, &[(server, 1)]);
    let short = Duration::from_millis(500);
    let a = stage.employ_with(A, |config| config.hand_over = short).await;
    let _b = stage.employ(B).await;
    until_served(&stage, server).await;
    a.stop().await;
    assert!(authority.has_released(server, 1));
}

#[tokio::test]
async fn a_worker_shows_that_it_is_there_and_what_it_has_to_do() {
    let (stage, authority) = stage().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    authority.grant(A, &[(server, 1)]);
    let _a = stage
        .employ_with(A, |config| {
            config.labels = vec!["docker".to_owned()];
            (config.weight, config.capacity) = (2, 10);
        })
        .await;
    let asked = || authority.last(A);
    soon("it says what it is", || asked().labels == ["docker"] && asked().capacity == 10).await;
    let key = backplane::subject::worker(A).unwrap();
    let shown = async {
        loop {
            let present = stage.bus.present(&backplane::subject::workers()).await.unwrap();
            let value = present.iter().find(|it| it.key == key).map(|it| it.value.clone());
            let load: Value =
                value.map_or(Value::Null, |value| serde_json::from_slice(&value).unwrap());
            if load["servers"] == 1 {
                return load;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let load = tokio::time::timeout(stage::LIMIT, shown).await.unwrap();
    let expected = json!({
        "servers": 1, "requests": 0, "labels": ["docker"], "weight": 2, "capacity": 10
    });
    assert_eq!(load, expected);
}

/// A worker in a process that can be stopped and continued: on a thread of its own, that stands
/// still as long as it is told to.
struct Stoppable {
    runtime: tokio::runtime::Handle,
    _end: tokio::sync::oneshot::Sender<()>,
}

impl Stoppable {
    async fn start(stage: &Arc<Stage>) -> Self {
        let (started, starts) = tokio::sync::oneshot::channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let stage = Arc::clone(stage);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            let handle = runtime.handle().clone();
            runtime.block_on(async {
                let _worker = stage.employ(A).await;
                started.send(handle).unwrap();
                drop(ended.await);
            });
        });
        Self { runtime: starts.await.unwrap(), _end: end }
    }

    /// It stands still from now on, until what is returned is dropped.
    async fn stop(&self) -> std::sync::mpsc::Sender<()> {
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        let (stopped, stops) = tokio::sync::oneshot::channel();
        self.runtime.spawn(async move {
            stopped.send(()).unwrap();
            let _ = goes_on.recv();
        });
        stops.await.unwrap();
        go_on
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_stopped_starts_nothing_when_it_goes_on() {
    let (stage, authority) = stage().await;
    let stage = Arc::new(stage);
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    authority.grant(A, &[(server, 1)]);
    let worker = Stoppable::start(&stage).await;
    stage.until_state(server, ConnectionState::Active).await;
    let stopped = worker.stop().await;
    let began = Instant::now();
    let open = stage::open(server, "echo", json!({"message": "x"}));
    let waits = stage.open(server, &open).await;
    authority.grant(A, &[]);
    soon("its lease is over", || began.elapsed() > Duration::from_millis(3_100)).await;
    drop(stopped);
    let finished = finish(&waits).await.1;
    assert_eq!(finished.outcome(), CallOutcome::NotStarted);
    assert_eq!(failure(&finished).0, NOT_OWNED);
}

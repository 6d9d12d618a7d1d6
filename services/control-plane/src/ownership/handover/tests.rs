use proto::internal::v1::LeaseRequest;
use uuid::Uuid;

use super::*;
use crate::ownership::placement::{Candidate, Wanted, place};

/// Workers, servers and who has them.
#[derive(Default)]
struct Scene {
    workers: BTreeMap<Arc<str>, WorkerNote>,
    holders: HashMap<ServerId, Held>,
    servers: Vec<Wanted>,
    now: i64,
}

fn server(number: usize) -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(number as u128))
}

impl Scene {
    fn of(workers: &[&str], servers: usize) -> Self {
        let mut scene = Self::default();
        for worker in workers {
            scene.worker(worker, false, &[]);
        }
        scene.servers =
            (0..servers).map(|n| Wanted { id: server(n), labels: Default::default() }).collect();
        scene
    }

    fn worker(&mut self, name: &str, draining: bool, prepared: &[ServerId]) {
        let request = LeaseRequest {
            draining,
            prepared: prepared.iter().map(ToString::to_string).collect(),
            ..LeaseRequest::default()
        };
        let before = self.workers.get(name);
        let note = WorkerNote::of(&request, before, Timestamp::from_micros(self.now));
        self.workers.insert(name.into(), note);
    }

    fn all_at(&mut self, worker: &str) {
        for wanted in &self.servers {
            let held = Held { worker: worker.into(), epoch: 1 };
            self.holders.insert(wanted.id, held);
        }
    }

    fn placement(&self) -> Placement {
        let candidates: Vec<Candidate> =
            self.workers.iter().filter_map(|(name, note)| note.candidate(name)).collect();
        place(&candidates, &self.servers)
    }

    fn directions(&self) -> HashMap<Arc<str>, Directions> {
        directions(&Situation {
            placement: &self.placement(),
            workers: &self.workers,
            holders: &self.holders,
            now: Timestamp::from_micros(self.now),
            drain_limit: Duration::from_secs(10),
        })
    }

    fn of_worker(&self, name: &str) -> Directions {
        self.directions().remove(name).unwrap_or_default()
    }
}

#[test]
fn given_free_servers_each_is_taken_by_one_worker() {
    let scene = Scene::of(&["a", "b"], 20);
    let (a, b) = (scene.of_worker("a").take, scene.of_worker("b").take);
    assert_eq!(a.len() + b.len(), 20);
    assert!(a.iter().all(|server| !b.contains(server)));
}

#[test]
fn given_a_worker_that_joins_few_servers_are_prepared_and_nothing_is_let_go_yet() {
    let mut scene = Scene::of(&["a"], 100);
    scene.all_at("a");
    scene.worker("b", false, &[]);
    let (a, b) = (scene.of_worker("a"), scene.of_worker("b"));
    assert_eq!((b.prepare.len(), a.let_go.len()), (REBALANCED.0, 0));
    assert!(b.take.is_empty(), "what another has is not taken");
    assert_eq!(scene.of_worker("b"), b, "the same for whoever looks");

    // Ready for two of them.
    scene.worker("b", false, &b.prepare[..2]);
    let a = scene.of_worker("a");
    assert_eq!(a.let_go, &b.prepare[..2]);
    assert!(scene.of_worker("b").prepare.contains(&b.prepare[0]), "kept until it comes");

    // Let go: free, and the successor's.
    scene.holders.remove(&b.prepare[0]);
    assert_eq!(scene.of_worker("b").take, [b.prepare[0]]);
}

#[test]
fn given_a_server_that_is_never_ready_others_have_their_turn() {
    let mut scene = Scene::of(&["a", "b"], 200);
    scene.all_at("a");
    let first = scene.of_worker("b").prepare;
    scene.now += 16_000_000;
    assert_ne!(scene.of_worker("b").prepare, first);
}

#[test]
fn given_a_worker_that_drains_its_servers_are_prepared_elsewhere_and_then_let_go() {
    let mut scene = Scene::of(&["a", "b"], 30);
    scene.all_at("a");
    scene.worker("a", true, &[]);
    let b = scene.of_worker("b");
    assert_eq!(b.prepare.len(), 30, "a drain is in a hurry");
    assert!(scene.of_worker("a").let_go.is_empty());
    scene.worker("b", false, &b.prepare[..10]);
    assert_eq!(scene.of_worker("a").let_go.len(), 10);
    // After the limit nothing is waited for.
    scene.now += 10_000_000;
    scene.worker("a", true, &[]);
    assert_eq!(scene.of_worker("a").let_go.len(), 30);
    assert!(scene.of_worker("a").take.is_empty(), "and nothing new comes");
}

#[test]
fn given_nobody_to_go_to_a_worker_that_drains_keeps_its_servers() {
    let mut scene = Scene::of(&["a"], 5);
    scene.all_at("a");
    scene.worker("a", true, &[]);
    scene.now += 60_000_000;
    scene.worker("a", true, &[]);
    assert_eq!(scene.of_worker("a"), Directions::default());
}

#[test]
fn given_what_a_worker_has_by_right_it_is_told_again() {
    let mut scene = Scene::of(&["a"], 3);
    scene.all_at("a");
    assert_eq!(scene.of_worker("a").take.len(), 3, "its answer may have been lost");
}

#[test]
fn given_a_large_cluster_more_servers_move_at_a_time_but_not_all() {
    let mut scene = Scene::of(&["a", "b"], 10_000);
    scene.all_at("a");
    let prepared = scene.of_worker("b").prepare.len();
    assert_eq!(prepared, REBALANCED.1);
}

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn worker(name: &str) -> Candidate {
    Candidate { instance: name.into(), labels: BTreeSet::new(), weight: 1, capacity: 0 }
}

fn workers(count: usize) -> Vec<Candidate> {
    (0..count).map(|number| worker(&format!("worker-{number}"))).collect()
}

fn labels(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn server(number: u128) -> Wanted {
    // As ids of version 7 are: nearly the same in their upper half.
    let id = ServerId::from_uuid(Uuid::from_u128((0x0198_c0de_0000 << 80) | number));
    Wanted { id, labels: BTreeSet::new() }
}

fn servers(count: u128) -> Vec<Wanted> {
    (0..count).map(server).collect()
}

fn loads(placement: &Placement) -> HashMap<Arc<str>, usize> {
    let mut loads = HashMap::new();
    for (_, owner) in placement.owners() {
        *loads.entry(Arc::clone(owner)).or_default() += 1;
    }
    loads
}

/// How many servers have another owner.
fn relocated(before: &Placement, after: &Placement) -> usize {
    before.owners().filter(|(server, owner)| after.owner(*server) != Some(owner)).count()
}

#[test]
fn a_single_worker_gets_everything_and_none_gets_nothing() {
    let placement = place(&workers(1), &servers(7));
    assert_eq!(loads(&placement)["worker-0"], 7);
    let nowhere = place(&[], &servers(1));
    assert_eq!(nowhere.unplaced()[&server(0).id], Unplaced::NoWorker);
    assert_eq!(Unplaced::NoWorker.to_string(), "no worker is running");
}

#[test]
fn a_server_goes_where_its_labels_are_and_says_which_are_missing() {
    let docker = Candidate { labels: labels(&["docker", "eu"]), ..worker("worker-9") };
    let mut all = workers(3);
    all.push(docker);
    let placed: Vec<_> =
        servers(20).into_iter().map(|one| Wanted { labels: labels(&["docker"]), ..one }).collect();
    let placement = place(&all, &placed);
    assert_eq!(loads(&placement)["worker-9"], 20, "above its share: there is no other");
    let none = place(&workers(3), &placed);
    let why = &none.unplaced()[&server(0).id];
    assert_eq!(why.to_string(), "no worker has the label docker");
    let two = Wanted { labels: labels(&["gpu", "docker"]), ..server(1) };
    let why = place(&all, std::slice::from_ref(&two)).unplaced()[&two.id].to_string();
    assert_eq!(why, "no worker has the labels docker, gpu");
}

#[test]
fn a_capacity_is_never_exceeded_and_the_others_take_the_rest() {
    let small = Candidate { capacity: 3, ..worker("small") };
    let placement = place(&[small.clone(), worker("large")], &servers(100));
    assert_eq!(loads(&placement)["small"], 3);
    assert_eq!(loads(&placement)["large"], 97);
    let full = place(&[small], &servers(5));
    assert_eq!(loads(&full)["small"], 3);
    assert_eq!(full.unplaced().len(), 2);
    assert!(full.unplaced().values().all(|why| *why == Unplaced::Full));
}

#[test]
fn a_weight_is_a_share() {
    let heavy = Candidate { weight: 3, ..worker("heavy") };
    let placement = place(&[heavy, worker("light")], &servers(4_000));
    let heavy = loads(&placement)["heavy"];
    assert!((2_850..=3_150).contains(&heavy), "{heavy} of 4,000 at three quarters");
}

#[test]
fn a_worker_that_comes_or_goes_moves_little_more_than_its_own() {
    let (all, few) = (workers(10), workers(9));
    let wanted = servers(2_000);
    let (before, after) = (place(&all, &wanted), place(&few, &wanted));
    let own = loads(&before)["worker-9"];
    let moved = relocated(&before, &after);
    assert!((own..=own + 200).contains(&moved), "{moved} moved, {own} had to");
    // The same the other way round: a worker that joins takes its share and little else moves.
    let joined = relocated(&after, &before);
    assert!(joined <= own + 200, "{joined} moved, {own} had to");
}

#[test]
fn one_server_more_moves_hardly_any_other() {
    let workers = workers(10);
    for count in [10, 100, 101, 1_000] {
        let before = place(&workers, &servers(count));
        let after = place(&workers, &servers(count + 1));
        assert!(relocated(&before, &after) <= 3, "at {count}");
    }
}

fn any_worker() -> impl Strategy<Value = (BTreeSet<String>, u32, u32)> {
    (proptest::collection::btree_set("[a-c]", 0..3), 0..4_u32, prop_oneof![Just(0), 1..20_u32])
}

fn any_workers() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::vec(any_worker(), 0..8).prop_map(|list| {
        let named = list.into_iter().enumerate().map(|(number, (labels, weight, capacity))| {
            Candidate { instance: format!("w{number}").into(), labels, weight, capacity }
        });
        named.collect()
    })
}

fn any_servers() -> impl Strategy<Value = Vec<Wanted>> {
    let labels = proptest::collection::btree_set("[a-c]", 0..2);
    proptest::collection::vec(labels, 0..60).prop_map(|list| {
        let numbered = list.into_iter().enumerate();
        numbered.map(|(number, labels)| Wanted { labels, ..server(number as u128) }).collect()
    })
}

proptest! {
    #[test]
    fn labels_and_capacities_hold_and_nobody_is_forgotten(
        workers in any_workers(),
        servers in any_servers(),
    ) {
        let placement = place(&workers, &servers);
        for server in &servers {
            let unplaced = placement.unplaced().get(&server.id);
            let may = workers.iter().filter(|worker| server.labels.is_subset(&worker.labels));
            match placement.owner(server.id) {
                Some(owner) => {
                    prop_assert!(unplaced.is_none());
                    let owner = workers.iter().find(|worker| worker.instance == *owner).unwrap();
                    prop_assert!(server.labels.is_subset(&owner.labels));
                }
                None => match unplaced.unwrap() {
                    Unplaced::NoWorker => prop_assert!(workers.is_empty()),
                    Unplaced::NoLabels(_) => prop_assert_eq!(may.count(), 0),
                    Unplaced::Full => {
                        for worker in may {
                            let load = loads(&placement).get(&worker.instance).copied();
                            prop_assert_eq!(load.unwrap_or(0), worker.capacity as usize);
                        }
                    }
                },
            }
        }
        for worker in workers.iter().filter(|worker| worker.capacity > 0) {
            let load = loads(&placement).get(&worker.instance).copied().unwrap_or(0);
            prop_assert!(load <= worker.capacity as usize);
        }
    }

    #[test]
    fn without_labels_and_capacities_the_bound_holds(
        mut workers in any_workers(),
        count in 0..200_u128,
    ) {
        workers.iter_mut().for_each(|worker| worker.capacity = 0);
        let placement = place(&workers, &servers(count));
        let total: u64 = workers.iter().map(|worker| u64::from(worker.weight.max(1))).sum();
        for worker in &workers {
            let share = count as f64 * f64::from(worker.weight.max(1)) / total as f64;
            let load = loads(&placement).get(&worker.instance).copied().unwrap_or(0);
            prop_assert!(load as f64 <= (1.25 * share).ceil(), "{load} of a share of {share}");
        }
    }

    #[test]
    fn the_order_of_the_lists_changes_nothing(
        workers in any_workers(),
        servers in any_servers(),
        turn in 0..8_usize,
    ) {
        let (mut others, mut again) = (workers.clone(), servers.clone());
        others.reverse();
        let half = turn.min(again.len());
        again.rotate_left(half);
        prop_assert_eq!(place(&workers, &servers), place(&others, &again));
    }
}

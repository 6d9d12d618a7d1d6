//! Leases: one holder at a time, and an epoch for each holding.

use std::sync::Arc;
use std::time::Duration;

use event_store::postgres::LEADER;
use event_store::{Claim, Lease, MAX_CLAIMS, MAX_LEASE, MAX_NOTE_BYTES, StoreError};
use futures::future::join_all;

use super::{Adapter, Store, TestClock, soon};

/// Long enough for whatever a case does meanwhile.
const LONG: Duration = Duration::from_secs(300);
/// Short enough to wait for its end.
const SHORT: Duration = Duration::from_millis(300);

/// A claim that lasts.
pub(super) fn claim(name: &str, holder: &str) -> Claim {
    Claim { name: name.to_owned(), holder: holder.to_owned(), ttl: LONG, note: "".into() }
}

/// A claim that ends soon.
pub(super) fn short(name: &str, holder: &str) -> Claim {
    Claim { ttl: SHORT, ..claim(name, holder) }
}

/// The epoch of a claim that is granted.
pub(super) async fn granted(store: &dyn Store, claim: Claim) -> Option<u64> {
    let leases = store.claim(&[claim]).await.unwrap();
    assert_eq!(leases.len(), 1);
    leases.into_iter().next().flatten().map(|lease| lease.epoch)
}

/// Lets the short lease end, by whichever clock the store goes.
pub(super) async fn expire(store: &dyn Store, clock: &TestClock, name: &str) {
    clock.advance(1_000);
    soon(async {
        while !names(&store.leases(name).await.unwrap()).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Everything that is held but the lead, which an adapter with a sequencer has.
async fn all_held(store: &dyn Store) -> Vec<Lease> {
    let mut leases = store.leases("").await.unwrap();
    leases.retain(|lease| lease.name != LEADER);
    leases
}

fn names(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.name.as_str()).collect()
}

/// With the first epoch, which a renewal keeps.
pub async fn a_free_lease_is_taken_and_renewed<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let noted = |note: &'static str| Claim { note: note.into(), ..claim("server/1", "w1") };
    for note in ["one", "two"] {
        let lease = store.claim(&[noted(note)]).await.unwrap().remove(0).unwrap();
        assert_eq!((lease.name.as_str(), lease.holder.as_str()), ("server/1", "w1"));
        assert_eq!((lease.epoch, &lease.note[..]), (1, note.as_bytes()));
        assert!(lease.left <= LONG && lease.left > LONG / 2);
        let listed = store.leases("server/").await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].epoch, &listed[0].note[..]), (1, note.as_bytes()));
        assert_eq!(listed[0].holder, "w1");
        assert!(listed[0].left <= LONG && listed[0].left > LONG / 2);
    }
}

/// Nor is anything of it changed.
pub async fn the_lease_of_another_is_not_granted<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    assert_eq!(granted(&*store, claim("first", "c1")).await, Some(1));
    assert_eq!(granted(&*store, Claim { note: "x".into(), ..short("first", "c2") }).await, None);
    let listed = store.leases("first").await.unwrap();
    assert_eq!((listed[0].holder.as_str(), &listed[0].note[..]), ("c1", &b""[..]));
    assert!(listed[0].left > SHORT);
    assert_eq!(granted(&*store, claim("first", "c1")).await, Some(1));
}

/// By another, and by the same: who lost it by time learns so.
pub async fn an_expired_lease_is_taken_with_the_next_epoch<A: Adapter>() {
    let clock = TestClock::at(0);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    for (name, next) in [("a", "w1"), ("b", "w2")] {
        assert_eq!(granted(&*store, short(name, "w1")).await, Some(1));
        expire(&*store, &clock, name).await;
        assert_eq!(granted(&*store, claim(name, next)).await, Some(2));
    }
}

/// By its holder with its epoch only.
pub async fn a_lease_that_is_given_up_is_free_at_once<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    for name in ["a", "b"] {
        assert_eq!(granted(&*store, claim(name, "w1")).await, Some(1));
    }
    let held = |name: &str, epoch| (name.to_owned(), epoch);
    store.release("w2", &[held("a", 1)]).await.unwrap();
    store.release("w1", &[held("a", 2), held("unknown", 1)]).await.unwrap();
    assert_eq!(granted(&*store, claim("a", "w2")).await, None);
    store.release("w1", &[held("unknown", 1), held("a", 1)]).await.unwrap();
    assert_eq!(names(&all_held(&*store).await), ["b"]);
    assert_eq!(granted(&*store, claim("a", "w2")).await, Some(2));
    assert_eq!(granted(&*store, claim("b", "w2")).await, None);
}

/// Sorted, and nothing of other names.
pub async fn leases_are_listed_by_their_prefix<A: Adapter>() {
    let clock = TestClock::at(0);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    let of = ["worker/b", "server/2", "worker/a", "worker%", "server/10"];
    let claims: Vec<_> = of.iter().map(|name| claim(name, "x")).collect();
    assert!(store.claim(&claims).await.unwrap().iter().all(Option::is_some));
    granted(&*store, short("worker/c", "x")).await;
    expire(&*store, &clock, "worker/c").await;
    // Those that last do so by the clock of the test, too.
    store.claim(&claims).await.unwrap();
    assert_eq!(names(&store.leases("worker/").await.unwrap()), ["worker/a", "worker/b"]);
    assert_eq!(names(&store.leases("server/").await.unwrap()), ["server/10", "server/2"]);
    assert_eq!(all_held(&*store).await.len(), 5);
    assert_eq!(store.leases("nothing").await.unwrap(), []);
    assert_eq!(store.claim(&[]).await.unwrap(), []);
}

/// In order, so that a later one sees the earlier ones.
pub async fn the_claims_of_one_call_are_for_themselves<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    granted(&*store, claim("taken", "other")).await;
    granted(&*store, claim("mine", "w1")).await;
    let claims = ["free", "taken", "mine", "free", "later"].map(|name| claim(name, "w1"));
    let anothers = claim("free", "w2");
    let all = [&claims[..], &[anothers]].concat();
    let answers = store.claim(&all).await.unwrap();
    let epochs: Vec<_> =
        answers.iter().map(|lease| lease.as_ref().map(|lease| lease.epoch)).collect();
    assert_eq!(epochs, [Some(1), None, Some(1), Some(1), Some(1), None]);
    assert_eq!(answers[4].as_ref().map(|lease| lease.name.as_str()), Some("later"));
}

/// However many want it.
pub async fn a_race_for_a_lease_has_one_winner<A: Adapter>() {
    let clock = TestClock::at(0);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    for epoch in 1..=3 {
        let racers = (0..24).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let claims = ["a", "b", "c"].map(|name| short(name, &format!("w{n}")));
                store.claim(&claims).await.unwrap()
            })
        });
        let answers = soon(join_all(racers)).await;
        let leases: Vec<_> =
            answers.into_iter().flat_map(|answer| answer.unwrap()).flatten().collect();
        for name in ["a", "b", "c"] {
            let won: Vec<_> = leases.iter().filter(|lease| lease.name == name).collect();
            assert_eq!(won.len(), 1, "{name} in epoch {epoch}");
            assert_eq!(won[0].epoch, epoch);
            expire(&*store, &clock, name).await;
        }
    }
}

/// They never come again, whatever is known of the holders.
pub async fn epochs_go_on_after_a_restart<A: Adapter>() {
    let clock = TestClock::at(0);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    assert_eq!(granted(&*store, claim("a", "w1")).await, Some(1));
    store.release("w1", &[("a".to_owned(), 1)]).await.unwrap();
    assert_eq!(granted(&*store, short("a", "w2")).await, Some(2));
    drop(store);
    let adapter = adapter.restart().await;
    let store = adapter.store();
    expire(&*store, &clock, "a").await;
    assert_eq!(granted(&*store, claim("a", "w3")).await, Some(3));
}

/// Before anything is granted.
pub async fn a_claim_that_is_too_large_is_refused<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let text = "x".repeat(513);
    let refused = [
        claim(&text, "w1"),
        claim("a", &text),
        Claim { note: vec![0; MAX_NOTE_BYTES + 1].into(), ..claim("a", "w1") },
        Claim { ttl: MAX_LEASE + Duration::from_secs(1), ..claim("a", "w1") },
    ];
    for one in refused {
        let answer = store.claim(&[claim("b", "w1"), one]).await;
        assert!(matches!(answer, Err(StoreError::TooLarge { .. })), "{answer:?}");
    }
    let many = vec![claim("a", "w1"); MAX_CLAIMS + 1];
    assert!(matches!(store.claim(&many).await, Err(StoreError::TooLarge { .. })));
    assert_eq!(all_held(&*store).await, []);
    let largest = Claim { note: vec![7; MAX_NOTE_BYTES].into(), ..claim(&text[1..], "w1") };
    assert_eq!(granted(&*store, largest).await, Some(1));
}

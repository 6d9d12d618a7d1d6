//! Leases: what is owned is what was granted, for as long as that is certain.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backplane::{LeaseHandle, LeaseKeeper, WorkerIdentity, subject};
use bus::{Bus, InProcessBus};
use domain::ServerId;
use prost::Message;
use proto::internal::v1::{HeldLease, LeaseRelease, LeaseReply, LeaseRequest};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::wait::{soon, until};
use crate::world::server;

/// Who grants leases: says what it was told to say, and notes what it hears.
#[derive(Clone, Default)]
struct Authority(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    reply: LeaseReply,
    requests: Vec<LeaseRequest>,
    released: Vec<HeldLease>,
    delay: Duration,
}

impl Authority {
    async fn serve(bus: &dyn Bus) -> Self {
        let authority = Self::default();
        authority.clone().join(bus).await;
        authority
    }

    async fn join(self, bus: &dyn Bus) {
        let mut leases = bus.serve(subject::lease().into(), 16).await.unwrap();
        let mut releases = bus.serve(subject::lease_release().into(), 16).await.unwrap();
        let authority = self.clone();
        tokio::spawn(async move {
            while let Some(incoming) = leases.accept().await {
                let request = LeaseRequest::decode(incoming.first).unwrap();
                let (reply, delay) = {
                    let mut state = authority.0.lock().unwrap();
                    state.requests.push(request);
                    (state.reply.encode_to_vec(), state.delay)
                };
                tokio::time::sleep(delay).await;
                let _ = incoming.exchange.reply(reply.into()).await;
                incoming.exchange.finish();
            }
        });
        tokio::spawn(async move {
            while let Some(incoming) = releases.accept().await {
                let release = LeaseRelease::decode(incoming.first).unwrap();
                self.0.lock().unwrap().released.extend(release.released);
                let _ = incoming.exchange.reply(Vec::new().into()).await;
                incoming.exchange.finish();
            }
        });
    }

    fn say(&self, owned: &[(u128, u64)], change: impl FnOnce(&mut LeaseReply)) {
        let mut state = self.0.lock().unwrap();
        let held = |(number, epoch): &(u128, u64)| lease(*number, *epoch);
        let valid_ms = 3_000;
        state.reply = LeaseReply {
            owned: owned.iter().map(held).collect(),
            valid_ms,
            ..LeaseReply::default()
        };
        change(&mut state.reply);
    }

    fn last(&self) -> LeaseRequest {
        self.0.lock().unwrap().requests.last().cloned().unwrap_or_default()
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().requests.len()
    }

    /// Who grants what was given up is told again.
    fn released(&self) -> Vec<HeldLease> {
        let mut released = self.0.lock().unwrap().released.clone();
        released.dedup();
        released
    }
}

fn lease(number: u128, epoch: u64) -> HeldLease {
    HeldLease { server: server(number).to_string(), epoch }
}

fn start(bus: Arc<dyn Bus>) -> (LeaseHandle, CancellationToken) {
    let identity = WorkerIdentity {
        instance: bus.instance().to_owned(),
        labels: vec!["docker".to_owned()],
        weight: 3,
        capacity: 50,
    };
    let shutdown = CancellationToken::new();
    (LeaseKeeper::start(bus, identity, shutdown.clone()), shutdown)
}

async fn owned(handle: &LeaseHandle, server: ServerId, epoch: u64) {
    until("it is owned", || handle.epoch(server) == Some(epoch)).await;
}

#[tokio::test]
async fn what_is_granted_is_owned_and_renewed() {
    let bus = InProcessBus::default();
    let authority = Authority::serve(&bus).await;
    authority.say(&[(1, 5)], |reply| reply.valid_ms = 1_500);
    let (handle, _shutdown) = start(Arc::new(bus.clone()));
    owned(&handle, server(1), 5).await;
    let start = Instant::now();
    let first = authority.0.lock().unwrap().requests[0].clone();
    assert_eq!((first.worker.as_str(), first.weight, first.capacity), (bus.instance(), 3, 50));
    assert_eq!((first.labels, first.held), (vec!["docker".to_owned()], vec![]));
    assert!(handle.owned().borrow().holds(server(1)) && !handle.owned().borrow().holds(server(2)));
    assert_eq!(handle.epoch(server(2)), None);
    until("the first grant alone would be over", || {
        assert_eq!(handle.epoch(server(1)), Some(5), "never lost meanwhile");
        start.elapsed() > Duration::from_millis(1_800)
    })
    .await;
    assert_eq!(authority.last().held, [lease(1, 5)]);
}

#[tokio::test]
async fn nothing_is_owned_any_more_while_the_bus_is_away_and_all_of_it_afterwards() {
    let bus = InProcessBus::default();
    let authority = Authority::serve(&bus).await;
    authority.say(&[(1, 5)], |_| {});
    let outage = Outage::over(bus);
    let (handle, _shutdown) = start(Arc::new(outage.clone()));
    owned(&handle, server(1), 5).await;
    outage.begin();
    let (began, mut shown) = (Instant::now(), handle.owned());
    soon("the loss", shown.wait_for(|owned| owned.is_empty())).await.unwrap();
    // From when it was asked for: at the most a second before the outage.
    let took = began.elapsed();
    assert!((1_900..=3_200).contains(&took.as_millis()), "{took:?}");
    assert_eq!(handle.epoch(server(1)), None);
    authority.say(&[(1, 6)], |_| {});
    outage.end();
    owned(&handle, server(1), 6).await;
    assert!(authority.released().is_empty(), "others waited for the end of the lease");
}

#[tokio::test]
async fn asking_goes_on_until_somebody_answers() {
    let bus = InProcessBus::default();
    let (handle, _shutdown) = start(Arc::new(bus.clone()));
    let authority = Authority::default();
    authority.say(&[(1, 1)], |_| {});
    authority.clone().join(&bus).await;
    owned(&handle, server(1), 1).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_grants_nothing() {
    let bus = InProcessBus::default();
    let authority = Authority::serve(&bus).await;
    authority.say(&[(1, 5)], |reply| reply.valid_ms = 50);
    authority.0.lock().unwrap().delay = Duration::from_millis(100);
    let (handle, _shutdown) = start(Arc::new(bus.clone()));
    until("it was answered twice", || {
        assert_eq!(handle.epoch(server(1)), None);
        authority.asked() > 2
    })
    .await;
}

#[tokio::test]
async fn what_is_given_up_is_gone_at_once_and_the_others_are_told() {
    let bus = InProcessBus::default();
    let authority = Authority::serve(&bus).await;
    authority.say(&[(1, 5), (2, 7)], |reply| reply.let_go = vec![server(1).to_string()]);
    let (handle, shutdown) = start(Arc::new(bus.clone()));
    owned(&handle, server(1), 5).await;
    assert!(handle.owned().borrow().is_to_let_go(server(1)));
    handle.release(server(1));
    assert_eq!((handle.epoch(server(1)), handle.epoch(server(2))), (None, Some(7)));
    until("it is told", || authority.released() == [lease(1, 5)]).await;
    // It comes back under another epoch only.
    authority.say(&[(1, 6), (2, 7)], |_| {});
    owned(&handle, server(1), 6).await;
    shutdown.cancel();
    let all = [lease(1, 5), lease(1, 6), lease(2, 7)];
    until("the rest is given up at the end", || authority.released() == all).await;
    assert_eq!(handle.epoch(server(2)), None);
}

#[tokio::test]
async fn giving_everything_up_waits_until_the_others_know() {
    let bus = InProcessBus::default();
    let authority = Authority::serve(&bus).await;
    authority.say(&[(1, 5), (2, 7)], |_| {});
    let (handle, _shutdown) = start(Arc::new(bus.clone()));
    owned(&handle, server(2), 7).await;
    authority.say(&[], |_| {});
    soon("the release", handle.release_all()).await;
    assert_eq!(authority.released(), [lease(1, 5), lease(2, 7)]);
    assert!(handle.owned().borrow().is_empty());
}

#[tokio::test]
async fn what_is_ready_is_said_at_once_and_served_when_it_is_granted() {
    let bus = InProcessBus::default();
    let authority = Authority::serve(&bus).await;
    authority.say(&[], |reply| reply.prepare = vec![server(1).to_string()]);
    let (handle, _shutdown) = start(Arc::new(bus.clone()));
    let mut shown = handle.owned();
    soon("the word", shown.wait_for(|owned| owned.is_to_prepare(server(1)))).await.unwrap();
    assert_eq!(handle.epoch(server(1)), None);
    let asked = Instant::now();
    handle.prepared(server(2));
    handle.prepared(server(1));
    until("it is said", || authority.last().prepared == [server(1).to_string()]).await;
    assert!(asked.elapsed() < Duration::from_millis(700), "before it would be asked anyway");
    authority.say(&[(1, 9)], |_| {});
    owned(&handle, server(1), 9).await;
    assert!(!handle.owned().borrow().is_to_prepare(server(1)));
}

#[tokio::test]
async fn who_drains_says_so_at_once_and_keeps_what_nobody_takes() {
    let bus = InProcessBus::default();
    let authority = Authority::serve(&bus).await;
    authority.say(&[(1, 5)], |_| {});
    let (handle, _shutdown) = start(Arc::new(bus.clone()));
    owned(&handle, server(1), 5).await;
    let began = Instant::now();
    handle.drain();
    until("it is said", || authority.last().draining).await;
    assert!(began.elapsed() < Duration::from_millis(700), "before it would be asked anyway");
    assert_eq!(handle.epoch(server(1)), Some(5));
}

#[tokio::test]
async fn a_refused_epoch_is_lost() {
    let bus = InProcessBus::default();
    let authority = Authority::serve(&bus).await;
    authority.say(&[(1, 5)], |_| {});
    let (handle, _shutdown) = start(Arc::new(bus.clone()));
    owned(&handle, server(1), 5).await;
    handle.lost(server(1), 5);
    assert_eq!(handle.epoch(server(1)), None);
    assert!(!handle.owned().borrow().holds(server(1)));
}

#[tokio::test]
async fn who_owns_everything_asks_nobody() {
    let handle = LeaseHandle::all();
    assert!(handle.is_all() && handle.owned().borrow().holds(server(1)));
    assert_eq!(handle.epoch(server(1)), Some(0));
    handle.release(server(1));
    handle.lost(server(1), 1);
    handle.drain();
    soon("nothing", handle.release_all()).await;
    assert_eq!(handle.epoch(server(1)), Some(0));
}

#[tokio::test]
async fn one_who_stands_still_keeps_nobody_from_asking_others() {
    let bus = InProcessBus::default();
    // It takes every other request, and answers none.
    let mut still = bus.serve(subject::lease().into(), 64).await.unwrap();
    let _still = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(incoming) = still.accept().await {
            taken.push(incoming);
        }
    });
    let authority = Authority::serve(&bus).await;
    authority.say(&[(1, 5)], |_| {});
    let (handle, _shutdown) = start(Arc::new(bus.clone()));
    owned(&handle, server(1), 5).await;
    let start = Instant::now();
    until("several renewals were due", || {
        assert_eq!(handle.epoch(server(1)), Some(5), "never lost meanwhile");
        start.elapsed() > Duration::from_secs(5)
    })
    .await;
}

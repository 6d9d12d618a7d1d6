//! The journal: what it says is recorded is, each once; memory stays bounded.

use std::sync::Arc;
use std::time::Duration;

use backplane::{Full, Journal, JournalConfig, JournalError, JournalOutcome};
use bus::InProcessBus;
use domain::TenantId;
use proto::events::v1::AccessDenied;
use proto::internal::v1::{JournalEntry, journal_entry};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::outage::Outage;
use crate::record::{Record, open_gate, serve, takes};
use crate::wait::{soon, until};

const fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

fn entry_of(tenant: TenantId, number: u128, target_bytes: usize) -> JournalEntry {
    JournalEntry {
        tenant: tenant.to_string(),
        event_id: Uuid::from_u128(number).to_string(),
        stream: "search".to_owned(),
        event: Some(journal_entry::Event::AccessDenied(AccessDenied {
            target: "x".repeat(target_bytes),
            ..AccessDenied::default()
        })),
        ..JournalEntry::default()
    }
}

fn entry(number: u128) -> JournalEntry {
    entry_of(tenant(1), number, 0)
}

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

/// Tells soon that nobody answers.
fn impatient() -> JournalConfig {
    JournalConfig {
        record_timeout: Duration::from_millis(200),
        linger: Duration::from_millis(1),
        ..JournalConfig::default()
    }
}

struct Setup {
    bus: InProcessBus,
    record: Arc<Record>,
    journal: Journal,
    shutdown: CancellationToken,
}

fn setup(config: JournalConfig) -> Setup {
    let (bus, shutdown) = (InProcessBus::default(), CancellationToken::new());
    let journal = Journal::start(Arc::new(bus.clone()), config, shutdown.clone());
    Setup { bus, record: Arc::default(), journal, shutdown }
}

#[tokio::test]
async fn each_entry_has_its_outcome_in_its_place() {
    let Setup { bus, record, journal, .. } = setup(JournalConfig::default());
    let refuses_two = |entry: &JournalEntry, _| match entry.event_id == id(2) {
        true => "NOT_FOUND",
        false => "",
    };
    serve(&bus, &record, &open_gate(), refuses_two).await;
    let outcomes = soon("record", journal.record(vec![entry(1), entry(2), entry(3)])).await;
    let refused =
        JournalOutcome::Refused { code: "NOT_FOUND".to_owned(), message: "not_found".to_owned() };
    assert_eq!(outcomes, Ok(vec![JournalOutcome::Recorded, refused, JournalOutcome::Recorded]));
    assert_eq!(record.ids(), [id(1), id(3)]);
    assert_eq!(journal.record(vec![]).await, Ok(vec![]));
}

#[tokio::test]
async fn callers_at_the_same_time_share_requests_and_get_their_own_answers() {
    let Setup { bus, record, journal, .. } = setup(JournalConfig::default());
    let gate = Arc::new(Semaphore::new(0));
    let odd_ones = |entry: &JournalEntry, _| {
        let number = entry.event_id.parse::<Uuid>().unwrap().as_u128();
        if number % 2 == 0 { "" } else { "NOT_FOUND" }
    };
    serve(&bus, &record, &gate, odd_ones).await;
    let call = |number| {
        let journal = journal.clone();
        tokio::spawn(async move { (number, journal.record(vec![entry(number)]).await) })
    };
    let mut callers = Vec::new();
    for number in 0..2_usize {
        callers.push(call(number as u128));
        until("it is under way", || record.requests().len() == number + 1).await;
    }
    callers.extend((2..64).map(call));
    gate.add_permits(64);
    for caller in callers {
        let (number, outcomes) = soon("a caller", caller).await.unwrap();
        let recorded = outcomes.unwrap() == [JournalOutcome::Recorded];
        assert_eq!(recorded, number % 2 == 0, "{number}");
    }
    let requests = record.requests();
    assert!(requests.len() <= 5, "64 callers made {requests:?}");
    assert_eq!(requests.iter().sum::<usize>(), 64);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_nothing_is_recorded_twice() {
    let Setup { bus, record, journal, .. } = setup(JournalConfig::default());
    serve(&bus, &record, &open_gate(), takes).await;
    record.lose_answers(2);
    let outcomes = soon("record", journal.record(vec![entry(1), entry(2)])).await;
    assert_eq!(outcomes, Ok(vec![JournalOutcome::Recorded; 2]));
    assert_eq!(record.ids(), [id(1), id(2)]);
    assert_eq!(record.requests(), [2, 2, 2]);
}

#[tokio::test]
async fn who_waits_is_told_when_the_record_is_away() {
    let Setup { journal, .. } = setup(impatient());
    let outcome = soon("record", journal.record(vec![entry(1)])).await;
    assert!(matches!(outcome, Err(JournalError::Unavailable(_))), "{outcome:?}");
    assert!(journal.has_room(tenant(1)), "its memory is free again");
}

#[tokio::test]
async fn who_waits_is_told_when_the_record_does_not_answer() {
    let Setup { bus, record, journal, .. } = setup(impatient());
    serve(&bus, &record, &Arc::new(Semaphore::new(0)), takes).await;
    let outcome = soon("record", journal.record(vec![entry(1)])).await;
    assert!(matches!(outcome, Err(JournalError::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_short_absence_is_not_noticed() {
    let Setup { bus, record, journal, .. } = setup(JournalConfig::default());
    let caller = tokio::spawn(async move { journal.record(vec![entry(1)]).await });
    tokio::task::yield_now().await;
    serve(&bus, &record, &open_gate(), takes).await;
    assert_eq!(soon("record", caller).await.unwrap(), Ok(vec![JournalOutcome::Recorded]));
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_record() {
    let Setup { bus, record, journal, .. } = setup(JournalConfig::default());
    let leaving = tokio::time::timeout(Duration::ZERO, journal.record(vec![entry(1)])).await;
    assert!(leaving.is_err(), "it left before the answer");
    serve(&bus, &record, &open_gate(), takes).await;
    until("it is recorded", || record.ids() == [id(1)]).await;
}

fn in_small_batches() -> JournalConfig {
    JournalConfig { batch_entries: 256, ..JournalConfig::default() }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let Setup { journal, .. } = setup(in_small_batches());
    let many = (0..257).map(entry).collect();
    assert_eq!(journal.record(many).await, Err(JournalError::TooLarge));
    let huge = entry_of(tenant(1), 1, bus::MAX_FRAME_BYTES);
    assert_eq!(journal.record(vec![huge.clone()]).await, Err(JournalError::TooLarge));
    assert_eq!(journal.queue(huge), Err(Full));
    let homeless = JournalEntry { tenant: "nobody".to_owned(), ..entry(1) };
    assert_eq!(journal.record(vec![homeless]).await, Err(JournalError::NoTenant));
}

#[tokio::test]
async fn queued_entries_are_recorded_in_order_and_batched() {
    let Setup { bus, record, journal, .. } = setup(in_small_batches());
    serve(&bus, &record, &open_gate(), takes).await;
    for number in 0..1_000 {
        journal.queue(entry(number)).unwrap();
    }
    soon("flush", journal.flush()).await;
    assert_eq!(record.ids(), (0..1_000).map(id).collect::<Vec<_>>());
    assert!(record.requests().len() <= 8, "{:?}", record.requests());
    assert!(record.requests().iter().all(|entries| *entries <= 256));
    soon("flush of nothing", journal.flush()).await;
}

#[tokio::test]
async fn a_batch_is_limited_in_bytes() {
    let config = JournalConfig { batch_bytes: 10_000, ..JournalConfig::default() };
    let Setup { bus, record, journal, .. } = setup(config);
    serve(&bus, &record, &open_gate(), takes).await;
    for number in 0..9 {
        journal.queue(entry_of(tenant(1), number, 3_000)).unwrap();
    }
    journal.queue(entry_of(tenant(1), 9, 30_000)).unwrap();
    soon("flush", journal.flush()).await;
    assert_eq!(record.ids().len(), 10);
    assert!(record.requests().iter().all(|entries| *entries <= 3), "{:?}", record.requests());
}

#[tokio::test]
async fn a_full_tenant_is_told_and_others_have_room() {
    let Setup { bus, record, journal, .. } =
        setup(JournalConfig { tenant_entries: 100, ..impatient() });
    for number in 0..100 {
        assert_eq!(journal.has_room(tenant(1)), number < 75, "{number}");
        journal.queue(entry(number)).unwrap();
    }
    assert_eq!(journal.queue(entry(100)), Err(Full));
    let waiting = journal.record(vec![entry(101)]).await;
    assert_eq!(waiting, Err(JournalError::Full(Full)));

    assert!(journal.has_room(tenant(2)));
    journal.queue(entry_of(tenant(2), 200, 0)).unwrap();

    // The record comes back: nothing that was taken is missing, and there is room again.
    serve(&bus, &record, &open_gate(), takes).await;
    soon("flush", journal.flush()).await;
    assert_eq!(record.ids(), (0..100).chain([200]).map(id).collect::<Vec<_>>());
    assert!(journal.has_room(tenant(1)));
    journal.queue(entry(100)).unwrap();
}

#[tokio::test]
async fn memory_is_limited_in_bytes_per_tenant_and_in_all() {
    let config =
        JournalConfig { tenant_bytes: 10_000, total_bytes: 15_000, ..JournalConfig::default() };
    let Setup { journal, .. } = setup(config);
    let large = |of, number| journal.queue(entry_of(tenant(of), number, 6_000));
    assert_eq!(large(1, 1), Ok(()));
    assert_eq!(large(1, 2), Err(Full), "the tenant's share");
    assert_eq!(large(2, 3), Ok(()));
    assert_eq!(large(3, 4), Err(Full), "all there is");
    assert!(!journal.has_room(tenant(3)));
}

#[tokio::test]
async fn calls_that_wait_for_their_record_are_not_begun_while_it_is_away() {
    let Setup { bus, record, journal, .. } = setup(impatient());
    assert!(journal.can_record(tenant(1)), "nothing is known against it");
    assert!(journal.record(vec![entry(1)]).await.is_err());
    assert!(!journal.can_record(tenant(1)));
    assert!(journal.has_room(tenant(1)), "what does not wait can still be queued");

    serve(&bus, &record, &open_gate(), takes).await;
    until("it is noticed that it is back", || journal.can_record(tenant(1))).await;
    assert!(record.ids().is_empty(), "it was asked with nothing to record");
    assert!(!journal.is_sure(), "its store may be away");
    assert_eq!(journal.record(vec![entry(2)]).await, Ok(vec![JournalOutcome::Recorded]));
    assert!(journal.is_sure());
}

#[tokio::test]
async fn a_record_without_its_store_is_tried_again_after_a_while() {
    let Setup { bus, record, journal, .. } = setup(impatient());
    let unavailable_once = |_: &JournalEntry, attempt| match attempt {
        1 => "UNAVAILABLE",
        _ => "",
    };
    serve(&bus, &record, &open_gate(), unavailable_once).await;
    let outcomes = journal.record(vec![entry(1)]).await.unwrap();
    assert!(matches!(outcomes.as_slice(), [JournalOutcome::Refused { .. }]), "{outcomes:?}");
    assert!(!journal.can_record(tenant(1)));
    until("somebody may try", || journal.can_record(tenant(1))).await;
    assert!(!journal.is_sure());
    assert_eq!(journal.record(vec![entry(1)]).await, Ok(vec![JournalOutcome::Recorded]));
    assert!(journal.can_record(tenant(1)));
}

#[tokio::test]
async fn what_may_be_taken_later_is_sent_again_and_the_rest_is_given_up() {
    let Setup { bus, record, journal, .. } = setup(impatient());
    let moody = |entry: &JournalEntry, attempt| match (entry.event_id == id(2), attempt) {
        (true, _) => "INVALID_ARGUMENT",
        (false, 1) => "RESOURCE_EXHAUSTED",
        (false, 2) => "UNAVAILABLE",
        _ => "",
    };
    serve(&bus, &record, &open_gate(), moody).await;
    for number in 1..=3 {
        journal.queue(entry(number)).unwrap();
    }
    soon("flush", journal.flush()).await;
    assert_eq!(record.ids(), [id(1), id(3)]);
    assert_eq!(record.requests(), [3, 2, 2]);
}

#[tokio::test]
async fn after_a_stop_nothing_is_taken_and_nobody_waits_for_ever() {
    let Setup { bus, record, journal, shutdown } = setup(JournalConfig::default());
    let gate = Arc::new(Semaphore::new(0));
    serve(&bus, &record, &gate, takes).await;
    // Two are under way, the third waits for its turn.
    let callers: Vec<_> = (0..3)
        .map(|number| {
            let caller = journal.clone();
            tokio::spawn(async move { caller.record(vec![entry(number)]).await })
        })
        .collect();
    until("requests are under way", || !record.requests().is_empty()).await;
    shutdown.cancel();
    gate.add_permits(10);
    for caller in callers {
        let outcome = soon("a caller", caller).await.unwrap();
        let recorded = Ok(vec![JournalOutcome::Recorded]);
        assert!(outcome == recorded || outcome == Err(JournalError::Stopped), "{outcome:?}");
    }
    until("it is stopped", || !journal.has_room(tenant(1))).await;
    assert_eq!(journal.queue(entry(9)), Err(Full));
    assert_eq!(journal.record(vec![entry(9)]).await, Err(JournalError::Stopped));
}

#[tokio::test]
async fn what_is_queued_at_a_stop_is_still_sent() {
    let config = JournalConfig { linger: Duration::from_secs(60), ..JournalConfig::default() };
    let Setup { bus, record, journal, shutdown } = setup(config);
    serve(&bus, &record, &open_gate(), takes).await;
    for number in 0..300 {
        journal.queue(entry(number)).unwrap();
    }
    shutdown.cancel();
    until("all are recorded", || record.ids().len() == 300).await;
}

#[tokio::test]
async fn what_is_queued_while_the_bus_is_away_is_recorded_once_it_is_back() {
    let bus = InProcessBus::default();
    let (outage, record) = (Outage::over(bus.clone()), Arc::<Record>::default());
    let config = JournalConfig { tenant_entries: 100, ..impatient() };
    let journal = Journal::start(Arc::new(outage.clone()), config, CancellationToken::new());
    serve(&bus, &record, &open_gate(), takes).await;
    outage.begin();
    assert!(journal.record(vec![entry(500)]).await.is_err(), "who waits is told");
    until("it is known", || !journal.can_record(tenant(1))).await;
    for number in 0..100 {
        journal.queue(entry(number)).unwrap();
    }
    assert_eq!(journal.queue(entry(100)), Err(Full), "it does not grow without end");
    outage.end();
    soon("flush", journal.flush()).await;
    assert_eq!(record.ids(), (0..100).map(id).collect::<Vec<_>>());
    until("it is noticed that it is back", || journal.can_record(tenant(1))).await;
    assert_eq!(journal.record(vec![entry(101)]).await, Ok(vec![JournalOutcome::Recorded]));
}

#[tokio::test]
async fn one_who_stands_still_keeps_nobody_from_recording() {
    let Setup { bus, record, journal, .. } = setup(JournalConfig::default());
    let still = Arc::new(Semaphore::new(0));
    serve(&bus, &record, &still, takes).await;
    serve(&bus, &record, &open_gate(), takes).await;
    for number in 0..4 {
        let outcomes = soon("record", journal.record(vec![entry(number)])).await;
        assert_eq!(outcomes, Ok(vec![JournalOutcome::Recorded]), "{number}");
    }
    assert_eq!(record.ids().len(), 4, "each once");
}

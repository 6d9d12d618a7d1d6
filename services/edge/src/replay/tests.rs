use std::time::Duration;

use super::*;

fn limits(change: impl FnOnce(&mut EdgeLimits)) -> Arc<ReplayLimits> {
    let mut limits = EdgeLimits { stall: Duration::from_millis(20), ..EdgeLimits::default() };
    change(&mut limits);
    ReplayLimits::new(&limits)
}

fn message(number: usize) -> Bytes {
    Bytes::from(format!("\"{number:06}\""))
}

/// The number of the event, and what it says.
async fn read(reader: &mut LogReader) -> Option<(u64, String)> {
    let text = String::from_utf8(reader.next().await?.to_vec()).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let id = EventId::parse(field("id: ")).unwrap();
    Some((id.event, field("data: ").to_owned()))
}

#[tokio::test]
async fn a_reader_gets_what_comes_after_the_event_it_names() {
    let log = StreamLog::new(7, &limits(|_| {}));
    for number in 1..=3 {
        log.send(&message(number)).await;
    }
    let mut first = log.read(None).primed();
    assert_eq!(read(&mut first).await, Some((0, String::new())));
    assert_eq!(read(&mut first).await, Some((1, "\"000001\"".to_owned())));
    assert_eq!(read(&mut first).await, Some((2, "\"000002\"".to_owned())));
    // It was handed out, but the client got the first one only.
    let mut second = log.read(Some(1));
    assert_eq!(read(&mut first).await, None);
    drop(first);
    assert!(log.is_read());
    assert_eq!(read(&mut second).await, Some((2, "\"000002\"".to_owned())));
    assert_eq!(read(&mut second).await, Some((3, "\"000003\"".to_owned())));
    log.send(&message(4)).await;
    log.end();
    assert_eq!(read(&mut second).await, Some((4, "\"000004\"".to_owned())));
    assert_eq!(read(&mut second).await, None);
    assert_eq!(log.try_send(&message(5)), Err(Undelivered::Closed));
}

#[tokio::test]
async fn a_reader_that_is_sent_away_gets_what_was_said_and_when_to_come_back() {
    let log = StreamLog::new(7, &limits(|_| {}));
    let pause = || log.pause(Duration::from_millis(40));
    let mut first = log.read(None).primed();
    log.send(&message(1)).await;
    pause();
    assert_eq!(read(&mut first).await, Some((0, String::new())));
    assert_eq!(read(&mut first).await, Some((1, "\"000001\"".to_owned())));
    let last = first.next().await.unwrap();
    assert_eq!(last, "id: 7-1\nretry: 40\ndata: \n\n");
    assert!(!log.is_read());
    log.send(&message(2)).await;
    assert_eq!(first.next().await, None);
    // Nobody is there to be sent away; nor is the next one because of it.
    pause();
    let mut second = log.read(Some(1));
    assert_eq!(read(&mut second).await, Some((2, "\"000002\"".to_owned())));
    // With the end said, there is nothing to come back for.
    pause();
    log.end();
    assert_eq!(second.next().await, None);
}

#[tokio::test]
async fn what_was_read_is_kept_within_its_bounds() {
    for limits in [limits(|l| l.replay_messages = 2), limits(|l| l.replay_bytes = 16)] {
        let log = StreamLog::new(1, &limits);
        let mut reader = log.read(None);
        for number in 1..=5 {
            log.send(&message(number)).await;
            assert_eq!(read(&mut reader).await.unwrap().0, number as u64);
        }
        let mut again = log.read(Some(0));
        assert_eq!(read(&mut again).await.unwrap().0, 4);
        assert_eq!(read(&mut again).await.unwrap().0, 5);
        assert_eq!(log.bytes(), 16);
    }
}

#[tokio::test]
async fn without_a_reader_the_oldest_go_and_the_last_stays() {
    let log = StreamLog::new(1, &limits(|l| l.replay_bytes = 4));
    for number in 1..=5 {
        log.send(&message(number)).await;
    }
    log.end();
    let mut reader = log.read(Some(0));
    assert_eq!(read(&mut reader).await, Some((5, "\"000005\"".to_owned())));
    assert_eq!(read(&mut reader).await, None);
}

#[tokio::test]
async fn a_reader_that_does_not_read_loses_the_stream_and_nothing_is_lost() {
    let log = StreamLog::new(1, &limits(|l| l.outbox_messages = 2));
    let mut slow = log.read(None);
    for number in 1..=3 {
        log.send(&message(number)).await;
    }
    assert_eq!(read(&mut slow).await, None);
    let mut next = log.read(Some(0));
    for number in 1..=3 {
        assert_eq!(read(&mut next).await.unwrap().0, number);
    }
}

#[tokio::test]
async fn all_streams_together_are_bounded() {
    let limits = limits(|l| l.replay_total_bytes = 10);
    let (one, two) = (StreamLog::new(1, &limits), StreamLog::new(2, &limits));
    for log in [&one, &two] {
        for number in 1..=3 {
            log.send(&message(number)).await;
        }
    }
    assert_eq!((one.bytes(), two.bytes()), (8, 8));
    assert!(limits.is_full());
    let mut reader = one.read(None);
    assert_eq!(read(&mut reader).await.unwrap().0, 3);
    one.end();
    drop(reader);
    // Read, ended, and too much in all: it need not wait for its time.
    assert!(one.is_over(Duration::from_secs(60)));
    drop(one);
    assert!(!limits.is_full());
}

#[tokio::test]
async fn a_stream_is_over_when_its_time_is() {
    let log = StreamLog::new(1, &limits(|_| {}));
    log.send(&message(1)).await;
    assert!(!log.is_over(Duration::ZERO));
    assert!(log.is_left(Duration::ZERO));
    log.end();
    let reader = log.read(None);
    assert!(!log.is_over(Duration::ZERO));
    drop(reader);
    assert!(log.is_over(Duration::ZERO));
    assert!(!log.is_over(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_stream_that_another_edge_began_passes_over_what_its_client_has() {
    let log = StreamLog::refilled(7, &limits(|_| {}));
    // Its client comes back before anything is said again.
    let mut early = log.read(Some(512));
    for (number, event) in [(1, 256), (2, 512), (3, 768)] {
        log.send_at(event, &message(number)).await;
    }
    assert_eq!(read(&mut early).await, Some((768, "\"000003\"".to_owned())));
    // Or afterwards, and further back.
    let mut late = log.read(Some(256));
    assert_eq!(read(&mut late).await, Some((512, "\"000002\"".to_owned())));
    assert_eq!(read(&mut late).await, Some((768, "\"000003\"".to_owned())));
    assert!(!log.is_told(Duration::ZERO));
    log.send_at(1 << 62, &message(4)).await;
    log.end();
    assert_eq!(read(&mut late).await, Some((1 << 62, "\"000004\"".to_owned())));
    assert!(log.is_told(Duration::ZERO));
    assert!(!log.is_told(Duration::from_secs(60)));
}

#[tokio::test]
async fn numbers_go_up_whatever_they_are() {
    let log = StreamLog::new(7, &limits(|_| {}));
    log.send_at(256, &message(1)).await;
    // A worker that does not number.
    log.send_at(256, &message(2)).await;
    log.send_at(0, &message(3)).await;
    log.send_at(1_024, &message(4)).await;
    let mut reader = log.read(None);
    for expected in [256, 257, 258, 1_024] {
        assert_eq!(read(&mut reader).await.unwrap().0, expected);
    }
    // Whoever names what was never said gets what comes next.
    let mut ahead = log.read(Some(9_999));
    log.send_at(1_280, &message(5)).await;
    assert_eq!(read(&mut ahead).await.unwrap().0, 1_280);
}

#[tokio::test]
async fn what_another_edge_said_comes_before_what_is_said_here() {
    let said = [(3, message(3)), (4, message(4)), (1_000, message(9))];
    let log = StreamLog::recalled(0, 1_000, &said, &limits(|_| {}));
    log.send(&message(5)).await;
    let mut reader = log.read(Some(3));
    assert_eq!(read(&mut reader).await, Some((4, "\"000004\"".to_owned())));
    // What claims to be of this edge is not of that one.
    assert_eq!(read(&mut reader).await, Some((1_000, "\"000005\"".to_owned())));
}

use domain::ProjectId;
use uuid::Uuid;

use super::*;

fn sessions(all: usize, per_key: usize) -> Sessions {
    let limits = EdgeLimits { sessions: all, sessions_per_key: per_key, ..EdgeLimits::default() };
    Sessions::new(limits, None)
}

fn key() -> ApiKeyId {
    ApiKeyId::from_uuid(Uuid::now_v7())
}

fn scope() -> Scope {
    Scope::Unified("p".parse::<ProjectId>().unwrap())
}

#[test]
fn a_session_is_found_by_its_own_key_and_scope_only() {
    let (sessions, mine) = (sessions(9, 9), key());
    let session = sessions.create(mine, scope()).ok().unwrap();
    let id = session.id.as_str();
    assert!(sessions.find(id, mine, &scope()).is_some());
    assert!(sessions.find(id, key(), &scope()).is_none());
    let other = Scope::Unified("q".parse().unwrap());
    assert!(sessions.find(id, mine, &other).is_none());
    assert!(sessions.find("unknown", mine, &scope()).is_none());
    sessions.end(&session.id, Cause::Deleted);
    assert!(sessions.find(id, mine, &scope()).is_none());
    assert!(session.ended.is_cancelled());
}

#[test]
fn limits_hold_and_an_ended_session_makes_room() {
    let (sessions, mine) = (sessions(3, 2), key());
    let first = sessions.create(mine, scope()).ok().unwrap();
    assert!(sessions.create(mine, scope()).is_ok());
    assert_eq!(sessions.create(mine, scope()).err(), Some(Refused::TooMany));
    assert!(sessions.create(key(), scope()).is_ok());
    assert_eq!(sessions.create(key(), scope()).err(), Some(Refused::TooMany));
    sessions.end(&first.id, Cause::Closed);
    sessions.end(&first.id, Cause::Closed);
    assert!(sessions.create(mine, scope()).is_ok());
}

#[test]
fn a_cancellation_reaches_the_last_request_under_an_id() {
    let session = sessions(1, 1).create(key(), scope()).ok().unwrap();
    let (first, second) = (session.begin(&Id::number(1)), session.begin(&Id::number(1)));
    drop(first);
    session.cancel(&Id::string("1"));
    assert!(!second.cancel.is_cancelled());
    session.cancel(&Id::number(1));
    assert!(second.cancel.is_cancelled());
}

#[tokio::test]
async fn what_was_asked_and_not_answered_ends_with_the_session() {
    let sessions = sessions(1, 1);
    let session = sessions.create(key(), scope()).ok().unwrap();
    session.open(Opening {
        revision: Revision::LATEST,
        client: String::new(),
        capabilities: Some(Bytes::from_static(br#"{"roots":{}}"#)),
        client_info: None,
    });
    let mut asker = Asker::new(&session, ServerId::from_uuid(Uuid::now_v7()));
    let question = || proto::internal::v1::ServerRequest {
        id: "1".to_owned(),
        method: "roots/list".to_owned(),
        params: Bytes::new(),
    };
    assert!(asker.ask(question(), None).is_ok());
    sessions.end(&session.id, Cause::Deleted);
    let Reaction::Answer(id, answer) = asker.reaction().await else { panic!("no answer") };
    assert!(id == "1" && answer.is_err());
    assert!(asker.ask(question(), None).is_err());
}

#[test]
fn a_silent_session_ends_and_one_with_a_stream_does_not() {
    let limits = EdgeLimits { session_idle: Duration::ZERO, ..EdgeLimits::default() };
    let sessions = Sessions::new(limits.clone(), None);
    let silent = sessions.create(key(), scope()).ok().unwrap();
    let streaming = sessions.create(key(), scope()).ok().unwrap();
    let events = streaming.attach(&limits);
    sessions.sweep();
    assert!(silent.ended.is_cancelled());
    assert!(!streaming.ended.is_cancelled());
    drop(events);
    sessions.sweep();
    assert!(streaming.ended.is_cancelled());
}

#[tokio::test]
async fn ten_thousand_abandoned_sessions_leave_nothing() {
    let limits = EdgeLimits {
        session_idle: Duration::ZERO,
        sessions_per_key: usize::MAX,
        ..EdgeLimits::default()
    };
    let sessions = Sessions::new(limits, None);
    let mine = key();
    let message = Bytes::from(vec![b'1'; 1_000]);
    let mut left = Vec::new();
    for _ in 0..10_000 {
        let session = sessions.create(mine, scope()).ok().unwrap();
        let opening = Opening {
            revision: Revision::LATEST,
            client: "c".to_owned(),
            capabilities: Some(Bytes::from_static(br#"{"roots":{}}"#)),
            client_info: None,
        };
        session.open(opening);
        let answer = session.open_stream();
        drop(answer.read(None));
        answer.send(&message).await;
        answer.end();
        drop(session.listen());
        session.tell(&message);
        left.push(Arc::downgrade(&session));
    }
    assert!(sessions.held_bytes() >= 20_000_000);
    sessions.sweep();
    assert_eq!(sessions.all().len(), 0);
    assert!(left.iter().all(|session| session.upgrade().is_none()));
    assert_eq!(sessions.held_bytes(), 0);
    assert!(sessions.capacity() < 1_024);
}

#[tokio::test]
async fn what_nobody_comes_back_for_is_dropped_and_a_stream_in_use_is_not() {
    let limits = EdgeLimits {
        replay_ttl: Duration::ZERO,
        session_idle: Duration::from_secs(60),
        ..EdgeLimits::default()
    };
    let sessions = Sessions::new(limits, None);
    let session = sessions.create(key(), scope()).ok().unwrap();
    session.open(Opening {
        revision: Revision::LATEST,
        client: String::new(),
        capabilities: None,
        client_info: None,
    });
    let message = Bytes::from_static(b"{}");
    let (over, running, read) =
        (session.open_stream(), session.open_stream(), session.open_stream());
    let _reader = read.read(None);
    for log in [&over, &running, &read] {
        log.send(&message).await;
    }
    over.end();
    read.end();
    drop(session.listen());
    session.tell(&message);
    let event = |stream| EventId { stream, event: 0 };
    sessions.sweep();
    assert!(session.resume(event(over.number())).is_none());
    assert!(session.resume(event(running.number())).is_some());
    assert!(session.resume(event(read.number())).is_some());
    // What was said unasked is gone, too; its numbers go on.
    let mut standing = session.listen();
    session.tell(&message);
    let next = standing.next().await.unwrap();
    assert!(next.starts_with(b"event: message\nid: 0-2\n"), "{next:?}");
}

#[tokio::test]
async fn answers_that_are_kept_are_bounded_for_a_session() {
    let bounded = |change: fn(&mut EdgeLimits)| {
        let mut limits = EdgeLimits::default();
        change(&mut limits);
        Sessions::new(limits, None)
    };
    let by_count = bounded(|limits| limits.replay_streams = 2);
    let by_bytes = bounded(|limits| limits.replay_session_bytes = 5);
    for sessions in [by_count, by_bytes] {
        let session = sessions.create(key(), scope()).ok().unwrap();
        let mut numbers = Vec::new();
        for _ in 0..4 {
            let log = session.open_stream();
            log.send(&Bytes::from_static(b"{}")).await;
            log.end();
            numbers.push(log.number());
        }
        sessions.sweep();
        let is_kept =
            |stream: &u64| session.resume(EventId { stream: *stream, event: 0 }).is_some();
        let kept: Vec<_> = numbers.iter().map(is_kept).collect();
        assert_eq!(kept, [false, false, true, true]);
    }
}

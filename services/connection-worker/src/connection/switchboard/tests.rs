use super::*;

fn notification(method: &str, params: &'static [u8]) -> (String, Bytes) {
    (method.to_owned(), Bytes::from_static(params))
}

fn tell(board: &Switchboard, method: &str) {
    let (method, params) = notification(method, b"{}");
    board.tell(method, params);
}

/// The method of what comes next; nothing else may come.
async fn method(heard: impl Future<Output = Heard>) -> String {
    match heard.await {
        Heard::Notification(said) => said.method,
        _ => panic!("no notification"),
    }
}

async fn silent(heard: impl Future<Output = Heard>) -> bool {
    tokio::select! {
        biased;
        _ = heard => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn what_is_said_goes_to_the_call_that_is_alone_or_to_all_who_are_attached() {
    for (clientele, call_hears_logs, call_hears_all) in [
        (Clientele::Many, true, false),
        (Clientele::One, false, false),
        (Clientele::OneCall, true, true),
    ] {
        let board = Switchboard::new(clientele);
        let mut attachment = board.attach(&Wants::default()).unwrap();
        let mut call = board.seat();
        tell(&board, LOG_METHOD);
        assert_eq!(silent(call.next()).await, !call_hears_logs, "{clientele:?}");
        assert_eq!(silent(attachment.next()).await, call_hears_logs, "{clientele:?}");
        tell(&board, "notifications/resources/updated");
        assert_eq!(silent(call.next()).await, !call_hears_all, "{clientele:?}");
        assert_eq!(silent(attachment.next()).await, call_hears_all, "{clientele:?}");
        // Two calls: nothing tells to which of them it belongs.
        let mut other = board.seat();
        tell(&board, LOG_METHOD);
        assert!(silent(call.next()).await && silent(other.next()).await, "{clientele:?}");
        assert_eq!(method(attachment.next()).await, LOG_METHOD);
    }
}

#[tokio::test]
async fn each_attachment_hears_the_logs_of_its_level() {
    let board = Switchboard::new(Clientele::Many);
    let wants = Wants { level: Some(LogLevel::Error), ..Wants::default() };
    let (mut quiet, mut all) =
        (board.attach(&wants).unwrap(), board.attach(&Wants::default()).unwrap());
    let (method, params) = notification(LOG_METHOD, br#"{"level":"info","data":1}"#);
    board.tell(method, params);
    assert!(silent(quiet.next()).await && !silent(all.next()).await);
}

#[tokio::test]
async fn who_is_behind_loses_and_holds_up_nobody() {
    let board = Switchboard::new(Clientele::Many);
    let mut behind = board.attach(&Wants::default()).unwrap();
    let mut other = board.attach(&Wants::default()).unwrap();
    for _ in 0..=QUEUE {
        tell(&board, "notifications/resources/updated");
        method(other.next()).await;
    }
    board.end();
    for _ in 0..QUEUE {
        method(behind.next()).await;
    }
    // That the connection ended is never lost.
    assert!(matches!(behind.next().await, Heard::Ended));
    assert!(matches!(other.next().await, Heard::Ended));
    assert!(matches!(board.attach(&Wants::default()).unwrap().next().await, Heard::Ended));
}

#[tokio::test]
async fn interests_are_done_once_the_upstream_was_told() {
    let board = Switchboard::new(Clientele::Many);
    let mut told = Told::default();
    let mut one = board.attach(&Wants::default()).unwrap();
    let mut other = board.attach(&Wants::default()).unwrap();
    one.subscribe(1, "a").unwrap();
    let plan = board.plan(&mut told);
    assert_eq!(plan, [Step::Subscribe("a".to_owned())]);
    assert!(silent(one.next()).await);
    told.note(&plan[0], true);
    board.done(&plan[0], &Bytes::new());
    assert!(matches!(one.next().await, Heard::Done(done) if done.id == 1 && done.error.is_empty()));
    // The second has nothing to wait for.
    other.subscribe(5, "a").unwrap();
    assert_eq!(board.plan(&mut told), []);
    assert!(matches!(other.next().await, Heard::Done(done) if done.id == 5));
    // Who leaves takes its interests back.
    drop(one);
    assert_eq!(board.plan(&mut told), []);
    drop(other);
    assert_eq!(board.plan(&mut told), [Step::Unsubscribe("a".to_owned())]);
}

#[tokio::test]
async fn who_comes_while_the_last_one_is_taken_back_waits_for_its_own_step() {
    let board = Switchboard::new(Clientele::Many);
    let mut told = Told::default();
    let subscribe = Step::Subscribe("a".to_owned());
    told.note(&subscribe, true);
    let plan = board.plan(&mut told);
    assert_eq!(plan, [Step::Unsubscribe("a".to_owned())]);
    let mut late = board.attach(&Wants::default()).unwrap();
    late.subscribe(1, "a").unwrap();
    told.note(&plan[0], true);
    board.done(&plan[0], &Bytes::new());
    assert!(silent(late.next()).await, "the upstream does not report on it");
    assert_eq!(board.plan(&mut told), std::slice::from_ref(&subscribe));
    told.note(&subscribe, true);
    board.done(&subscribe, &Bytes::new());
    assert!(matches!(late.next().await, Heard::Done(done) if done.id == 1));
}

#[tokio::test]
async fn without_a_connection_an_interest_fails_and_is_forgotten() {
    let board = Switchboard::new(Clientele::Many);
    let mut attachment = board.attach(&Wants::default()).unwrap();
    attachment.subscribe(1, "a").unwrap();
    attachment.set_level(2, LogLevel::Info).unwrap();
    board.fail_waiting("it is down");
    // A level is told to the next connection anyway.
    assert!(matches!(attachment.next().await, Heard::Done(done) if done.error.is_empty()));
    assert!(matches!(attachment.next().await, Heard::Done(done) if !done.error.is_empty()));
    assert_eq!(attachment.wants().uris.len(), 0);
    assert_eq!(board.plan(&mut Told::default()), [Step::Level(LogLevel::Info)]);
}

#[tokio::test]
async fn a_level_that_a_call_wants_is_waited_for_once() {
    let board = Switchboard::new(Clientele::OneCall);
    let mut told = Told::default();
    let raised = board.raise(LogLevel::Debug);
    tokio::pin!(raised);
    tokio::select! {
        biased;
        () = &mut raised => panic!("the upstream was not told"),
        () = std::future::ready(()) => {}
    }
    let plan = board.plan(&mut told);
    assert_eq!(plan, [Step::Level(LogLevel::Debug)]);
    told.note(&plan[0], true);
    board.done(&plan[0], &Bytes::new());
    raised.await;
    board.raise(LogLevel::Info).await;
}

#[tokio::test]
async fn what_was_said_before_an_answer_is_heard_before_it() {
    let board = Switchboard::new(Clientele::OneCall);
    let mut call = board.seat();
    let (rest, ()) = tokio::join!(call.rest(), async {
        let caught_up = board.next_barrier().await.unwrap();
        tell(&board, "notifications/message");
        caught_up.send(()).unwrap();
    });
    assert_eq!(rest.len(), 1);
}

#[test]
fn there_are_limits() {
    let board = Switchboard::new(Clientele::Many);
    let attachment = board.attach(&Wants::default()).unwrap();
    for id in 0..MAX_WAITING as u64 {
        attachment.set_level(id, LogLevel::Info).unwrap();
    }
    assert!(attachment.set_level(0, LogLevel::Info).is_err());
    let others: Vec<_> =
        (1..MAX_ATTACHMENTS).map(|_| board.attach(&Wants::default()).unwrap()).collect();
    assert!(board.attach(&Wants::default()).is_err());
    drop(others);
}

//! Limits: what happens when one side is slower than the other, or a frame is large.

use std::future::Future;

use bus::{BusError, ClientSide, MAX_FRAME_BYTES, ServerSide, WINDOW_BYTES, WINDOW_FRAMES};
use bytes::Bytes;
use tokio::time::timeout;

use super::{Fresh, STALLED, filter, subject};

/// Frames that may be under way outside of the window, in an adapter that has a wire.
const UNDER_WAY: usize = 4;

async fn exchange(bus: &Fresh) -> (ClientSide, ServerSide) {
    let mut server = bus.serve(filter("srv.a"), 1).await.expect("served");
    let client = bus.open(&subject("srv.a"), Bytes::new()).await.expect("opened");
    let side = server.accept().await.expect("accepted").exchange;
    (client, side)
}

fn sized(number: usize, size_bytes: usize) -> Bytes {
    let mut frame = number.to_be_bytes().to_vec();
    frame.resize(size_bytes, 0);
    frame.into()
}

fn number_in(frame: &Bytes) -> usize {
    usize::from_be_bytes(frame[..8].try_into().expect("8 bytes"))
}

/// Writes frames until one is held back, and says how many were taken.
async fn fill<F>(size_bytes: usize, mut write: impl FnMut(Bytes) -> F) -> usize
where
    F: Future<Output = Result<(), BusError>>,
{
    let most = 10_000;
    for number in 0..most {
        match timeout(STALLED, write(sized(number, size_bytes))).await {
            Ok(written) => written.expect("written"),
            Err(_) => return number,
        }
    }
    panic!("{most} frames were taken and nobody read");
}

async fn server_is_held_back(bus: Fresh, size_bytes: usize, most: usize) {
    let (client, side) = exchange(&bus).await;
    let taken = fill(size_bytes, |frame| side.reply(frame)).await;
    assert!((1..=most + UNDER_WAY).contains(&taken), "{taken} frames wait unread");
    let writer = tokio::spawn(async move {
        // The frame that was held back was given up, so it is sent again.
        for number in taken..taken + 100 {
            side.reply(sized(number, size_bytes)).await.expect("room after reads");
        }
        side.finish();
    });
    for number in 0..taken + 100 {
        let frame = client.next_frame().await.expect("a frame").expect("no error");
        assert_eq!(number_in(&frame), number, "each frame once, in order");
    }
    assert_eq!(client.next_frame().await, None);
    writer.await.expect("the writer went on");
}

/// The window counts bytes.
pub async fn a_slow_client_holds_the_server_back(bus: Fresh) {
    server_is_held_back(bus, 64 * 1024, WINDOW_BYTES / (64 * 1024)).await;
}

/// The window counts frames, too.
pub async fn a_slow_client_holds_small_frames_back(bus: Fresh) {
    server_is_held_back(bus, 8, WINDOW_FRAMES).await;
}

/// The same holds in the other direction.
pub async fn a_slow_server_holds_follow_ups_back(bus: Fresh) {
    let (client, side) = exchange(&bus).await;
    let taken = fill(8, |follow_up| client.send(follow_up)).await;
    assert!((1..=WINDOW_FRAMES + UNDER_WAY).contains(&taken), "{taken} follow-ups wait unread");
    for number in 0..taken {
        let follow_up = side.next_follow_up().await.expect("a follow-up");
        assert_eq!(number_in(&follow_up), number);
    }
    client.send(sized(taken, 8)).await.expect("room after reads");
    assert_eq!(side.next_follow_up().await.map(|f| number_in(&f)), Some(taken));
}

/// Waiting for room ends when there will be none.
pub async fn a_blocked_writer_learns_that_the_reader_left(bus: Fresh) {
    let (client, side) = exchange(&bus).await;
    fill(8, |frame| side.reply(frame)).await;
    fill(8, |follow_up| client.send(follow_up)).await;
    let blocked = tokio::spawn(async move { side.reply(sized(0, 8)).await });
    drop(client);
    assert_eq!(blocked.await.expect("woken"), Err(BusError::Closed));
}

/// One frame may be larger than the window; the next one waits for it.
pub async fn a_frame_larger_than_the_window_passes(bus: Fresh) {
    let (client, side) = exchange(&bus).await;
    let large = 8 * WINDOW_BYTES;
    let writer = tokio::spawn(async move {
        for number in 0..3 {
            side.reply(sized(number, large)).await.expect("replied");
        }
        side.finish();
    });
    for number in 0..3 {
        let frame = client.next_frame().await.expect("a frame").expect("no error");
        assert_eq!((number_in(&frame), frame.len()), (number, large));
    }
    writer.await.expect("all written");
}

/// In each direction, and the exchange goes on.
pub async fn a_frame_above_the_limit_is_refused(bus: Fresh) {
    let (client, side) = exchange(&bus).await;
    let above = Bytes::from(vec![0; MAX_FRAME_BYTES + 1]);
    let refusals = [
        bus.open(&subject("srv.a"), above.clone()).await.map(|_| ()),
        side.reply(above.clone()).await,
        client.send(above).await,
    ];
    for refusal in refusals {
        let of_limit =
            matches!(refusal, Err(BusError::TooLarge { limit_bytes: MAX_FRAME_BYTES, .. }));
        assert!(of_limit, "{refusal:?}");
    }
    side.reply("small".into()).await.expect("replied");
    assert_eq!(client.next_frame().await, Some(Ok("small".into())));
}

/// A server that does not keep up is busy; nothing piles up in front of it.
pub async fn a_full_queue_is_busy_until_it_is_served(bus: Fresh) {
    let mut server = bus.serve(filter("srv.a"), 2).await.expect("served");
    let mut waiting = Vec::new();
    let refusal = loop {
        match bus.open(&subject("srv.a"), Bytes::new()).await {
            Ok(client) => waiting.push(client),
            Err(refusal) => break refusal,
        }
        assert!(waiting.len() <= 2 + UNDER_WAY, "the queue has a limit");
    };
    assert!(matches!(refusal, BusError::Busy { .. }), "{refusal:?}");
    for client in waiting {
        server.accept().await.expect("accepted").exchange.finish();
        assert_eq!(client.next_frame().await, None);
    }
    bus.open(&subject("srv.a"), Bytes::new()).await.expect("there is room again");
}

/// Reads may stand in a `select!`: giving one up takes nothing with it.
pub async fn an_abandoned_read_loses_no_frame(bus: Fresh) {
    let (client, side) = exchange(&bus).await;
    let writer = tokio::spawn(async move {
        for number in 0..1000 {
            side.reply(sized(number, 8)).await.expect("replied");
            if number % 10 == 0 {
                tokio::task::yield_now().await;
            }
        }
        side.finish();
    });
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            frame = client.next_frame() => match frame {
                Some(frame) => {
                    assert_eq!(number_in(&frame.expect("no error")), number);
                    number += 1;
                }
                None => break,
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(number, 1000);
    writer.await.expect("all written");
}

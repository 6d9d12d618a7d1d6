//! Two links, and a wire that does what the test says.

use futures::FutureExt;
use tokio::sync::mpsc;

use super::*;
use crate::ServerSide;
use crate::nats::outbox::Item;
use crate::pipe::WINDOW_FRAMES;

/// One process.
#[derive(Default)]
struct Process {
    outbox: Arc<Outbox>,
    peers: Peers,
}

impl Process {
    /// What it sends now.
    fn sends(&self) -> Vec<Bytes> {
        let mut sent = Vec::new();
        while let Some(item) = self.outbox.try_next() {
            let Item::Link(link) = item else { panic!("only links speak here") };
            link.begin_turn();
            while let Some(message) = link.next_message() {
                sent.push(message.payload);
            }
        }
        sent
    }

    fn takes(&self, link: &Link, messages: Vec<Bytes>) -> bool {
        let mut is_over = link.is_over();
        for message in messages {
            let message = Message::decode(message).unwrap();
            is_over = link.receive(message, &self.peers, 1);
        }
        is_over
    }
}

struct Both {
    edge: Process,
    worker: Process,
    client: Arc<Link>,
    server: Arc<Link>,
    requests: mpsc::Receiver<Incoming>,
    side: Option<ClientSide>,
}

impl Both {
    /// An exchange whose request arrived, with room for `capacity` in the queue.
    fn opened(first: Bytes, capacity: usize) -> Self {
        let (edge, worker) = (Process::default(), Process::default());
        let (client, request) = Link::client(&edge.outbox, "_INBOX.edge.1.x", 1, first, 1);
        let (queue, requests) = mpsc::channel(capacity);
        let subject = Subject::new("x.a").unwrap();
        let server = Link::server(
            &worker.outbox,
            "_INBOX.worker.1.x",
            2,
            (&worker.peers, client.address(), 1),
            Destination { subject, queue },
        );
        let server = server.unwrap();
        let side = Some(client.client_side());
        worker.takes(&server, vec![request]);
        Self { edge, worker, client, server, requests, side }
    }

    fn accepted(&mut self) -> ServerSide {
        let incoming = self.requests.try_recv().unwrap();
        assert!(incoming.exchange.accept());
        incoming.exchange
    }

    fn side(&self) -> &ClientSide {
        self.side.as_ref().unwrap()
    }

    /// Everything that is said arrives, until nobody says anything.
    fn settle(&self) {
        loop {
            let (to_client, to_server) = (self.worker.sends(), self.edge.sends());
            if to_client.is_empty() && to_server.is_empty() {
                return;
            }
            self.edge.takes(&self.client, to_client);
            self.worker.takes(&self.server, to_server);
        }
    }

    fn next_frame(&self) -> Option<Result<Bytes, BusError>> {
        self.side().next_frame().now_or_never().expect("no waiting")
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("no waiting")
}

#[test]
fn a_small_exchange_is_two_messages() {
    let mut both = Both::opened("question".into(), 1);
    let server = both.accepted();
    now(server.reply("answer".into())).unwrap();
    server.finish();
    drop(server);
    let messages = both.worker.sends();
    assert_eq!(messages.len(), 1, "the answer and its end travel together");
    assert!(both.edge.takes(&both.client, messages));
    assert_eq!(now(both.client.opened()), Ok(()));
    assert_eq!(both.next_frame(), Some(Ok("answer".into())));
    assert_eq!(both.next_frame(), None);
    both.side.take();
    assert!(both.edge.sends().is_empty(), "nobody asks for a word after the end");
    assert!(both.server.is_over());
}

#[test]
fn follow_ups_in_quick_succession_travel_together() {
    let mut both = Both::opened("question".into(), 1);
    let server = both.accepted();
    both.server.answer_is_due();
    both.server.changed();
    both.settle();
    for number in 0..WINDOW_FRAMES {
        now(both.side().send(number.to_string().into())).unwrap();
    }
    let messages = both.edge.sends();
    assert_eq!(messages.len(), 1);
    both.worker.takes(&both.server, messages);
    for number in 0..WINDOW_FRAMES {
        assert_eq!(now(server.next_follow_up()), Some(number.to_string().into()));
    }
}

#[test]
fn a_message_that_is_missing_breaks_the_exchange_for_both() {
    let mut both = Both::opened("question".into(), 1);
    let server = both.accepted();
    for frame in ["one", "two", "three"] {
        now(server.reply(frame.into())).unwrap();
        let messages = both.worker.sends();
        if frame != "two" {
            both.edge.takes(&both.client, messages);
        }
    }
    assert_eq!(both.next_frame(), Some(Ok("one".into())));
    assert_eq!(both.next_frame(), Some(Err(BusError::Closed)), "nothing is skipped");
    assert_eq!(both.next_frame(), None);
    both.settle();
    assert!(server.is_closed(), "the server learns that nobody listens");
    assert!(both.client.is_over() && both.server.is_over());
}

#[test]
fn a_message_that_comes_twice_is_delivered_once() {
    let mut both = Both::opened("question".into(), 1);
    let server = both.accepted();
    now(server.reply("one".into())).unwrap();
    let messages = both.worker.sends();
    both.edge.takes(&both.client, [messages.clone(), messages].concat());
    assert_eq!(both.next_frame(), Some(Ok("one".into())));
    assert_eq!(both.next_frame(), Some(Err(BusError::Closed)));
}

#[test]
fn a_lost_end_is_found_by_comparing() {
    let mut both = Both::opened("question".into(), 1);
    let server = both.accepted();
    now(server.reply("one".into())).unwrap();
    both.settle();
    now(server.reply("lost".into())).unwrap();
    drop(both.worker.sends());
    let (_, progress) = both.server.progress().unwrap();
    assert_eq!((progress.receiver, progress.sender), (1, 2));
    assert!(!both.client.compare(progress.sent));
    assert_eq!(both.next_frame(), Some(Ok("one".into())));
    assert_eq!(both.next_frame(), Some(Err(BusError::Closed)));
}

#[test]
fn comparing_breaks_nothing_that_is_whole() {
    let mut both = Both::opened("question".into(), 1);
    let server = both.accepted();
    now(server.reply("one".into())).unwrap();
    both.settle();
    for (from, to) in [(&both.server, &both.client), (&both.client, &both.server)] {
        assert!(!to.compare(from.progress().unwrap().1.sent));
    }
    now(server.reply("two".into())).unwrap();
    both.settle();
    assert_eq!(both.next_frame(), Some(Ok("one".into())));
    assert_eq!(both.next_frame(), Some(Ok("two".into())));
}

#[test]
fn of_a_large_frame_only_a_window_is_under_way() {
    let large = Bytes::from(vec![7; 5 * WINDOW_BYTES]);
    let mut both = Both::opened("question".into(), 1);
    let server = both.accepted();
    now(server.reply(large.clone())).unwrap();
    assert!(server.reply("next".into()).now_or_never().is_none(), "the next one waits");
    let mut passed = 0;
    while !both.client.is_over() {
        let messages = both.worker.sends();
        if messages.is_empty() {
            break;
        }
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        assert!(bytes <= WINDOW_BYTES + 1024, "{bytes} bytes are under way");
        passed += bytes;
        both.edge.takes(&both.client, messages);
        both.worker.takes(&both.server, both.edge.sends());
    }
    assert!(passed > large.len());
    assert_eq!(both.next_frame(), Some(Ok(large)));
    both.settle();
    now(server.reply("next".into())).unwrap();
    both.settle();
    assert_eq!(both.next_frame(), Some(Ok("next".into())));
}

#[test]
fn a_large_request_waits_until_its_server_is_known() {
    let large = Bytes::from(vec![7; 3 * WINDOW_BYTES]);
    let mut both = Both::opened(large.clone(), 1);
    assert!(both.edge.sends().is_empty());
    both.settle();
    assert_eq!(both.requests.try_recv().unwrap().first, large);
}

#[test]
fn who_does_not_keep_to_the_window_is_cut_off() {
    let both = Both::opened("question".into(), 1);
    let part = || Part { bytes: "x".into(), goes_on: false };
    let parts = (0..=WINDOW_FRAMES).map(|_| part()).collect();
    let message = Message { number: 0, parts, ..Message::default() };
    both.edge.takes(&both.client, vec![message.encode()]);
    let frames = std::iter::from_fn(|| both.next_frame()).collect::<Vec<_>>();
    assert_eq!(frames.len(), WINDOW_FRAMES + 1);
    assert_eq!(frames.last(), Some(&Err(BusError::Closed)));
}

#[test]
fn who_acknowledges_what_was_never_sent_is_cut_off() {
    let both = Both::opened("question".into(), 1);
    let message = Message { taken: 1, queued: true, ..Message::default() };
    both.edge.takes(&both.client, vec![message.encode()]);
    assert_eq!(both.next_frame(), Some(Err(BusError::Closed)));
}

#[test]
fn a_full_queue_refuses_and_a_gone_one_has_not_seen_it() {
    let (queue, requests) = mpsc::channel(1);
    let (_client, exchange) = crate::exchange::pair();
    let subject = Subject::new("x.a").unwrap();
    let waiting = Incoming { subject: subject.clone(), first: "x".into(), exchange };
    queue.try_send(waiting).unwrap();
    let refused = |queue: mpsc::Sender<Incoming>| {
        let (edge, worker) = (Process::default(), Process::default());
        let (client, request) = Link::client(&edge.outbox, "_INBOX.edge.1.x", 1, "x".into(), 1);
        let _side = client.client_side();
        let server = Link::server(
            &worker.outbox,
            "_INBOX.worker.1.x",
            2,
            (&worker.peers, client.address(), 1),
            Destination { subject: subject.clone(), queue },
        );
        let server = server.unwrap();
        worker.takes(&server, vec![request]);
        edge.takes(&client, worker.sends());
        assert!(client.is_over() && server.is_over());
        now(client.opened())
    };
    assert!(matches!(refused(queue.clone()), Err(BusError::Busy { .. })));
    drop(requests);
    assert_eq!(refused(queue), Err(BusError::NoResponders));
}

#[test]
fn a_process_that_leaves_says_whether_a_request_was_taken() {
    for accepts in [false, true] {
        let mut both = Both::opened("question".into(), 1);
        both.server.answer_is_due();
        both.server.changed();
        both.settle();
        let taken = accepts.then(|| both.accepted());
        both.server.close();
        both.settle();
        let expected = if accepts { BusError::Closed } else { BusError::NoResponders };
        assert_eq!(both.next_frame(), Some(Err(expected)));
        if taken.is_none() {
            let waiting = both.requests.try_recv().unwrap();
            assert!(!waiting.exchange.accept(), "its client may ask somebody else now");
        }
    }
}

#[test]
fn a_silent_server_may_have_seen_the_request() {
    let both = Both::opened("question".into(), 1);
    assert_eq!(both.client.unanswered_since(), Some(1));
    assert!(both.client.break_off(), "there is nobody to tell");
    assert_eq!(now(both.client.opened()), Ok(()));
    assert_eq!(both.next_frame(), Some(Err(BusError::Closed)));
}

#[test]
fn a_client_that_gave_up_before_the_answer_is_seen_to_leave() {
    let mut both = Both::opened("question".into(), 1);
    let server = both.accepted();
    both.side.take();
    assert!(both.edge.sends().is_empty(), "it does not know yet whom to tell");
    both.server.answer_is_due();
    both.server.changed();
    both.settle();
    assert!(server.is_closed());
    assert!(both.client.is_over());
}

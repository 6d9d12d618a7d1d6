//! Opening exchanges with other processes, and serving theirs.

use std::sync::Arc;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::away;
use super::core::{Core, Registered};
use super::link::{Destination, Link};
use super::message::{self, Farewell};
use super::names;
use crate::error::check_size;
use crate::pipe::MAX_FRAME_BYTES;
use crate::registration::Registration;
use crate::{BusError, ClientSide, Incoming, MAX_CAPACITY, Server, Subject, SubjectFilter};

/// How many servers of a group are tried while their queues are full, or they are leaving.
const ATTEMPTS: usize = 5;

impl Core {
    pub(super) async fn open(
        &self,
        subject: &Subject,
        first: Bytes,
    ) -> Result<ClientSide, BusError> {
        check_size("a frame", first.len(), MAX_FRAME_BYTES)?;
        let mut attempt = 1;
        loop {
            self.check_reachable()?;
            let (link, request) =
                Link::client(&self.outbox, &self.inbox, new_id(), first.clone(), self.beats());
            self.links.insert(&link)?;
            // From here on, giving up closes the exchange as its client would.
            let side = link.client_side();
            let sent = self.client.publish_with_reply(
                self.names.request(subject),
                link.address().to_owned(),
                request,
            );
            if let Err(error) = sent.await {
                self.links.remove(link.id());
                return Err(away(&error.to_string()));
            }
            match link.opened().await {
                Ok(()) => return Ok(side),
                // No server has seen it, so another one may.
                Err(BusError::Busy { .. } | BusError::NoResponders) if attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }

    pub(super) async fn serve(
        self: &Arc<Self>,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Server, BusError> {
        self.check_reachable()?;
        let registered = self.register("too many servers")?;
        let (sender, queue) = mpsc::channel(capacity.clamp(1, MAX_CAPACITY));
        let requests = self.names.requests(&filter);
        let requests = self.client.queue_subscribe(requests, names::SERVERS.to_owned()).await;
        let requests = requests.map_err(|error| away(&error.to_string()))?;
        self.round_trip().await?;
        let stop = CancellationToken::new();
        tokio::spawn(take_requests(Arc::clone(self), requests, sender, stop.clone(), registered));
        Ok(Server::new(Registration::new(move || stop.cancel()), queue))
    }

    fn receive_request(&self, message: Message, queue: &mpsc::Sender<Incoming>) {
        let Some(reply) = &message.reply else { return };
        let Ok(request) = message::Message::decode(message.payload) else { return };
        let Some(subject) = self.names.subject_of_request(&message.subject) else { return };
        let destination = Destination { subject, queue: queue.clone() };
        let client = (&self.peers, reply.as_str(), self.beats());
        let Some(link) = Link::server(&self.outbox, &self.inbox, new_id(), client, destination)
        else {
            return;
        };
        if self.links.insert(&link).is_err() {
            return self.refuse(reply, Farewell::Busy);
        }
        if link.receive(request, &self.peers, self.beats()) {
            self.links.remove(link.id());
        }
    }

    fn refuse(&self, reply: &str, farewell: Farewell) {
        let refusal = message::Message { farewell: Some(farewell), ..message::Message::default() };
        self.outbox.push_message(reply.to_owned(), refusal.encode());
    }
}

/// Names an exchange; not to be guessed by other processes.
fn new_id() -> u64 {
    Uuid::now_v7().as_u64_pair().1.rotate_left(2)
}

async fn take_requests(
    core: Arc<Core>,
    mut requests: Subscriber,
    queue: mpsc::Sender<Incoming>,
    stop: CancellationToken,
    registered: Registered,
) {
    loop {
        tokio::select! {
            request = requests.next() => match request {
                Some(request) => core.receive_request(request, &queue),
                None => return,
            },
            () = stop.cancelled() => break,
            () = core.closed.cancelled() => break,
        }
    }
    // Nobody looks at what is on its way still, and its clients may ask another server.
    drop(queue);
    tokio::select! {
        () = refuse_the_rest(&core, requests) => {}
        () = core.silent.cancelled() => {}
    }
    drop(registered);
}

/// Leaves the group, and refuses what the server gave to this member before it knew.
async fn refuse_the_rest(core: &Core, mut requests: Subscriber) {
    // The client forgets a subscription as soon as it ends it, and drops what is on its way. With
    // a number of messages to come it does not; this one has more digits than a server reads,
    // which then ends the subscription at once.
    if requests.unsubscribe_after(u64::MAX).await.is_err() {
        return;
    }
    let refuse = |request: Message| {
        if let Some(reply) = &request.reply {
            core.refuse(reply, Farewell::NeverAccepted);
        }
    };
    let mut left = std::pin::pin!(core.round_trip());
    loop {
        tokio::select! {
            biased;
            request = requests.next() => match request {
                Some(request) => refuse(request),
                None => return,
            },
            _ = &mut left => break,
        }
    }
    while let Some(Some(request)) = requests.next().now_or_never() {
        refuse(request);
    }
}

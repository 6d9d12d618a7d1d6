//! The receiving end of [`Bus::serve`](crate::Bus::serve).

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::registration::Registration;
use crate::{ServerSide, Subject};

/// A request that came in, and the exchange that it opened.
#[derive(Debug)]
pub struct Incoming {
    /// To which of the served subjects it went.
    pub subject: Subject,
    /// The request.
    pub first: Bytes,
    /// Where the answer goes.
    pub exchange: ServerSide,
}

/// Takes the requests to the served subjects. Dropping it leaves the group; requests that it did
/// not take yet are answered with [`BusError::NoResponders`](crate::BusError::NoResponders).
#[derive(Debug)]
pub struct Server {
    // First, so that no request is routed here once the queue begins to close.
    _registration: Registration,
    queue: mpsc::Receiver<Incoming>,
}

impl Server {
    pub(crate) fn new(registration: Registration, queue: mpsc::Receiver<Incoming>) -> Self {
        Self { _registration: registration, queue }
    }

    /// The next request; `None` after the bus was shut down. Cancel-safe.
    pub async fn accept(&mut self) -> Option<Incoming> {
        loop {
            let incoming = self.queue.recv().await?;
            if incoming.exchange.accept() {
                return Some(incoming);
            }
        }
    }
}

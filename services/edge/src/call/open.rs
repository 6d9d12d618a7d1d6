//! An exchange that a worker accepted, and what it is still to be told: that may wait, and is told
//! beside listening.

use std::collections::VecDeque;

use backplane::exchange::Exchange;
use bytes::Bytes;
use mcp::envelope;

use super::GATEWAY_ERROR;

/// See the module.
pub(super) struct Open {
    pub(super) exchange: Exchange,
    /// Whether the worker said anything but the end.
    pub(super) is_heard: bool,
    is_cancel_told: bool,
    /// What was asked of a client that is not there, by its ids.
    to_refuse: VecDeque<String>,
}

/// Something the worker is to be told.
pub(super) enum Owed {
    Cancel,
    /// That nobody answers the request with that id.
    Refusal(String),
}

impl Open {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self { exchange, is_heard: false, is_cancel_told: false, to_refuse: VecDeque::new() }
    }

    /// Nobody is there to answer that request.
    pub(super) fn refuse(&mut self, id: String) {
        self.to_refuse.push_back(id);
    }

    /// What is to be told next.
    pub(super) fn owed(&self, is_cancelled: bool) -> Option<Owed> {
        if is_cancelled && !self.is_cancel_told {
            return Some(Owed::Cancel);
        }
        self.to_refuse.front().cloned().map(Owed::Refusal)
    }

    /// It was told.
    pub(super) fn said(&mut self, owed: &Option<Owed>) {
        match owed {
            Some(Owed::Cancel) => self.is_cancel_told = true,
            Some(Owed::Refusal(_)) => drop(self.to_refuse.pop_front()),
            None => {}
        }
    }
}

/// Tells it. Dropping the future tells nothing.
pub(super) async fn owed_said(exchange: &Exchange, owed: &Option<Owed>) {
    // When the worker is gone, the next frame says so.
    let _ = match owed {
        Some(Owed::Cancel) => exchange.cancel("cancelled by the client").await,
        Some(Owed::Refusal(id)) => exchange.answer(id, Err(gone())).await,
        None => Ok(()),
    };
}

/// The answer in place of a client that left.
pub(super) fn gone() -> Bytes {
    let message = "the client does not wait for this call any more";
    envelope::error_object(GATEWAY_ERROR, message, None)
}

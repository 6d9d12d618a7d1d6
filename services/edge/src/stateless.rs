//! Clients of the stateless era (revision 2026-07-28), over Streamable HTTP and over HTTP+SSE.
//!
//! What always holds:
//!
//! - A request is handled by what it says itself; sessions and resumption mean nothing here.
//! - A client is told what it asked for: log messages from its level on, progress under its
//!   token, list changes by its filter. It is asked only what it declared to offer.
//! - A client that goes away ends what it asked for.
//! - A call that waits for input waits here, bounded and for a while; the state that leads back
//!   to it is signed, holds for the same request of the same key, and works once.
//!
//! The way of a request: [`request`](dispatch::request) checks it and finds who answers,
//! [`Conversation`](conversation::Conversation) speaks with the upstream, `over_http` and
//! `over_sse` carry what comes of it.

mod answer;
mod caller;
mod conversation;
mod discover;
mod dispatch;
mod elsewhere;
mod input;
mod limits;
mod listen;
mod listeners;
mod older_tasks;
mod over_http;
mod over_sse;
mod parking;
mod tasks;

use std::sync::Arc;

use bytes::Bytes;
use domain::{ApiKeyId, Timestamp};
use futures::future::join_all;
use mcp::server::ServerInfo;
use mcp::server::stateless::{StateKey, server_info_json};
use secrecy::{ExposeSecret, SecretBox};

use caller::Slots;
use listeners::Listeners;
use parking::Parking;

use crate::edge::Shared;
use crate::scope::Scope;

pub use limits::StatelessLimits;
pub(crate) use over_http::{message, names_revision, not_allowed};
pub(crate) use over_sse::message as sse_message_in;

/// What all stateless requests share.
pub(crate) struct Stateless {
    /// Who we are, as raw JSON.
    server_info: Bytes,
    states: StateKey,
    parking: Parking,
    pub(crate) listeners: Arc<Listeners>,
    slots: Slots,
}

impl Stateless {
    /// `key` signs the states that clients bring back, here or at another edge.
    pub(crate) fn new(limits: &StatelessLimits, key: &SecretBox<[u8; 32]>) -> Self {
        let info = ServerInfo { name: "mcp-orch", title: None, version: env!("CARGO_PKG_VERSION") };
        Self {
            server_info: server_info_json(&info),
            states: StateKey::from_bytes(key.expose_secret()),
            parking: Parking::new(limits),
            listeners: Arc::new(Listeners::new(limits)),
            slots: Slots::new(limits.calls_per_key),
        }
    }

    /// Ends what waited too long.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.parking.end_expired(now.as_micros() / 1_000);
        self.slots.forget_unused();
    }

    /// Ends what belongs to keys that may do nothing any more.
    pub(crate) fn end_revoked(&self, is_allowed: impl Fn(ApiKeyId, &Scope) -> bool) {
        self.parking.retain(&is_allowed);
        self.listeners.retain(&is_allowed);
    }

    /// Ends all subscriptions, and tells their clients that it is on purpose. Calls that wait go on
    /// at another edge, where edges share, and end otherwise.
    pub(crate) async fn close(&self, shared: &Shared) {
        self.listeners.close(&self.server_info);
        let giving = self.parking.close().into_iter();
        let giving = giving.map(|(number, parked)| elsewhere::give_up(shared, number, parked));
        join_all(giving).await;
    }
}

//! A stateless client as the caller of an upstream.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::ApiKeyId;
use domain::server::Isolation;
use mcp::Protocol;
use mcp::server::stateless::RequestMeta;
use proto::internal::v1::Peer;
use ring::digest::{Context, SHA256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::auth::Grant;
use crate::call::{Caller, Conduct};
use crate::edge::Shared;
use crate::session::RunningGuard;

/// The rights of each key to calls at once.
pub(super) struct Slots {
    per_key: usize,
    keys: Mutex<HashMap<ApiKeyId, Arc<Semaphore>>>,
}

impl Slots {
    pub(super) fn new(per_key: usize) -> Self {
        Self { per_key, keys: Mutex::default() }
    }

    fn take(&self, key: ApiKeyId) -> Option<OwnedSemaphorePermit> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = keys.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.per_key)));
        Arc::clone(slots).try_acquire_owned().ok()
    }

    /// Keys without a call need not be remembered.
    pub(super) fn forget_unused(&self) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, slots| slots.available_permits() < self.per_key);
    }
}

/// The caller of a request. Over HTTP+SSE `guard` lets its client cancel it by its id.
pub(super) fn caller(
    shared: &Shared,
    grant: &Grant,
    meta: &RequestMeta,
    isolation: Isolation,
    guard: Option<RunningGuard>,
) -> Caller {
    let cancel = guard.as_ref().map_or_else(CancellationToken::new, |guard| guard.cancel.clone());
    Caller {
        client: meta.client(),
        session: String::new(),
        slot: shared.stateless.slots.take(grant.key),
        cancel,
        guard,
        peer: Some(peer(grant, meta, isolation)),
        conduct: Conduct::Stateless,
        orphan: orphan(shared, meta),
    }
}

/// How long a call outlives its edge: as long as it may wait for input, if it may.
fn orphan(shared: &Shared, meta: &RequestMeta) -> Duration {
    let may_wait = shared.roaming.is_some() && meta.capabilities.contains(&b'"');
    if may_wait { shared.config.limits.stateless.input_wait } else { Duration::ZERO }
}

fn peer(grant: &Grant, meta: &RequestMeta, isolation: Isolation) -> Peer {
    let session = match isolation {
        Isolation::Shared => String::new(),
        Isolation::Session => peer_name(grant, meta),
    };
    Peer {
        // What an upstream asks over a connection of its own must belong to one request.
        exclusive: !session.is_empty(),
        session,
        capabilities: meta.capabilities.clone(),
        client_info: meta.client_info.clone().unwrap_or_default(),
        revision: Protocol::STATELESS.to_owned(),
        log_level: meta.log_level.clone().unwrap_or_default(),
    }
}

/// Connections are shared among the requests of one key whose clients can do the same.
fn peer_name(grant: &Grant, meta: &RequestMeta) -> String {
    let mut context = Context::new(&SHA256);
    for part in [grant.key.to_string().as_bytes(), &meta.capabilities] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().iter().take(16).fold("stateless-".to_owned(), |mut name, byte| {
        // Writing into a String cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

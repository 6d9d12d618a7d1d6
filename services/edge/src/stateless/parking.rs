//! Calls that wait for their clients' input: bounded in all and per key, for a while, each taken
//! up once. Where edges share, others know of them: they are asked for here as long as this edge
//! lives, and taken over when it is gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::ApiKeyId;
use proto::internal::v1::{ParkedCall, ServerRequest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::call::Running;
use crate::scope::Scope;

use super::limits::StatelessLimits;

/// A call that waits.
pub(super) struct Parked {
    pub(super) running: Running,
    /// What its upstream asked, and nobody answered yet.
    pub(super) asked: Vec<ServerRequest>,
    pub(super) key: ApiKeyId,
    pub(super) scope: Scope,
    /// Milliseconds since the epoch.
    pub(super) expires_at_ms: i64,
}

impl Parked {
    /// What other edges must know of it; `None` if it is over.
    pub(super) fn record(&self) -> Option<ParkedCall> {
        let server = match &self.scope {
            Scope::Unified(_) => String::new(),
            Scope::Server(_, server) => server.to_string(),
        };
        Some(ParkedCall {
            home: String::new(),
            project: self.scope.project().to_string(),
            server,
            call: Some(self.running.forwarded()?),
            asked: self.asked.clone(),
            after_frame: self.running.last_frame(),
            expires_at_ms: self.expires_at_ms,
        })
    }
}

/// No more calls may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The calls that wait.
pub(super) struct Parking {
    random: SystemRandom,
    all: usize,
    per_key: usize,
    is_closed: AtomicBool,
    calls: Mutex<HashMap<[u8; 16], Parked>>,
}

impl Parking {
    pub(super) fn new(limits: &StatelessLimits) -> Self {
        Self {
            random: SystemRandom::new(),
            all: limits.parked_calls,
            per_key: limits.parked_calls_per_key,
            is_closed: AtomicBool::new(false),
            calls: Mutex::default(),
        }
    }

    /// Lets a call wait; says under which number. At a limit the call ends.
    pub(super) fn put(&self, parked: Parked) -> Result<[u8; 16], Full> {
        let mut number = [0; 16];
        self.random.fill(&mut number).map_err(|_| Full)?;
        self.put_back(number, parked).map(|()| number)
    }

    /// Lets a call wait on under the number that it had. At a limit it ends, and once no call may
    /// wait any more.
    pub(super) fn put_back(&self, number: [u8; 16], parked: Parked) -> Result<(), Full> {
        let mut calls = self.calls();
        let of_key = calls.values().filter(|call| call.key == parked.key).count();
        let is_full = calls.len() >= self.all || of_key >= self.per_key;
        if is_full || self.is_closed.load(Ordering::Acquire) {
            metrics::counter!("mcp_orch_parked_calls_refused_total").increment(1);
            drop(calls);
            return Err(Full);
        }
        let before = calls.insert(number, parked);
        metrics::gauge!("mcp_orch_parked_calls").set(calls.len() as f64);
        drop(calls);
        // Dropping a call cancels it upstream: not under the lock.
        drop(before);
        Ok(())
    }

    /// Takes a call up; nobody else can after that.
    pub(super) fn take(&self, number: [u8; 16], now_ms: i64) -> Option<Parked> {
        let mut calls = self.calls();
        let parked = calls.remove(&number);
        metrics::gauge!("mcp_orch_parked_calls").set(calls.len() as f64);
        // Dropping a call cancels it upstream: not under the lock.
        drop(calls);
        parked.filter(|parked| parked.expires_at_ms > now_ms)
    }

    /// Ends the calls that waited too long.
    pub(super) fn end_expired(&self, now_ms: i64) {
        self.drop_unless(|parked| parked.expires_at_ms > now_ms);
    }

    /// Ends the calls of keys that may do nothing any more.
    pub(super) fn retain(&self, is_allowed: impl Fn(ApiKeyId, &Scope) -> bool) {
        self.drop_unless(|parked| is_allowed(parked.key, &parked.scope));
    }

    /// Gives all of them; from now on none may wait.
    pub(super) fn close(&self) -> Vec<([u8; 16], Parked)> {
        self.is_closed.store(true, Ordering::Release);
        let all = std::mem::take(&mut *self.calls());
        metrics::gauge!("mcp_orch_parked_calls").set(0.0);
        all.into_iter().collect()
    }

    /// Whether a call waits here under that number.
    pub(super) fn has(&self, number: [u8; 16]) -> bool {
        self.calls().contains_key(&number)
    }

    /// What other edges must know of the call of that number; `None` if it is not to be had by
    /// them.
    pub(super) fn record(&self, number: [u8; 16]) -> Option<ParkedCall> {
        self.calls().get(&number).and_then(Parked::record)
    }

    fn drop_unless(&self, keep: impl Fn(&Parked) -> bool) {
        let mut calls = self.calls();
        let gone: Vec<_> = calls.extract_if(|_, parked| !keep(parked)).collect();
        metrics::gauge!("mcp_orch_parked_calls").set(calls.len() as f64);
        drop(calls);
        // Dropping a call cancels it upstream: not under the lock.
        drop(gone);
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<[u8; 16], Parked>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What an operator sets of an edge, and its limits.

use std::time::Duration;

/// The configuration of an edge.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Scheme, host and port under which clients reach it, without a slash at the end.
    pub public_url: String,
    /// Whether it listens on loopback only: then requests that name another host are refused,
    /// which is what DNS rebinding looks like.
    pub loopback: bool,
    /// Origins of web pages that may speak to it, beside its own.
    pub allowed_origins: Vec<String>,
    /// Its limits.
    pub limits: EdgeLimits,
}

/// The limits of an edge. Hitting one is a clear error.
#[derive(Clone, Debug)]
pub struct EdgeLimits {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// Most sessions in all.
    pub sessions: usize,
    /// Most sessions opened with one key.
    pub sessions_per_key: usize,
    /// Most messages that wait on a stream for a client that does not read.
    pub outbox_messages: usize,
    /// Most bytes that wait on a stream, unless a single message is larger.
    pub outbox_bytes: usize,
    /// How long a message waits for a full stream; then the client counts as one that does not
    /// read, and its stream ends.
    pub stall: Duration,
    /// How long a session may be silent.
    pub session_idle: Duration,
    /// Most calls that are under way at once.
    pub calls_in_flight: usize,
    /// Most calls of one session whose answers were not taken yet.
    pub calls_per_session: usize,
    /// How long a request body may take to arrive.
    pub body_wait: Duration,
    /// Most messages in a batch.
    pub batch_messages: usize,
    /// How long a first list waits for servers that were never seen.
    pub first_list_wait: Duration,
    /// How old the configuration may be before everything is refused.
    pub stale_after: Duration,
    /// Time between comments that keep a stream from looking idle.
    pub keep_alive: Duration,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            body_bytes: 4 * 1024 * 1024,
            sessions: 20_000,
            sessions_per_key: 2_000,
            outbox_messages: 1_024,
            outbox_bytes: 8 * 1024 * 1024,
            stall: Duration::from_secs(30),
            session_idle: Duration::from_secs(30 * 60),
            calls_in_flight: 8_192,
            calls_per_session: 1_024,
            body_wait: Duration::from_secs(30),
            batch_messages: 100,
            first_list_wait: Duration::from_secs(2),
            stale_after: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
        }
    }
}

//! What an operator sets of an edge, and its limits.

use std::time::Duration;

use crate::stateless::StatelessLimits;

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
    /// Whether it is one of several edges that serve each other's sessions, over what they share.
    /// An edge that is alone has no use for it, and is quicker without.
    pub shared_sessions: bool,
    /// Whether a server whose worker is gone gets another one: then calls wait for it a while.
    pub cluster: bool,
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
    /// Most messages that are kept of a stream for a client that comes back.
    pub replay_messages: usize,
    /// Most bytes that are kept of a stream, unless its last message is larger.
    pub replay_bytes: usize,
    /// Most bytes that are kept of the streams of a session that are over.
    pub replay_session_bytes: usize,
    /// Most streams of a session that are kept when they are over.
    pub replay_streams: usize,
    /// Most bytes that are kept of all streams of all sessions, but for the last message of each.
    pub replay_total_bytes: usize,
    /// How long a stream is kept when it is over, or when nobody listens.
    pub replay_ttl: Duration,
    /// How long a client should wait before it resumes a stream.
    pub retry: Duration,
    /// How long a call may last before its answer becomes a stream that can be resumed.
    pub early_stream: Duration,
    /// Most requests of servers to the client of one session that wait for its answers.
    pub client_requests: usize,
    /// How long a client may take to answer a server's request.
    pub client_answer: Duration,
    /// Most resources that a session may be subscribed to.
    pub subscriptions: usize,
    /// How long a session may be silent.
    pub session_idle: Duration,
    /// How long a call that is answered on a stream, or waits for its client, goes on when its edge
    /// is gone, for another edge to take it over. Only where edges share their sessions.
    pub orphan: Duration,
    /// How long a call that no worker accepted waits for one to own its server. Only in a cluster.
    pub takeover_wait: Duration,
    /// Most requests that are forwarded to other edges at once, and most that are answered for
    /// them; streams count as long as they are open.
    pub forwards: usize,
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
    /// The limits of stateless clients.
    pub stateless: StatelessLimits,
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
            replay_messages: 256,
            replay_bytes: 1024 * 1024,
            replay_session_bytes: 4 * 1024 * 1024,
            replay_streams: 64,
            replay_total_bytes: 256 * 1024 * 1024,
            replay_ttl: Duration::from_secs(5 * 60),
            retry: Duration::from_secs(1),
            early_stream: Duration::from_millis(100),
            client_requests: 64,
            client_answer: Duration::from_secs(10 * 60),
            subscriptions: 1_000,
            session_idle: Duration::from_secs(30 * 60),
            orphan: Duration::from_secs(30),
            takeover_wait: Duration::from_secs(10),
            forwards: 20_000,
            calls_in_flight: 8_192,
            calls_per_session: 1_024,
            body_wait: Duration::from_secs(30),
            batch_messages: 100,
            first_list_wait: Duration::from_secs(2),
            stale_after: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
            stateless: StatelessLimits::default(),
        }
    }
}

/// The longest that the record of a session that is open is not written again.
const MAX_REFRESH: Duration = Duration::from_secs(5 * 60);

impl EdgeLimits {
    /// How often the record of a session that is open is written again.
    pub(crate) fn session_refresh(&self) -> Duration {
        (self.session_idle / 4).clamp(Duration::from_secs(1), MAX_REFRESH)
    }
}

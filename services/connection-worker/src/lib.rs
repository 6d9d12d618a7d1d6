//! Keeps the connections to upstream MCP servers and carries clients' requests to them.
//!
//! [`Worker`] follows the configuration, keeps one connection for each enabled server that it owns
//! (stdio, SSE, Streamable HTTP), watches it, and writes its state and its catalogue to the record. Over
//! the bus it serves the exchanges of its servers, tests of servers, and their logs.
//!
//! What always holds:
//! - One server's trouble never delays another: each has an actor, a limit and time limits of its
//!   own.
//! - A request is sent upstream at most once, and only while this worker owns the server for
//!   sure. Only connections are tried again.
//! - No secret of a server leaves this crate in a state, a log line or a stored body, but only to
//!   the server itself and in what the server answers to its clients.
//! - No process survives its worker, not even after SIGKILL: see [`reaper`].
//! - Nothing here decides who may call what, and nothing reaches a database.
//!
//! Where to look: `plan` says what to start and stop, `owner` does it; `connection` is the actor
//! of one server; `session` the connections of single clients; `exchange` the path of a call, also
//! of one that outlives its edge, and of what is listened to; `stdio` and [`reaper`] the child
//! processes; `mask` and `launch` the secrets.

mod backoff;
mod config;
mod connection;
mod exchange;
mod handshake;
mod labels;
mod launch;
mod mask;
mod meters;
mod owner;
mod plan;
mod presence;
pub mod reaper;
mod server_log;
mod session;
mod severity;
mod stdio;
mod worker;

pub use config::WorkerConfig;
pub use labels::detect_labels;
pub use stdio::ReaperCommand;
pub use worker::{EventIds, Random, Worker, WorkerDeps, WorkerError, WorkerHandle};

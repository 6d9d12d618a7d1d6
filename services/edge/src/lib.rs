//! The edge: the MCP endpoints of all projects, over Streamable HTTP and HTTP+SSE, for clients of
//! both eras: those that open a session with `initialize` (revisions up to 2025-11-25), and those
//! that have none (2026-07-28, `stateless`).
//!
//! What always holds:
//!
//! - Every request is authenticated and authorized from memory, before its body is read.
//! - Lists are answered from memory; no upstream is ever waited for, but by its own calls.
//! - Bodies pass as bytes: only names, URIs and ids are spliced.
//! - By the project's audit mode no answered, or no executed, call is unrecorded.
//! - A session belongs to the key and the scope that opened it. Where there are several edges, any
//!   of them serves it (`roaming`).
//!
//! The way of a request: `http` checks it, `streamable` or `sse` reads the message,
//! `dispatch` answers it or hands it to `call`, and `record` writes it down. What a call says to a
//! session's client goes through `telling` onto a stream that `replay` keeps for a while; what
//! servers say outside of calls comes over `attachments`.

mod attachments;
mod auth;
mod bodies;
mod call;
mod config;
mod denial;
mod dispatch;
mod edge;
mod facts;
mod hearing;
mod http;
mod incoming;
mod interests;
mod merged;
mod origin;
mod outbox;
mod record;
mod replay;
mod roaming;
mod route;
mod scope;
mod session;
mod sse;
mod stateless;
mod stream;
mod streamable;
mod task_list;
mod task_owners;
mod telling;
mod view;

pub use config::{EdgeConfig, EdgeLimits};
pub use edge::{Edge, EdgeDeps};
pub use stateless::StatelessLimits;

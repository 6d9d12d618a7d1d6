//! The edge: the MCP endpoints of all projects, for clients of the era that opens with
//! `initialize` (revisions up to 2025-11-25), over Streamable HTTP and HTTP+SSE.
//!
//! What always holds:
//!
//! - Every request is authenticated and authorized from memory, before its body is read.
//! - Lists are answered from memory; no upstream is ever waited for, but by its own calls.
//! - Bodies pass as bytes: only names, URIs and ids are spliced.
//! - By the project's audit mode no answered, or no executed, call is unrecorded.
//! - A session belongs to the key and the scope that opened it.
//!
//! The way of a request: `http` checks it, `streamable` or `sse` reads the message,
//! `dispatch` answers it or hands it to `call`, and `record` writes it down.

mod auth;
mod bodies;
mod call;
mod config;
mod denial;
mod dispatch;
mod edge;
mod http;
mod incoming;
mod merged;
mod origin;
mod outbox;
mod record;
mod route;
mod scope;
mod session;
mod sse;
mod stream;
mod streamable;

pub use config::{EdgeConfig, EdgeLimits};
pub use edge::{Edge, EdgeDeps};

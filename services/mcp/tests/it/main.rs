//! The client half against peers that speak the wire: a scripted process over pipes, and HTTP
//! servers on real sockets.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, too")]

mod asked;
mod learn;
mod listen;
mod peer;
mod probe;
mod sse;
mod stateless;
mod stdio;
mod stdio_failures;
mod streamable;
mod streamable_failures;
mod tls;

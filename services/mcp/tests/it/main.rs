//! The client half against peers that speak the wire: a scripted process over pipes, and HTTP
//! servers on real sockets.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, too")]

mod learn;
mod peer;
mod sse;
mod stdio;
mod stdio_failures;
mod streamable;
mod streamable_failures;
mod tls;

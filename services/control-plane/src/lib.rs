//! The control plane: commands, queries, users, and the keeper of the log for the other services.
//!
//! What always holds:
//!
//! - A command is answered after its events are durable and the views have taken them in, so
//!   that who reads next reads what was written.
//! - Each use case takes a [`Ctx`] first and authorizes by it. What is not there and what is not
//!   the caller's look the same.
//! - The views are a fold of the log and nothing else; `verify` proves it.
//! - Several replicas may run on one log. Each answers everything; one leads, and only it publishes,
//!   beats and cleans up. A read on one shows what another answered before.
//! - No value of a secret is in an event, a view, a log line or a message on the bus.
//!
//! To add a use case: a file in `use_case/` with its command and its function; then a method in
//! `grpc/` or `rest/` that parses the request, calls it and shows the answer.

pub mod app;
pub mod backbone;
pub mod client_config;
pub mod context;
mod control_plane;
mod fault;
mod freshness;
pub mod grpc;
pub mod identity;
pub mod import;
pub mod launch;
pub mod ownership;
pub mod rest;
pub mod shell;
pub mod use_case;
pub mod verify;
pub mod views;

pub use app::{App, Deps, IdSource, Paging, PublishedMark, Unmarked, leads_alone};
pub use context::{Ctx, Principal};
pub use freshness::STALE_HEADER;

pub use control_plane::{BuildError, Config, ControlPlane, Handle, router};

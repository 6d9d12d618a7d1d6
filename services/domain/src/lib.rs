//! The rules of mcp-orch, free of IO, of `async` and of clocks.
//!
//! An aggregate is a module with its state, its commands and two functions: `decide` says which
//! events a command makes, or why it is refused; `evolve` says what the state is after an event.
//! To add a rule: a test of the refusal first, then `decide`. To add an event: a variant in
//! [`event`], an arm in `evolve`, a message in `proto`, a mapping in the crate `events`.

pub mod access;
pub mod api_key;
pub mod call;
pub mod connection;
pub mod error;
pub mod event;
pub mod ids;
pub mod organization;
pub mod project;
pub mod server;
pub mod text;
pub mod time;
pub mod user;

pub use access::{Actor, Role};
pub use error::{ErrorCode, Refusal};
pub use event::{Event, SecretRef};
pub use ids::{
    ApiKeyId, CallId, EventId, InvalidId, ProjectId, ServerId, StreamId, StreamKind, TenantId,
    UserId,
};
pub use time::Timestamp;

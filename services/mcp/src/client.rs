//! The half that talks to upstream servers, over stdio, legacy SSE and Streamable HTTP.
//!
//! A [`Connector`] opens a [`Connection`], which carries concurrent requests under ids of its own.
//! What always holds: a request is written at most once, and its failure says whether it may have
//! run ([`RequestError`]); only an answer is taken for an answer (a request of the server that
//! happens to share an id is not); a lost connection ends, it is never silently replaced by
//! another session; every queue and message has a limit.
//!
//! To add a transport: a variant of [`Target`], a module that opens it, and a variant of the
//! half that sends (`outbound`); the rest does not change.

mod connection;
mod connector;
mod error;
mod event_source;
mod events;
mod http;
mod learn;
mod legacy_sse;
mod link;
mod options;
mod outbound;
mod pending;
mod pipes;
mod post;
mod streamable;

pub use connection::{Connected, Connection, ServerHello, SetupTimes};
pub use connector::Connector;
pub use error::{CloseCause, ConnectError, RequestError, SendFailure, Stage, Transport};
pub use events::{ConnectionEvent, Events};
pub use learn::{CatalogueOutcome, LearnLimits, ListError, ListFailure, learn_catalogue};
pub use options::{ClientInfo, ClientOptions, HttpTarget, RequestOptions, Target};
pub use pending::{Frame, Pending, Reply};

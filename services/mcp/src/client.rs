//! The half that talks to upstream servers, over stdio, legacy SSE and Streamable HTTP.
//!
//! A [`Connector`] opens a [`Connection`], which carries concurrent requests under ids of its own,
//! in whichever era the server speaks: with a session that `initialize` opens, or without one, where
//! each request says all that the server must know. What differs between them ends here: who holds
//! a connection asks, subscribes and answers in the same way.
//!
//! What always holds: a request is written at most once, and its failure says whether it may have
//! run ([`RequestError`]); only an answer is taken for an answer (a request of the server that
//! happens to share an id is not); a lost connection ends, it is never silently replaced by
//! another session; every queue and message has a limit.
//!
//! To add a transport: a variant of [`Target`], a module that opens it, and a variant of the
//! half that sends (`outbound`); the rest does not change.

mod asked;
mod connection;
mod connector;
mod error;
mod event_source;
mod events;
mod hop;
mod http;
mod interest;
mod learn;
mod legacy_sse;
mod link;
mod listen;
mod options;
mod outbound;
mod pending;
mod pipes;
mod post;
mod probe;
mod start;
mod streamable;
mod tool_headers;

pub use connection::{Connected, Connection, ServerHello, SetupTimes};
pub use connector::Connector;
pub use error::{CloseCause, ConnectError, RequestError, SendFailure, Stage, Transport};
pub use events::{ConnectionEvent, Events, ServerRequest};
pub use interest::InterestError;
pub use learn::{CatalogueOutcome, LearnLimits, ListError, ListFailure, learn_catalogue};
pub use options::{
    ClientInfo, ClientOptions, EraChoice, HttpTarget, RequestMeta, RequestOptions, Target,
};
pub use pending::{Frame, Pending, Reply};

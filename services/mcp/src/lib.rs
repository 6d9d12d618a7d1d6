//! The wire: the Model Context Protocol as a transparent gateway speaks it.
//!
//! Messages stay the bytes they arrived in ([`envelope`]); only the spans that must change are
//! changed ([`splice`]). [`client`] is the half that talks to upstream servers over stdio, SSE and
//! Streamable HTTP; [`server`] holds the rules of the half that faces clients. [`naming`], [`uri`]
//! and [`catalogue`] make many servers look like one.
//!
//! What always holds here: nothing knows of tenants or storage; a request is written to an
//! upstream at most once; every buffer, queue and list has a limit; no header value and no query
//! of a URL reaches a log line or an error text.

pub mod catalogue;
pub mod client;
mod digest;
pub mod envelope;
mod log_level;
pub mod naming;
pub mod revision;
pub mod scan;
pub mod server;
pub mod splice;
pub mod sse;
pub mod stdio;
pub mod uri;

pub use catalogue::{Catalogue, ListKind, MergedCatalogue};
pub use envelope::{Envelope, ErrorObject, Id, Kind, code};
pub use log_level::LogLevel;
pub use revision::{Protocol, Revision};

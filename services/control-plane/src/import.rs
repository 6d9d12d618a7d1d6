//! Servers from the configuration files of MCP clients, taken over by name.
//!
//! What always holds:
//!
//! - A file is one change: parsed whole, planned against what there is, then applied entry by
//!   entry. A bad entry is refused by its name with a reason; the others go on.
//! - `type` is believed: an entry of type `sse` is never taken for anything else, whatever its
//!   path. Only an entry that does not say gets [`Probe`](domain::server::Transport::Probe).
//! - How a server is started or reached follows the file as a whole. Settings that the file does
//!   not name (timeouts, approvals, enabled or not) stay what they are.
//! - Nothing that is reported holds a value that may be secret.

mod apply;
mod described;
mod difference;
mod fields;
mod file;
mod plan;

pub use apply::{ImportServers, ImportedServer, import_servers};
pub use described::Described;
pub(crate) use described::transport_name;
pub use fields::Fields;
pub use file::{ConfigFile, Entry, MAX_FILE_BYTES, MAX_SERVERS, parse};
pub use plan::{Existing, ImportAction, Step, plan};

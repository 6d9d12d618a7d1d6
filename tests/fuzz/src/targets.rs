//! The rules, target by target.

mod catalogue;
mod codec;
mod framing;
mod message;
mod places;
mod state;

pub use catalogue::catalogue;
pub use codec::{header_value, naming, uri};
pub use framing::{sse, stdio};
pub use message::{batch, envelope, scan, splice};
pub use places::places;
pub use state::request_state;

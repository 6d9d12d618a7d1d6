//! Server-sent events: writing them and reading them.

mod decode;
mod encode;

pub use decode::{Decoder, SseError, SseEvent};
pub use encode::{EventText, KEEP_ALIVE, comment};

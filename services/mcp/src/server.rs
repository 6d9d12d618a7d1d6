//! The rules of the half that faces clients, as far as they are pure protocol.

mod headers;
mod initialize;
mod method;
mod notify;
mod session;

pub use headers::{
    HeaderRefusal, PROTOCOL_VERSION, SESSION_ID, accepts_event_stream, accepts_message_answers,
    is_json, protocol_version,
};
pub use initialize::{InitializeRequest, InitializeResult, ServerInfo};
pub use method::{Method, is_client_notification};
pub use notify::{
    EMPTY_RESULT, cancelled_request, list_changed, progress, sse_endpoint, sse_message,
};
pub use session::SessionId;

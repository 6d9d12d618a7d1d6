//! The rules of the half that faces clients, as far as they are pure protocol.

mod ask;
mod event_id;
mod headers;
mod initialize;
mod input;
mod method;
mod notify;
mod session;
pub mod stateless;

pub use ask::check_ask;
pub use event_id::EventId;
pub use headers::{
    HeaderRefusal, LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID, accepts_event_stream,
    accepts_message_answers, is_json, prefers_event_stream, protocol_version,
};
pub use initialize::{InitializeRequest, InitializeResult, ServerInfo};
pub use input::{InputRequest, InputRequired};
pub use method::{Method, is_client_notification};
pub use notify::{
    EMPTY_RESULT, cancelled_request, list_changed, progress, sse_endpoint, sse_event, sse_message,
    sse_priming,
};
pub use session::SessionId;

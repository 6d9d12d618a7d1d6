//! The rules of the stateless revision 2026-07-28, as a server must apply them: pure, without IO
//! or clocks.
//!
//! What always holds: nothing is said to a client that it did not ask for by this revision's own
//! rules; a refusal carries its JSON-RPC code and its HTTP status together; what a client brings
//! back (`requestState`) is believed only after its signature was checked.

mod capability;
mod discover;
mod era;
mod input;
mod listen;
mod meta;
mod method;
mod param_headers;
mod refusal;
mod request_headers;
mod result;
mod state;
mod tasks;

pub use capability::{TASKS_EXTENSION, declares_tasks, missing_for_input, tasks_requirement};
pub use discover::{CacheHint, CacheScope, DiscoverResult, server_info_json};
pub use era::is_stateless;
pub use input::{
    InputRequest, InvalidResponses, check_response, input_requests, input_required,
    input_responses, without_input,
};
pub use listen::{ListenFilter, acknowledged, listen_ended, with_subscription};
pub use meta::{RequestMeta, without_hop};
pub use method::{CallMethod, StatelessMethod, TaskMethod};
pub use param_headers::{ParamHeader, check_param_headers, param_headers};
pub use refusal::{Refusal, code};
pub use request_headers::{check_request_headers, decode_header_value};
pub use result::{ResultType, complete, requested_state, result_type};
pub use state::{Binding, SealedState, StateKey, StateRefused, request_digest};
pub use tasks::task_to_extension;

/// The revision as it is written on the wire.
pub(crate) const REVISION: &str = crate::Protocol::STATELESS;

/// The members of `_meta` that the revision reserves.
pub(crate) mod key {
    pub(crate) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub(crate) const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub(crate) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    pub(crate) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    pub(crate) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    pub(crate) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
}

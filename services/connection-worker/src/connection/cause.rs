//! Why a connection does not stand or does not work, in words for people.
//!
//! The texts for HTTP (`HTTP 401: Unauthorized`, `Failed to connect to SSE server: Connection
//! timeout`, `Invalid JSON-RPC 2.0 response`) are stable and come from the crate `mcp`.

use std::time::Duration;

use mcp::client::{CloseCause, ConnectError, ListError, ListFailure};

use crate::reaper::protocol::Exit;

/// The longest cause, in characters: what an observation may hold.
const MAX_CHARS: usize = 500;

/// Cuts a text to what an observation may hold.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_owned(),
        Some(_) => text.chars().take(MAX_CHARS - 1).chain(['…']).collect(),
    }
}

/// Why connecting failed.
pub(super) fn connecting(error: &ConnectError, initialize_timeout: Duration) -> String {
    match error {
        ConnectError::InitializeTimeout => {
            format!("initialize was not answered within {} s", initialize_timeout.as_secs())
        }
        other => other.to_string(),
    }
}

/// A program that ended before it could be talked to.
pub(super) fn ended_early(exit: Exit) -> String {
    format!("{exit} before initialize")
}

/// Why a connection that stood is gone.
pub(super) fn lost(close: &CloseCause, exit: Option<Exit>) -> String {
    match exit {
        Some(exit) => format!("the process {exit}"),
        None => close.to_string(),
    }
}

/// Which lists could not be learned.
pub(crate) fn lists(failures: &[ListFailure], limit: Duration) -> String {
    let texts: Vec<String> = failures
        .iter()
        .map(|failure| match &failure.error {
            ListError::Timeout => {
                format!("{} did not answer within {} s", failure.list.method(), limit.as_secs())
            }
            error => format!("{}: {error}", failure.list.method()),
        })
        .collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use mcp::ListKind;

    use super::*;

    #[test]
    fn causes_name_what_is_wrong() {
        let limit = Duration::from_secs(10);
        assert_eq!(ended_early(Exit::Code(3)), "exited with status 3 before initialize");
        let failure = ListFailure { list: ListKind::Tools, error: ListError::Timeout };
        assert_eq!(lists(&[failure], limit), "tools/list did not answer within 10 s");
        assert_eq!(
            connecting(&ConnectError::InitializeTimeout, limit),
            "initialize was not answered within 10 s"
        );
        assert_eq!(
            connecting(&ConnectError::Timeout(mcp::client::Transport::Sse), limit),
            "Failed to connect to SSE server: Connection timeout"
        );
        assert_eq!(
            lost(&CloseCause::Ended, Some(Exit::Signal(9))),
            "the process was ended by SIGKILL"
        );
    }

    #[test]
    fn long_causes_are_cut() {
        assert_eq!(cut(&"ü".repeat(500)), "ü".repeat(500));
        assert_eq!(cut(&"ü".repeat(501)).chars().count(), 500);
    }
}

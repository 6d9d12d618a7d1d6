//! Why a connection does not stand or does not work, in words for people.
//!
//! The texts for HTTP (`HTTP 401: Unauthorized`, `Failed to connect to SSE server: Connection
//! timeout`, `Invalid JSON-RPC 2.0 response`) are stable and come from the crate `mcp`.
//!
//! What always holds: words of an upstream or of a library are masked here, and our own are not,
//! for a secret value may well be one of them (an argument `tools/list`).

use std::time::Duration;

use mcp::client::{CloseCause, ConnectError, ListError, ListFailure, RequestError, SendFailure};

use crate::mask::Masker;
use crate::reaper::protocol::Exit;
use crate::stdio::{FLOOD_BYTES, FLOOD_WINDOW};

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
pub(super) fn connecting(
    error: &ConnectError,
    initialize_timeout: Duration,
    masker: &Masker,
) -> String {
    let mask = |words: &str| masker.mask_text(words).into_owned();
    let masked = match error {
        ConnectError::InitializeTimeout => {
            return format!(
                "initialize was not answered within {} s",
                initialize_timeout.as_secs()
            );
        }
        ConnectError::Configuration(cause) => ConnectError::Configuration(mask(cause)),
        ConnectError::Unreachable { transport, cause } => {
            ConnectError::Unreachable { transport: *transport, cause: mask(cause) }
        }
        ConnectError::Refused { code, message } => {
            ConnectError::Refused { code: *code, message: mask(message) }
        }
        ConnectError::UnsupportedRevision(revision) => {
            ConnectError::UnsupportedRevision(mask(revision))
        }
        ConnectError::Closed(close) => ConnectError::Closed(closed(close, masker)),
        ours @ (ConnectError::Timeout(_)
        | ConnectError::Http(_)
        | ConnectError::NotAnEventStream
        | ConnectError::EndpointRefused(_)
        | ConnectError::ProbeBroke
        | ConnectError::NotStateless
        | ConnectError::InvalidResponse) => ours.clone(),
    };
    masked.to_string()
}

/// A program that ended before it could be talked to.
pub(super) fn ended_early(exit: Exit) -> String {
    format!("{exit} before initialize")
}

/// Why a connection that stood is gone.
pub(super) fn lost(close: &CloseCause, exit: Option<Exit>, masker: &Masker) -> String {
    match exit {
        Some(exit) => format!("the process {exit}"),
        None => closed(close, masker).to_string(),
    }
}

/// Why a request has no answer.
pub(crate) fn request(error: &RequestError, masker: &Masker) -> String {
    let mask = |failure: &SendFailure| match failure {
        SendFailure::Closed(close) => SendFailure::Closed(closed(close, masker)),
        SendFailure::Unreachable(cause) => {
            SendFailure::Unreachable(masker.mask_text(cause).into_owned())
        }
        SendFailure::Broken(cause) => SendFailure::Broken(masker.mask_text(cause).into_owned()),
        ours @ (SendFailure::TimedOut
        | SendFailure::Http(_)
        | SendFailure::Busy
        | SendFailure::Parameters) => ours.clone(),
    };
    match error {
        RequestError::NotSent(failure) => RequestError::NotSent(mask(failure)).to_string(),
        RequestError::Unknown(failure) => RequestError::Unknown(mask(failure)).to_string(),
        ours => ours.to_string(),
    }
}

fn closed(close: &CloseCause, masker: &Masker) -> CloseCause {
    match close {
        CloseCause::Broken(cause) => CloseCause::Broken(masker.mask_text(cause).into_owned()),
        ours => ours.clone(),
    }
}

/// Which lists could not be learned.
pub(crate) fn lists(failures: &[ListFailure], limit: Duration, masker: &Masker) -> String {
    let texts: Vec<String> = failures
        .iter()
        .map(|ListFailure { list, error }| match error {
            ListError::Timeout => {
                format!("{} did not answer within {} s", list.method(), limit.as_secs())
            }
            ListError::Refused { .. } => {
                format!("{}: {}", list.method(), masker.mask_text(&error.to_string()))
            }
            ListError::Request(error) => format!("{}: {}", list.method(), request(error, masker)),
            ours => format!("{}: {ours}", list.method()),
        })
        .collect();
    texts.join("; ")
}

/// A server that writes to stderr without measure. Says no number that moves, so that a flood
/// that goes on is one observation.
pub(super) fn flood() -> String {
    let (limit_kib, window) = (FLOOD_BYTES / 1024, FLOOD_WINDOW.as_secs());
    format!("wrote more than {limit_kib} KiB to stderr within {window} s")
}

#[cfg(test)]
mod tests {
    use mcp::ListKind;

    use super::*;

    #[test]
    fn causes_name_what_is_wrong() {
        let limit = Duration::from_secs(10);
        let masker = Masker::default();
        assert_eq!(ended_early(Exit::Code(3)), "exited with status 3 before initialize");
        let failure = ListFailure { list: ListKind::Tools, error: ListError::Timeout };
        assert_eq!(lists(&[failure], limit, &masker), "tools/list did not answer within 10 s");
        assert_eq!(
            connecting(&ConnectError::InitializeTimeout, limit, &masker),
            "initialize was not answered within 10 s"
        );
        assert_eq!(
            connecting(&ConnectError::Timeout(mcp::client::Transport::Sse), limit, &masker),
            "Failed to connect to SSE server: Connection timeout"
        );
        assert_eq!(
            lost(&CloseCause::Ended, Some(Exit::Signal(9)), &masker),
            "the process was ended by SIGKILL"
        );
        assert_eq!(flood(), "wrote more than 256 KiB to stderr within 10 s");
    }

    #[test]
    fn only_the_words_of_others_are_masked() {
        let limit = Duration::from_secs(10);
        let secrets = ["tools/list", "initialize", "connection", "canary-value"];
        let masker = Masker::new(secrets).unwrap();
        let failed = |list, error| ListFailure { list, error };
        let failures = [
            failed(ListKind::Tools, ListError::Timeout),
            failed(
                ListKind::Prompts,
                ListError::Refused { code: -32_603, message: "not with canary-value".to_owned() },
            ),
        ];
        assert_eq!(
            lists(&failures, limit, &masker),
            "tools/list did not answer within 10 s; prompts/list: not with *** (-32603)"
        );
        let refused =
            ConnectError::Refused { code: -32_000, message: "no canary-value here".to_owned() };
        assert_eq!(
            connecting(&refused, limit, &masker),
            "initialize was refused: no *** here (-32000)"
        );
        let broken = CloseCause::Broken("after canary-value".to_owned());
        assert_eq!(lost(&broken, None, &masker), "the connection broke: after ***");
        assert_eq!(
            connecting(&ConnectError::Closed(broken), limit, &masker),
            "the connection ended during initialize: the connection broke: after ***"
        );
    }

    #[test]
    fn of_a_failed_request_only_the_words_of_others_are_masked() {
        let masker = Masker::new(["answer", "connection", "canary-value"]).unwrap();
        let broken = || SendFailure::Broken("at canary-value".to_owned());
        for (error, text) in [
            (RequestError::Timeout, "no answer in time"),
            (RequestError::TooLarge(5), "the answer is larger than 5 bytes"),
            (RequestError::Unknown(broken()), "the connection broke: at ***"),
            (RequestError::NotSent(broken()), "the connection broke: at ***"),
            (
                RequestError::Unknown(SendFailure::Closed(CloseCause::Ended)),
                "the server ended the connection",
            ),
            (
                RequestError::NotSent(SendFailure::Unreachable("canary-value".to_owned())),
                "cannot connect: ***",
            ),
        ] {
            assert_eq!(request(&error, &masker), text);
        }
    }

    #[test]
    fn long_causes_are_cut() {
        assert_eq!(cut(&"ü".repeat(500)), "ü".repeat(500));
        assert_eq!(cut(&"ü".repeat(501)).chars().count(), 500);
    }
}

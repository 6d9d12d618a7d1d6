//! Which log messages of an upstream are severe enough for who listens.

use bytes::Bytes;
use mcp::LogLevel;

/// The method of log messages.
pub(crate) const LOG_METHOD: &str = "notifications/message";

/// Whether a notification is for somebody who wants log messages of `least` or more severe. What
/// is no log message, or says no level that is known, passes.
pub(crate) fn passes(method: &str, params: &Bytes, least: LogLevel) -> bool {
    method != LOG_METHOD || LogLevel::of_params(params).is_none_or(|level| level >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_log_messages_are_held_back_by_their_level() {
        let message = |level: &str| Bytes::from(format!(r#"{{"data":1,"level":{level}}}"#));
        for (method, level, pass) in [
            (LOG_METHOD, "\"info\"", false),
            (LOG_METHOD, "\"warning\"", true),
            (LOG_METHOD, "\"emergency\"", true),
            (LOG_METHOD, "\"loud\"", true),
            (LOG_METHOD, "7", true),
            ("notifications/progress", "\"debug\"", true),
        ] {
            assert_eq!(
                passes(method, &message(level), LogLevel::Warning),
                pass,
                "{method} {level}"
            );
        }
    }
}

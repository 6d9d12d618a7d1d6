//! How severe a log message of an upstream is, and who wants to hear of it.

use bytes::Bytes;

/// The levels of log messages, the least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `notice`
    Notice,
    /// `warning`
    Warning,
    /// `error`
    Error,
    /// `critical`
    Critical,
    /// `alert`
    Alert,
    /// `emergency`
    Emergency,
}

impl Severity {
    const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// The name on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }

    /// From the name on the wire; `None` for any other word.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }

    /// Of a log message, by its raw parameters; `None` where it says none that is known.
    pub(crate) fn of_message(params: &Bytes) -> Option<Self> {
        let level = mcp::splice::find_string(params, &["level"]).ok()??;
        Self::parse(&level)
    }
}

/// The method of log messages.
pub(crate) const LOG_METHOD: &str = "notifications/message";

/// Whether a notification is for somebody who wants log messages of `least` or more severe. What
/// is no log message, or says no level that is known, passes.
pub(crate) fn passes(method: &str, params: &Bytes, least: Severity) -> bool {
    method != LOG_METHOD || Severity::of_message(params).is_none_or(|level| level >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_order_and_read_back() {
        assert!(Severity::ALL.is_sorted());
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.as_str()), Some(severity));
        }
        assert_eq!(Severity::parse("loud"), None);
    }

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
                passes(method, &message(level), Severity::Warning),
                pass,
                "{method} {level}"
            );
        }
    }
}

//! The levels of log messages.

use bytes::Bytes;

use crate::splice;

/// How severe a log message is, from the least severe on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Details for finding faults.
    Debug,
    /// What happens.
    Info,
    /// What is worth a look.
    Notice,
    /// What may become a fault.
    Warning,
    /// A fault.
    Error,
    /// A fault of a whole component.
    Critical,
    /// Somebody has to act.
    Alert,
    /// Nothing works.
    Emergency,
}

impl LogLevel {
    /// All levels, the least severe first.
    pub const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// The level as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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

    /// A level from its spelling on the wire; `None` if there is no such level.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }

    /// The level in raw parameters: of `logging/setLevel` and of `notifications/message`.
    #[must_use]
    pub fn of_params(params: &Bytes) -> Option<Self> {
        Self::parse(&splice::find_string(params, &["level"]).ok()??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_back_and_ordered_by_severity() {
        for (at, level) in LogLevel::ALL.into_iter().enumerate() {
            assert_eq!(LogLevel::parse(level.as_str()), Some(level));
            assert!(LogLevel::ALL[at..].iter().all(|other| *other >= level));
        }
        let of = |params: &'static str| LogLevel::of_params(&Bytes::from_static(params.as_bytes()));
        assert_eq!(of(r#"{"level":"warning"}"#), Some(LogLevel::Warning));
        assert_eq!(of(r#"{"level":"Warning"}"#), None);
        assert_eq!(of("{}"), None);
    }
}

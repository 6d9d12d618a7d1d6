//! Times as RFC 3339 writes them.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{Refusal, Timestamp};

/// In UTC, to the millisecond or the microsecond, as far as it goes.
pub(super) fn show(time: Timestamp) -> String {
    let time = DateTime::<Utc>::from_timestamp_micros(time.as_micros()).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Reads a time.
///
/// # Errors
/// Names the field.
pub(super) fn parse(field: &str, text: &str) -> Result<Timestamp, Refusal> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| Refusal::invalid(field, "must be a time such as 2026-01-31T12:00:00Z"))?;
    Ok(Timestamp::from_micros(time.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_went() {
        let time = parse("t", "2026-01-31T12:00:00.250Z").unwrap();
        assert_eq!(show(time), "2026-01-31T12:00:00.250Z");
        assert_eq!(show(parse("t", "2026-01-31T13:00:00+01:00").unwrap()), "2026-01-31T12:00:00Z");
        assert!(parse("t", "yesterday").is_err());
    }
}

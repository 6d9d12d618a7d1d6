//! What can go wrong on the bus, by what the caller can do about it.

/// Why the bus refused, or why an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody serves the subject, or whoever did left before looking at the request. No server
    /// has seen it: look up the owner again, then a repetition is safe.
    #[error("nobody serves this subject")]
    NoResponders,
    /// A queue or a count is at its limit. Nothing was delivered: try again later.
    #[error("the bus is busy: {limit}")]
    Busy {
        /// Which limit was reached.
        limit: &'static str,
    },
    /// The other side left in the middle. It may have acted: never repeat what must not happen
    /// twice.
    #[error("the other side closed the exchange")]
    Closed,
    /// The answer did not come in time. As with [`Closed`](Self::Closed), it may have happened.
    #[error("no answer within {timeout_ms} ms")]
    TimedOut {
        /// How long was waited.
        timeout_ms: u64,
    },
    /// A frame, an event or a presence value is above its limit: send less.
    #[error("{size_bytes} bytes are more than the {limit_bytes} that {of} may have")]
    TooLarge {
        /// What was too large.
        of: &'static str,
        /// What was given.
        size_bytes: usize,
        /// What is accepted.
        limit_bytes: usize,
    },
    /// The bus cannot be reached or was shut down. Nothing was delivered.
    #[error("the bus is unavailable: {detail}")]
    Unavailable {
        /// What failed, for the operator.
        detail: String,
    },
}

/// Refuses what is above `limit_bytes`.
pub(crate) fn check_size(
    of: &'static str,
    size_bytes: usize,
    limit_bytes: usize,
) -> Result<(), BusError> {
    if size_bytes > limit_bytes {
        return Err(BusError::TooLarge { of, size_bytes, limit_bytes });
    }
    Ok(())
}

//! The ids of events: which stream of a session, and which event on it.

/// An event's place in a session. Clients name it in `Last-Event-ID` to resume the stream that it
/// came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The stream's number, unique within its session; 0 is the one of unasked messages.
    pub stream: u64,
    /// The event's number on it, from 1 on; 0 is before the first.
    pub event: u64,
}

impl EventId {
    /// An id from its spelling on the wire; `None` if it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stream, event) = text.trim().split_once('-')?;
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten()
        };
        Some(Self { stream: number(stream)?, event: number(event)? })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.stream, self.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_others_are_not_ours() {
        for id in [EventId { stream: 0, event: 0 }, EventId { stream: 7, event: u64::MAX }] {
            assert_eq!(EventId::parse(&id.to_string()), Some(id));
        }
        for text in ["", "-", "1", "1-", "-1", "+1-1", "1-1-1", "a-1", "1-99999999999999999999"] {
            assert_eq!(EventId::parse(text), None, "{text:?}");
        }
    }
}

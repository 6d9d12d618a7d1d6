//! Which subjects and streams an installation uses. The permissions of the deployed server's
//! configuration name the same ones.

use crate::{BusError, Subject, SubjectFilter};

const MAX_NAMESPACE_BYTES: usize = 64;

/// All servers of a subject take turns as one queue group.
pub(super) const SERVERS: &str = "servers";

/// The names of one namespace, and of one process in it.
///
/// | subject | what |
/// |---|---|
/// | `<ns>.e.<subject>` | events; those under `evt.` are kept in the stream `<ns>_events` |
/// | `<ns>.b.evt.>` | the same, seen by the stream only, while it is made anew |
/// | `<ns>.r.<subject>` | requests |
/// | `<ns>.p.k.<key>`, `<ns>.p.ask` | presence |
/// | `<ns>.t.<trail>` | trails, kept in the stream `<ns>_trails` |
/// | `$KV.<ns>_memory.<key>` | shared values, kept in the bucket `<ns>_memory` |
/// | `_INBOX.<service>.<instance>.x.>` | what others send to this process |
/// | `_INBOX.<service>.<instance>.js.>` | what JetStream answers to this process |
#[derive(Debug, Clone)]
pub(super) struct Names {
    namespace: String,
    inbox: String,
}

impl Names {
    /// # Errors
    /// [`BusError::Unavailable`] for a namespace that cannot be one.
    pub(super) fn new(namespace: &str, service: &str, instance: &str) -> Result<Self, BusError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let is_one = !namespace.is_empty() && namespace.len() <= MAX_NAMESPACE_BYTES;
        if !is_one || !namespace.bytes().all(good) {
            let detail = format!("{namespace:?} is not a namespace: letters, digits, _ and -");
            return Err(BusError::Unavailable { detail });
        }
        let inbox = format!("_INBOX.{service}.{instance}");
        Ok(Self { namespace: namespace.to_owned(), inbox })
    }

    pub(super) fn event(&self, subject: &Subject) -> String {
        format!("{}.e.{subject}", self.namespace)
    }

    pub(super) fn events(&self, filter: &SubjectFilter) -> String {
        format!("{}.e.{filter}", self.namespace)
    }

    /// What was published to `subject`.
    pub(super) fn subject_of_event(&self, subject: &str) -> Option<Subject> {
        self.subject_of(subject, ".e.")
    }

    pub(super) fn rebuilt_event(&self, subject: &Subject) -> String {
        format!("{}.b.{subject}", self.namespace)
    }

    pub(super) fn all_kept_events(&self) -> String {
        format!("{}.e.evt.>", self.namespace)
    }

    pub(super) fn all_rebuilt_events(&self) -> String {
        format!("{}.b.evt.>", self.namespace)
    }

    pub(super) fn event_stream(&self) -> String {
        format!("{}_events", self.namespace)
    }

    pub(super) fn request(&self, subject: &Subject) -> String {
        format!("{}.r.{subject}", self.namespace)
    }

    pub(super) fn requests(&self, filter: &SubjectFilter) -> String {
        format!("{}.r.{filter}", self.namespace)
    }

    pub(super) fn subject_of_request(&self, subject: &str) -> Option<Subject> {
        self.subject_of(subject, ".r.")
    }

    pub(super) fn presence(&self, key: &Subject) -> String {
        format!("{}.p.k.{key}", self.namespace)
    }

    pub(super) fn all_presence(&self) -> String {
        format!("{}.p.k.>", self.namespace)
    }

    pub(super) fn key_of_presence(&self, subject: &str) -> Option<Subject> {
        self.subject_of(subject, ".p.k.")
    }

    pub(super) fn presence_ask(&self) -> String {
        format!("{}.p.ask", self.namespace)
    }

    pub(super) fn trail(&self, trail: &Subject) -> String {
        format!("{}.t.{trail}", self.namespace)
    }

    pub(super) fn all_trails(&self) -> String {
        format!("{}.t.>", self.namespace)
    }

    pub(super) fn trail_stream(&self) -> String {
        format!("{}_trails", self.namespace)
    }

    pub(super) fn value(&self, key: &Subject) -> String {
        format!("$KV.{}_memory.{key}", self.namespace)
    }

    pub(super) fn all_values(&self) -> String {
        format!("$KV.{}_memory.>", self.namespace)
    }

    pub(super) fn value_stream(&self) -> String {
        format!("KV_{}_memory", self.namespace)
    }

    /// Where others send to this process, without the last token.
    pub(super) fn inbox(&self) -> String {
        format!("{}.x", self.inbox)
    }

    pub(super) fn jetstream_inbox(&self) -> String {
        format!("{}.js", self.inbox)
    }

    fn subject_of(&self, subject: &str, kind: &str) -> Option<Subject> {
        let text = subject.strip_prefix(&self.namespace)?.strip_prefix(kind)?;
        Subject::new(text).ok()
    }
}

/// The inbox of the process that an address belongs to, without the last token.
pub(super) fn inbox_of(address: &str) -> Option<&str> {
    let (inbox, _) = address.rsplit_once('.')?;
    let mut tokens = inbox.split('.');
    let is_inbox = tokens.next() == Some("_INBOX") && tokens.count() == 3;
    (is_inbox && inbox.ends_with(".x")).then_some(inbox)
}

/// The exchange that the last token of an address stands for.
pub(super) fn exchange_of(address: &str) -> Option<u64> {
    let (_, token) = address.rsplit_once('.')?;
    u64::from_str_radix(token, 16).ok().filter(|_| token.len() == 16)
}

/// The address of an exchange of the process with that inbox.
pub(super) fn address(inbox: &str, exchange: u64) -> String {
    format!("{inbox}.{exchange:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_found_again() {
        let names = Names::new("test", "edge", "1").unwrap();
        let subject = Subject::new("evt.a.b").unwrap();
        assert_eq!(names.subject_of_event(&names.event(&subject)), Some(subject.clone()));
        assert_eq!(names.subject_of_request(&names.request(&subject)), Some(subject.clone()));
        assert_eq!(names.key_of_presence(&names.presence(&subject)), Some(subject.clone()));
        assert_eq!(names.subject_of_event(&names.request(&subject)), None);
        assert_eq!(names.subject_of_event("test2.e.evt.a"), None);
    }

    #[test]
    fn a_namespace_is_one_plain_token() {
        for good in ["mcp_orch", "a", "Test-1"] {
            assert!(Names::new(good, "edge", "1").is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a*", ">", "$JS", "a b", &"x".repeat(65)] {
            assert!(Names::new(bad, "edge", "1").is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_names_its_process_and_its_exchange() {
        let names = Names::new("test", "edge", "1").unwrap();
        let of_exchange = address(&names.inbox(), 0xab);
        assert_eq!(inbox_of(&of_exchange), Some("_INBOX.edge.1.x"));
        assert_eq!(exchange_of(&of_exchange), Some(0xab));
        for bad in ["", "test.e.evt", "_INBOX.edge.1.js.ab", "_INBOX.x.1", "_INBOX.a.b.c.x.1"] {
            assert_eq!(inbox_of(bad), None, "{bad}");
        }
        assert_eq!(exchange_of("_INBOX.edge.1.x.audit"), None);
    }
}

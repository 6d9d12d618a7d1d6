//! What a session wants to hear from servers outside of its calls, and over which attachments.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ServerId;
use mcp::LogLevel;

use crate::attachments::Attachment;
use crate::view::OwnView;

/// The least severe message that a client hears unasked which named no level: what others made a
/// server say in more detail is not for it.
const UNASKED: LogLevel = LogLevel::Info;

/// What one session wants to hear.
#[derive(Default)]
pub(crate) struct Hearing {
    /// The level that the client set: 1 is the least severe; 0 is none.
    level: AtomicU8,
    wants: Mutex<Wants>,
    elicitations: Mutex<VecDeque<Elicitation>>,
    /// What the session's own connections offer.
    pub(crate) own: OwnView,
}

/// A server, and its id of something that its client is to do outside of this session.
type Elicitation = (ServerId, String);

/// Most of them that are remembered: the oldest is forgotten first.
const MAX_ELICITATIONS: usize = 256;
/// The longest id that is remembered, in bytes.
const MAX_ELICITATION_BYTES: usize = 1_024;

#[derive(Default)]
struct Wants {
    /// The URIs of each server, as it knows them, with what the client calls them.
    subscriptions: HashMap<ServerId, HashMap<String, String>>,
    attachments: HashMap<ServerId, Arc<Attachment>>,
}

/// A session is subscribed to as much as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Hearing {
    fn wants(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_level(&self, level: LogLevel) {
        let place = LogLevel::ALL.iter().position(|known| *known == level).unwrap_or_default();
        self.level.store(u8::try_from(place + 1).unwrap_or_default(), Ordering::Relaxed);
    }

    /// The level that the client set.
    pub(crate) fn level(&self) -> Option<LogLevel> {
        let place = usize::from(self.level.load(Ordering::Relaxed)).checked_sub(1)?;
        LogLevel::ALL.get(place).copied()
    }

    /// Whether a log message of a call of its own passes. One whose level cannot be read does.
    pub(crate) fn hears(&self, level: Option<LogLevel>) -> bool {
        match (self.level(), level) {
            (Some(least), Some(level)) => level >= least,
            _ => true,
        }
    }

    /// As [`hears`](Self::hears), of a log message that belongs to no call.
    pub(crate) fn hears_unasked(&self, level: Option<LogLevel>) -> bool {
        level.is_none_or(|level| level >= self.level().unwrap_or(UNASKED))
    }

    /// Notes a subscription; one that is there already is renamed.
    pub(crate) fn subscribe(
        &self,
        server: ServerId,
        uri: String,
        exposed: String,
        most: usize,
    ) -> Result<(), TooMany> {
        let mut wants = self.wants();
        let count: usize = wants.subscriptions.values().map(HashMap::len).sum();
        let of_server = wants.subscriptions.entry(server).or_default();
        if count >= most && !of_server.contains_key(&uri) {
            return Err(TooMany);
        }
        of_server.insert(uri, exposed);
        Ok(())
    }

    /// Forgets a subscription; whether there was one.
    pub(crate) fn unsubscribe(&self, server: ServerId, uri: &str) -> bool {
        let mut wants = self.wants();
        let Some(of_server) = wants.subscriptions.get_mut(&server) else { return false };
        let was_there = of_server.remove(uri).is_some();
        if of_server.is_empty() {
            wants.subscriptions.remove(&server);
        }
        was_there
    }

    /// The URIs of a server that it is subscribed to, as the server knows them.
    pub(crate) fn subscriptions(&self, server: ServerId) -> Vec<String> {
        let wants = self.wants();
        wants
            .subscriptions
            .get(&server)
            .map(|uris| uris.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// All that it is subscribed to: the server, the URI as it knows it, and as the client does.
    pub(crate) fn all_subscriptions(&self) -> Vec<(ServerId, String, String)> {
        let wants = self.wants();
        let of_server = |(server, uris): (&ServerId, &HashMap<String, String>)| {
            let server = *server;
            let uris = uris.iter();
            uris.map(move |(uri, exposed)| (server, uri.clone(), exposed.clone())).collect()
        };
        wants.subscriptions.iter().flat_map(|of| -> Vec<_> { of_server(of) }).collect()
    }

    /// The servers that it is subscribed to something of.
    pub(crate) fn subscribed(&self) -> HashSet<ServerId> {
        self.wants().subscriptions.keys().copied().collect()
    }

    /// Whether it is subscribed to a resource of a server, or to one that the resource is a part
    /// of: servers may name parts in their updates.
    pub(crate) fn is_subscribed(&self, server: ServerId, updated: &str) -> bool {
        let wants = self.wants();
        let Some(uris) = wants.subscriptions.get(&server) else { return false };
        uris.contains_key(updated) || uris.keys().any(|uri| is_part(updated, uri))
    }

    /// The same, by the URI as the client knows it.
    pub(crate) fn is_subscribed_as(&self, updated: &str) -> bool {
        let wants = self.wants();
        let mut exposed = wants.subscriptions.values().flat_map(HashMap::values);
        exposed.any(|uri| uri == updated || is_part(updated, uri))
    }

    /// Notes what its client was sent away to do, by the server's id of it.
    pub(crate) fn note_elicitation(&self, server: ServerId, id: &str) {
        if id.is_empty() || id.len() > MAX_ELICITATION_BYTES || self.has_elicited(server, id) {
            return;
        }
        let mut elicitations = self.elicitations();
        if elicitations.len() >= MAX_ELICITATIONS {
            elicitations.pop_front();
        }
        elicitations.push_back((server, id.to_owned()));
    }

    /// All that its client was sent away to do: the server, and its id of it.
    pub(crate) fn all_elicited(&self) -> Vec<(ServerId, String)> {
        self.elicitations().iter().cloned().collect()
    }

    /// Whether its client was sent away to do that.
    pub(crate) fn has_elicited(&self, server: ServerId, id: &str) -> bool {
        self.elicitations().iter().any(|known| known.0 == server && known.1 == id)
    }

    fn elicitations(&self) -> MutexGuard<'_, VecDeque<Elicitation>> {
        self.elicitations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attachment over which it hears a server.
    pub(crate) fn attachment(&self, server: ServerId) -> Option<Arc<Attachment>> {
        self.wants().attachments.get(&server).cloned()
    }

    /// All of its attachments.
    pub(crate) fn attachments(&self) -> Vec<Arc<Attachment>> {
        self.wants().attachments.values().cloned().collect()
    }

    /// Hears a server over that attachment from now on; gives the one before.
    pub(crate) fn attach(&self, attachment: Arc<Attachment>) -> Option<Arc<Attachment>> {
        self.wants().attachments.insert(attachment.server(), attachment)
    }

    /// Hears a server over what `make` opens, unless it does so already over one that suits.
    /// Gives the one before that does not.
    pub(crate) fn attach_or(
        &self,
        server: ServerId,
        suits: impl Fn(&Attachment) -> bool,
        make: impl FnOnce() -> Arc<Attachment>,
    ) -> Option<Arc<Attachment>> {
        let mut wants = self.wants();
        if wants.attachments.get(&server).is_some_and(|attachment| suits(attachment)) {
            return None;
        }
        wants.attachments.insert(server, make())
    }

    /// Hears only those servers from now on; gives the attachments to the others.
    pub(crate) fn retain(&self, keep: impl Fn(&Attachment) -> bool) -> Vec<Arc<Attachment>> {
        let mut wants = self.wants();
        let gone: Vec<_> =
            wants.attachments.values().filter(|attachment| !keep(attachment)).cloned().collect();
        wants.attachments.retain(|_, attachment| keep(attachment));
        gone
    }

    /// Hears nothing any more; gives the attachments.
    pub(crate) fn end(&self) -> Vec<Arc<Attachment>> {
        self.own.clear();
        let wants = std::mem::take(&mut *self.wants());
        wants.attachments.into_values().collect()
    }
}

/// Whether a URI lies below another one.
fn is_part(part: &str, whole: &str) -> bool {
    let rest = part.strip_prefix(whole);
    rest.is_some_and(|rest| whole.ends_with('/') || rest.starts_with(['/', '#', '?']))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn server(number: u128) -> ServerId {
        ServerId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn messages_pass_from_the_level_that_was_set() {
        let hearing = Hearing::default();
        assert!(hearing.hears(Some(LogLevel::Debug)));
        assert!(!hearing.hears_unasked(Some(LogLevel::Debug)));
        assert!(hearing.hears_unasked(Some(LogLevel::Info)));
        for level in LogLevel::ALL {
            hearing.set_level(level);
            assert_eq!(hearing.level(), Some(level));
            for message in LogLevel::ALL {
                assert_eq!(hearing.hears(Some(message)), message >= level);
                assert_eq!(hearing.hears_unasked(Some(message)), message >= level);
            }
            assert!(hearing.hears(None));
        }
    }

    #[test]
    fn subscriptions_are_of_one_server_and_bounded() {
        let hearing = Hearing::default();
        let subscribe = |number, uri: &str, most| {
            hearing.subscribe(server(number), uri.to_owned(), format!("x+{uri}"), most)
        };
        assert_eq!(subscribe(1, "a://1", 2), Ok(()));
        assert_eq!(subscribe(2, "a://2", 2), Ok(()));
        assert_eq!(subscribe(1, "a://3", 2), Err(TooMany));
        assert_eq!(subscribe(1, "a://1", 2), Ok(()));
        assert!(hearing.is_subscribed(server(1), "a://1"));
        assert!(hearing.is_subscribed(server(1), "a://1/part"));
        assert!(!hearing.is_subscribed(server(1), "a://10"));
        assert!(!hearing.is_subscribed(server(2), "a://1"));
        assert!(hearing.unsubscribe(server(1), "a://1"));
        assert!(!hearing.unsubscribe(server(1), "a://1"));
        assert!(!hearing.is_subscribed(server(1), "a://1"));
    }

    #[test]
    fn what_a_client_was_sent_away_for_is_of_one_server_and_bounded() {
        let hearing = Hearing::default();
        hearing.note_elicitation(server(1), "first");
        assert!(hearing.has_elicited(server(1), "first"));
        assert!(!hearing.has_elicited(server(2), "first"));
        assert!(!hearing.has_elicited(server(1), "second"));
        hearing.note_elicitation(server(1), &"x".repeat(MAX_ELICITATION_BYTES + 1));
        for number in 0..MAX_ELICITATIONS {
            hearing.note_elicitation(server(1), &format!("{number}"));
        }
        assert!(!hearing.has_elicited(server(1), "first"));
        assert_eq!(hearing.elicitations().len(), MAX_ELICITATIONS);
    }
}

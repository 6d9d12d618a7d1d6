//! What is held, until when, and what was given up: the rules, without clock and bus.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::ServerId;
use proto::internal::v1::{HeldLease, LeaseRelease, LeaseReply, LeaseRequest};
use tokio::time::Instant;

use super::{Owned, WorkerIdentity};

/// The longest that an answer may be good for, whatever it says.
const MAX_VALID: Duration = Duration::from_secs(60);
/// For so long it is known which epochs were given up: no lease lives as long without renewal.
const REMEMBERED: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    identity: WorkerIdentity,
    owned: Owned,
    /// The first moment at which nothing is owned any more.
    valid_until: Option<Instant>,
    prepared: BTreeSet<ServerId>,
    given_up: BTreeMap<ServerId, GivenUp>,
    draining: bool,
}

#[derive(Clone, Copy, Debug)]
struct GivenUp {
    epoch: u64,
    at: Instant,
    /// Whether the others know.
    is_told: bool,
}

impl Book {
    pub(super) fn new(identity: WorkerIdentity) -> Self {
        Self {
            identity,
            owned: Owned::default(),
            valid_until: None,
            prepared: BTreeSet::new(),
            given_up: BTreeMap::new(),
            draining: false,
        }
    }

    pub(super) const fn owned(&self) -> &Owned {
        &self.owned
    }

    /// The first moment at which nothing is owned any more; `None` when nothing is.
    pub(super) const fn valid_until(&self) -> Option<Instant> {
        self.valid_until
    }

    /// The epoch of a server that is owned for sure.
    pub(super) fn epoch(&self, server: ServerId, now: Instant) -> Option<u64> {
        self.valid_until.filter(|until| now < *until)?;
        self.owned.servers.get(&server).copied()
    }

    /// Whether the next answer is likely to bring something that is waited for.
    pub(super) fn is_expecting(&self) -> bool {
        !self.prepared.is_empty() || !self.owned.let_go.is_empty()
    }

    /// What to ask for.
    pub(super) fn request(&self) -> LeaseRequest {
        let WorkerIdentity { instance, labels, weight, capacity } = self.identity.clone();
        LeaseRequest {
            worker: instance,
            held: self.owned.servers.iter().map(held).collect(),
            prepared: self.prepared.iter().map(ToString::to_string).collect(),
            labels,
            weight,
            capacity,
            draining: self.draining,
        }
    }

    /// Takes the answer in to what was asked at `sent`.
    pub(super) fn take(&mut self, reply: LeaseReply, sent: Instant, now: Instant) {
        let valid = Duration::from_millis(reply.valid_ms).min(MAX_VALID);
        if now >= sent + valid {
            // What it says is over already.
            return;
        }
        self.given_up.retain(|_, past| now < past.at + REMEMBERED);
        let mut owned = Owned::default();
        for HeldLease { server, epoch } in reply.owned {
            let Ok(server) = server.parse::<ServerId>() else { continue };
            match self.given_up.get_mut(&server) {
                // They did not hear of it.
                Some(past) if epoch <= past.epoch => {
                    past.is_told = false;
                    past.at = now;
                }
                Some(_) | None => {
                    self.given_up.remove(&server);
                    owned.servers.insert(server, epoch);
                }
            }
        }
        let parsed = |ids: Vec<String>| ids.into_iter().filter_map(|id| id.parse().ok());
        owned.let_go = parsed(reply.let_go).filter(|id| owned.servers.contains_key(id)).collect();
        owned.prepare =
            parsed(reply.prepare).filter(|id| !owned.servers.contains_key(id)).collect();
        self.prepared.retain(|server| owned.prepare.contains(server));
        self.owned = owned;
        self.valid_until = Some(sent + valid);
    }

    /// Gives everything up if nobody answered for too long; whether that was so.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.valid_until.is_none_or(|until| now < until) {
            return false;
        }
        self.valid_until = None;
        self.owned = Owned::default();
        self.prepared.clear();
        true
    }

    /// A server that is to be prepared is ready.
    pub(super) fn prepared(&mut self, server: ServerId) -> bool {
        self.owned.prepare.contains(&server) && self.prepared.insert(server)
    }

    pub(super) const fn drain(&mut self) {
        self.draining = true;
    }

    /// Owns a server no more; the others are to be told.
    pub(super) fn give_up(&mut self, server: ServerId, now: Instant) {
        if let Some(epoch) = self.remove(server) {
            self.given_up.insert(server, GivenUp { epoch, at: now, is_told: false });
        }
    }

    pub(super) fn give_up_all(&mut self, now: Instant) {
        let all: Vec<ServerId> = self.owned.servers.keys().copied().collect();
        for server in all {
            self.give_up(server, now);
        }
    }

    /// Somebody else owns it by now; `epoch` is the one that was refused.
    pub(super) fn lose(&mut self, server: ServerId, epoch: u64, now: Instant) {
        if self.owned.servers.get(&server).is_some_and(|held| *held <= epoch)
            && let Some(epoch) = self.remove(server)
        {
            self.given_up.insert(server, GivenUp { epoch, at: now, is_told: true });
        }
    }

    fn remove(&mut self, server: ServerId) -> Option<u64> {
        self.owned.let_go.remove(&server);
        self.owned.servers.remove(&server)
    }

    /// What the others are to be told; `None` when they know everything.
    pub(super) fn untold(&self) -> Option<LeaseRelease> {
        let untold = self.given_up.iter().filter(|(_, past)| !past.is_told);
        let released: Vec<HeldLease> =
            untold.map(|(server, past)| held((server, &past.epoch))).collect();
        let worker = self.identity.instance.clone();
        (!released.is_empty()).then_some(LeaseRelease { worker, released })
    }

    /// They were told.
    pub(super) fn told(&mut self, release: &LeaseRelease) {
        for HeldLease { server, epoch } in &release.released {
            let past = server.parse().ok().and_then(|id: ServerId| self.given_up.get_mut(&id));
            if let Some(past) = past.filter(|past| past.epoch == *epoch) {
                past.is_told = true;
            }
        }
    }
}

fn held((server, epoch): (&ServerId, &u64)) -> HeldLease {
    HeldLease { server: server.to_string(), epoch: *epoch }
}

#[cfg(test)]
mod tests {
    use domain::ServerId;

    use super::*;

    const A: &str = "0198c0de-0000-7000-8000-00000000000a";
    const B: &str = "0198c0de-0000-7000-8000-00000000000b";

    fn id(text: &str) -> ServerId {
        text.parse().unwrap()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn granted(servers: &[(&str, u64)]) -> LeaseReply {
        let owned = servers.iter();
        let owned = owned.map(|(id, epoch)| HeldLease { server: (*id).to_owned(), epoch: *epoch });
        LeaseReply { owned: owned.collect(), valid_ms: 3_000, ..LeaseReply::default() }
    }

    fn book() -> (Book, Instant) {
        let identity = WorkerIdentity { instance: "w".to_owned(), ..WorkerIdentity::default() };
        (Book::new(identity), Instant::now())
    }

    #[test]
    fn what_is_granted_is_owned_from_the_asking_on() {
        let (mut book, start) = book();
        book.take(granted(&[(A, 5)]), start, start + secs(2));
        assert_eq!(book.epoch(id(A), start + secs(2)), Some(5));
        assert_eq!(book.epoch(id(B), start + secs(2)), None);
        // Before anybody noticed.
        assert_eq!(book.epoch(id(A), start + secs(3)), None);
        assert!(!book.expire(start + secs(2)));
        assert!(book.expire(start + secs(3)) && !book.expire(start + secs(3)));
        assert!(book.owned().is_empty() && book.request().held.is_empty());
    }

    #[test]
    fn an_answer_that_took_too_long_grants_nothing() {
        let (mut book, start) = book();
        book.take(granted(&[(A, 5)]), start, start + secs(3));
        assert!(book.owned().is_empty());
        assert_eq!(book.valid_until(), None);
    }

    #[test]
    fn what_is_not_granted_again_is_lost_at_once() {
        let (mut book, start) = book();
        book.take(granted(&[(A, 5), (B, 6)]), start, start);
        book.take(granted(&[(B, 6)]), start + secs(1), start + secs(1));
        assert_eq!(book.epoch(id(A), start + secs(1)), None);
        assert_eq!(book.epoch(id(B), start + secs(3)), Some(6));
    }

    #[test]
    fn an_epoch_that_was_given_up_is_not_taken_again() {
        let (mut book, start) = book();
        book.take(granted(&[(A, 5)]), start, start);
        book.give_up(id(A), start);
        assert_eq!(book.epoch(id(A), start), None);
        let release = book.untold().unwrap();
        assert_eq!(release.released, [HeldLease { server: A.to_owned(), epoch: 5 }]);
        book.told(&release);
        assert_eq!(book.untold(), None);
        // Said before the release was heard, or renewed because it was not: told once more.
        book.take(granted(&[(A, 5)]), start, start + secs(1));
        assert_eq!(book.epoch(id(A), start + secs(1)), None);
        assert!(book.untold().is_some());
        book.take(granted(&[(A, 6)]), start + secs(1), start + secs(1));
        assert_eq!(book.epoch(id(A), start + secs(1)), Some(6));
        assert_eq!(book.untold(), None);
    }

    #[test]
    fn a_fenced_epoch_is_lost_and_a_later_one_is_not() {
        let (mut book, start) = book();
        book.take(granted(&[(A, 5)]), start, start);
        book.lose(id(A), 4, start);
        assert_eq!(book.epoch(id(A), start), Some(5), "an old refusal");
        book.lose(id(A), 5, start);
        assert_eq!(book.epoch(id(A), start), None);
        assert_eq!(book.untold(), None, "somebody else has it");
        book.take(granted(&[(A, 5)]), start, start);
        assert_eq!(book.epoch(id(A), start), None);
    }

    #[test]
    fn only_what_is_to_be_prepared_is_reported_as_ready() {
        let (mut book, start) = book();
        let prepare = |ids: &[&str]| LeaseReply {
            prepare: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..granted(&[(B, 1)])
        };
        assert!(!book.prepared(id(A)));
        book.take(prepare(&[A, B]), start, start);
        assert!(!book.owned().is_to_prepare(id(B)), "it is owned already");
        assert!(book.prepared(id(A)) && book.is_expecting());
        assert_eq!(book.request().prepared, [A]);
        // Once it is owned, or no longer to come, nothing is to be said of it.
        book.take(granted(&[(A, 7)]), start, start);
        assert!(book.request().prepared.is_empty());
    }

    #[test]
    fn what_is_told_to_be_let_go_is_owned_meanwhile() {
        let (mut book, start) = book();
        let reply = LeaseReply { let_go: vec![A.to_owned(), B.to_owned()], ..granted(&[(A, 5)]) };
        book.take(reply, start, start);
        assert!(book.owned().is_to_let_go(id(A)) && book.owned().holds(id(A)));
        assert!(!book.owned().is_to_let_go(id(B)));
        book.give_up_all(start);
        assert!(book.owned().is_empty() && book.untold().is_some());
    }
}

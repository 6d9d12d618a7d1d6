//! Leases: who may act on something, for how long, and in which epoch.
//!
//! A lease ends by time, and its next holder gets the next epoch. Time is only what makes a
//! take-over possible; what makes it safe is the epoch, which the store compares in each append
//! that names a [`Fence`](crate::Fence). Epochs of a name never fall and never come twice, also
//! over a restart. An adapter for one process may forget the holders when it is closed, since
//! they end with the process.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;

use crate::error::StoreError;
use crate::limits::MAX_ID_BYTES;

/// Most claims in one call, and most leases given up in one.
pub const MAX_CLAIMS: usize = 4_096;
/// Most bytes of one lease's note.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;
/// The longest time to live of a lease.
pub const MAX_LEASE: Duration = Duration::from_secs(3_600);

/// A wish to hold a lease, or to go on holding it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is held. At most [`MAX_ID_BYTES`](crate::MAX_ID_BYTES).
    pub name: String,
    /// Who wants it: unique for each start of a process.
    pub holder: String,
    /// From now on, by the store's clock. At most [`MAX_LEASE`].
    pub ttl: Duration,
    /// What the holder wants others to know. At most [`MAX_NOTE_BYTES`].
    pub note: Bytes,
}

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is held.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// From 1; one more with each new holding.
    pub epoch: u64,
    /// What the holder wants others to know.
    pub note: Bytes,
    /// How long it would still be held without a renewal.
    pub left: Duration,
}

/// Refuses claims that no adapter would grant.
pub(crate) fn check(claims: &[Claim]) -> Result<(), StoreError> {
    at_most("claims", claims.len(), MAX_CLAIMS)?;
    for claim in claims {
        at_most("bytes of a lease's name", claim.name.len(), MAX_ID_BYTES)?;
        at_most("bytes of a lease's holder", claim.holder.len(), MAX_ID_BYTES)?;
        at_most("bytes of a lease's note", claim.note.len(), MAX_NOTE_BYTES)?;
        let (ttl, most) = (claim.ttl.as_secs(), MAX_LEASE.as_secs());
        at_most("seconds of a lease", whole(ttl), whole(most))?;
    }
    Ok(())
}

/// Refuses to give up more than one call may.
pub(crate) fn check_release(held: &[(String, u64)]) -> Result<(), StoreError> {
    at_most("leases given up", held.len(), MAX_CLAIMS)
}

fn whole(seconds: u64) -> usize {
    usize::try_from(seconds).unwrap_or(usize::MAX)
}

fn at_most(what: &'static str, actual: usize, limit: usize) -> Result<(), StoreError> {
    if actual > limit { Err(StoreError::TooLarge { what, actual, limit }) } else { Ok(()) }
}

/// The leases of an adapter that is alone with its data: pure, the time is a parameter.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaseBook {
    entries: HashMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    epoch: u64,
    /// `None` when it was given up, or only its epoch is known.
    held: Option<Held>,
}

#[derive(Debug, Clone)]
struct Held {
    holder: String,
    note: Bytes,
    until: Timestamp,
}

impl LeaseBook {
    /// A book that knows only epochs, as after a restart.
    pub(crate) fn with_epochs(epochs: impl IntoIterator<Item = (String, u64)>) -> Self {
        let entry = |(name, epoch)| (name, Entry { epoch, held: None });
        Self { entries: epochs.into_iter().map(entry).collect() }
    }

    /// The last epoch of `name`; 0 when nobody ever held it.
    pub(crate) fn epoch(&self, name: &str) -> u64 {
        self.entries.get(name).map_or(0, |entry| entry.epoch)
    }

    /// Decides one claim.
    pub(crate) fn claim(&mut self, claim: &Claim, now: Timestamp) -> Option<Lease> {
        let entry =
            self.entries.entry(claim.name.clone()).or_insert(Entry { epoch: 0, held: None });
        match entry.held.as_ref().filter(|held| held.until > now) {
            Some(held) if held.holder != claim.holder => return None,
            Some(_) => {}
            None => entry.epoch += 1,
        }
        let until = after(now, claim.ttl);
        let (holder, note) = (claim.holder.clone(), claim.note.clone());
        entry.held = Some(Held { holder: holder.clone(), note: note.clone(), until });
        Some(Lease { name: claim.name.clone(), holder, epoch: entry.epoch, note, left: claim.ttl })
    }

    /// Gives up what is `holder`'s with that epoch.
    pub(crate) fn release(&mut self, holder: &str, held: &[(String, u64)]) {
        for (name, epoch) in held {
            if let Some(entry) = self.entries.get_mut(name)
                && entry.epoch == *epoch
                && entry.held.as_ref().is_some_and(|held| held.holder == holder)
            {
                entry.held = None;
            }
        }
    }

    /// What is held at `now` under names that begin with `prefix`, by name.
    pub(crate) fn list(&self, prefix: &str, now: Timestamp) -> Vec<Lease> {
        let held = self.entries.iter().filter(|(name, _)| name.starts_with(prefix));
        let mut leases: Vec<Lease> = held
            .filter_map(|(name, entry)| {
                let held = entry.held.as_ref().filter(|held| held.until > now)?;
                let left = held.until.as_micros().saturating_sub(now.as_micros());
                Some(Lease {
                    name: name.clone(),
                    holder: held.holder.clone(),
                    epoch: entry.epoch,
                    note: held.note.clone(),
                    left: Duration::from_micros(u64::try_from(left).unwrap_or(0)),
                })
            })
            .collect();
        leases.sort_by(|one, other| one.name.cmp(&other.name));
        leases
    }
}

fn after(now: Timestamp, ttl: Duration) -> Timestamp {
    let micros = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(holder: &str) -> Claim {
        let ttl = Duration::from_secs(4);
        Claim { name: "server/a".into(), holder: holder.into(), ttl, note: Bytes::new() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(0).plus_seconds(seconds)
    }

    #[test]
    fn a_lease_ends_at_its_time_and_not_before() {
        let mut book = LeaseBook::default();
        let granted = |lease: Option<Lease>| lease.map(|lease| (lease.holder, lease.epoch));
        assert_eq!(granted(book.claim(&claim("x"), at(0))), Some(("x".into(), 1)));
        assert_eq!(granted(book.claim(&claim("y"), at(3))), None);
        assert_eq!(granted(book.claim(&claim("x"), at(3))), Some(("x".into(), 1)));
        assert_eq!(granted(book.claim(&claim("y"), at(6))), None);
        assert_eq!(book.list("server/", at(6)).len(), 1);
        assert_eq!(book.list("server/", at(7)), []);
        assert_eq!(granted(book.claim(&claim("y"), at(7))), Some(("y".into(), 2)));
    }

    #[test]
    fn who_lost_its_lease_by_time_gets_the_next_epoch() {
        let mut book = LeaseBook::default();
        book.claim(&claim("x"), at(0));
        let again = book.claim(&claim("x"), at(4)).map(|lease| lease.epoch);
        assert_eq!(again, Some(2));
    }
}

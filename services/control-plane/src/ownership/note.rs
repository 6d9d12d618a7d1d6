//! What a worker says of itself, kept with its lease, so that every replica knows it.
//!
//! Fields are only added: replicas of the version before read the notes of this one.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use domain::{ServerId, Timestamp};
use proto::internal::v1::LeaseRequest;
use serde::{Deserialize, Serialize};

use super::placement::Candidate;

/// Most labels of a worker; further ones are passed over.
const MAX_LABELS: usize = 64;
/// Most servers that a worker is ready for at a time; further ones wait.
const MAX_PREPARED: usize = 1_024;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerNote {
    /// What is special about it.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Its share of the servers.
    #[serde(default)]
    pub weight: u32,
    /// Most servers that it takes; 0 for no limit.
    #[serde(default)]
    pub capacity: u32,
    /// How many servers it held when it asked last.
    #[serde(default)]
    pub load: u32,
    /// Since when it takes nothing new, in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    draining_since_us: Option<i64>,
    /// Servers that it could serve at once.
    #[serde(default)]
    pub prepared: BTreeSet<ServerId>,
}

impl WorkerNote {
    /// What a worker says that asks `now`; `before` is what it said when it asked last.
    pub fn of(request: &LeaseRequest, before: Option<&Self>, now: Timestamp) -> Self {
        let since = before.and_then(|note| note.draining_since_us).unwrap_or(now.as_micros());
        let labels = request.labels.iter().filter(|label| domain::server::is_label(label));
        let prepared = request.prepared.iter().filter_map(|server| server.parse().ok());
        Self {
            labels: labels.take(MAX_LABELS).cloned().collect(),
            weight: request.weight,
            capacity: request.capacity,
            load: u32::try_from(request.held.len()).unwrap_or(u32::MAX),
            draining_since_us: request.draining.then_some(since),
            prepared: prepared.take(MAX_PREPARED).collect(),
        }
    }

    /// Since when it takes nothing new.
    pub fn draining_since(&self) -> Option<Timestamp> {
        self.draining_since_us.map(Timestamp::from_micros)
    }

    /// The worker as one that takes servers; none while it drains.
    pub fn candidate(&self, instance: &Arc<str>) -> Option<Candidate> {
        self.draining_since_us.is_none().then(|| Candidate {
            instance: Arc::clone(instance),
            labels: self.labels.clone(),
            weight: self.weight,
            capacity: self.capacity,
        })
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).map(Bytes::from).unwrap_or_default()
    }

    /// What was kept; a note that cannot be read says nothing.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "a worker's note cannot be read");
            Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_also_with_fields_that_come_later() {
        let request = LeaseRequest {
            worker: "w".into(),
            labels: vec!["docker".into(), "Not One".into()],
            weight: 2,
            capacity: 5,
            prepared: vec!["0198c0de-0000-7000-8000-000000000001".into(), "none".into()],
            draining: true,
            ..LeaseRequest::default()
        };
        let first = WorkerNote::of(&request, None, Timestamp::from_micros(7));
        assert_eq!(first.labels, ["docker".to_owned()].into());
        assert_eq!(first.prepared.len(), 1);
        assert_eq!(first.draining_since(), Some(Timestamp::from_micros(7)));
        assert_eq!(WorkerNote::from_bytes(&first.to_bytes()), first);
        let later = WorkerNote::of(&request, Some(&first), Timestamp::from_micros(9));
        assert_eq!(later.draining_since(), Some(Timestamp::from_micros(7)), "since it began");
        let read = WorkerNote::from_bytes(br#"{"labels":["gpu"],"new":1}"#);
        assert_eq!(read.labels, ["gpu".to_owned()].into());
        assert_eq!(WorkerNote::from_bytes(b"{"), WorkerNote::default());
    }
}

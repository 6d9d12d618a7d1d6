//! The log's own promises.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use event_store::{EventStore, Position, ReadFilter, Recorded, StoreError, leaf_hash};

/// Most faults that are listed.
const MAX_FAULTS: usize = 100;

/// Something that the log promises and does not keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// A position is missing or there twice.
    #[error("position {found} follows {after}")]
    Position {
        /// The position before.
        after: u64,
        /// What came next.
        found: u64,
    },
    /// A version is missing in a stream, or there twice.
    #[error("position {position}: version {found} of {stream} follows {after}")]
    Version {
        /// Where.
        position: u64,
        /// In which stream.
        stream: String,
        /// The version before.
        after: u64,
        /// What came next.
        found: u64,
    },
    /// An event is not what was written.
    #[error("position {position}: the event does not have the hash it was recorded with")]
    Hash {
        /// Where.
        position: u64,
    },
    /// A tenant's own position is missing or there twice.
    #[error("position {position}: tenant position {found} follows {after}")]
    TenantPosition {
        /// Where.
        position: u64,
        /// The tenant position before.
        after: u64,
        /// What came next.
        found: u64,
    },
}

#[derive(Default)]
struct Seen {
    position: u64,
    /// By a hash of the stream's name: eight bytes a stream are enough for very large logs.
    versions: HashMap<u64, u64>,
    tenants: HashMap<domain::TenantId, u64>,
    hasher: RandomState,
    faults: Vec<LogFault>,
}

/// Reads the whole log. Returns how many events it has, and what is wrong.
pub(super) async fn check(store: &dyn EventStore) -> Result<(u64, Vec<LogFault>), StoreError> {
    let mut seen = Seen::default();
    let (mut after, mut events) = (Position::START, 0);
    loop {
        let page = store.read(after, &ReadFilter::all(), event_store::MAX_PAGE_EVENTS).await?;
        if page.events.is_empty() {
            return Ok((events, seen.faults));
        }
        events += page.events.len() as u64;
        page.events.iter().for_each(|event| seen.look(event));
        after = page.next;
    }
}

impl Seen {
    fn look(&mut self, event: &Recorded) {
        let position = event.position.as_u64();
        if position != self.position + 1 {
            self.fault(LogFault::Position { after: self.position, found: position });
        }
        self.position = position;
        let key = self.hasher.hash_one(&event.stream);
        let version = self.versions.insert(key, event.version).unwrap_or(0);
        if event.version != version + 1 {
            self.fault(LogFault::Version {
                position,
                stream: event.stream.to_string(),
                after: version,
                found: event.version,
            });
        }
        let tenant = self.tenants.insert(event.stream.tenant, event.tenant_position);
        let after = tenant.unwrap_or(0);
        if event.tenant_position != after + 1 {
            let found = event.tenant_position;
            self.fault(LogFault::TenantPosition { position, after, found });
        }
        if leaf_hash(event) != event.leaf_hash {
            self.fault(LogFault::Hash { position });
        }
    }

    fn fault(&mut self, fault: LogFault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }
}

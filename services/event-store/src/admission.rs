//! The rules of an append, the same on every adapter: free of IO and of clocks.
//!
//! [`Facts`] is what is known of the log: all of it in the memory adapter, and in SQLite's
//! what a group of appends needs. [`Facts::admit`] decides one append and, when it is admitted,
//! becomes what is known after it, so that the next append of a group sees it.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{EventId, StreamId, TenantId, Timestamp};

use crate::append::{
    Append, Appended, Body, Fence, Idempotency, NewEvent, ReservationChange, ReservationSet,
};
use crate::error::AppendError;
use crate::leaf::leaf_hash;
use crate::limits;
use crate::recorded::{Position, Recorded};

/// Where the log ends.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// The last position.
    pub(crate) position: Position,
    /// The time of the last event.
    pub(crate) recorded_at: Timestamp,
    /// The last position of each tenant that is known; a tenant without events has 0.
    pub(crate) tenants: HashMap<TenantId, u64>,
    /// Whether positions, times of recording and digests are given after the append: until then
    /// an event is at [`Position::START`].
    pub(crate) given_later: bool,
}

/// A command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormerCommand {
    pub(crate) request_hash: [u8; 32],
    pub(crate) expires_at: Timestamp,
    pub(crate) appended: Appended,
}

/// What is known of the log. What is not in a map is not in the log.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) heads: Heads,
    pub(crate) versions: HashMap<StreamId, u64>,
    pub(crate) events: HashMap<(TenantId, EventId), Arc<Recorded>>,
    pub(crate) commands: HashMap<(TenantId, String), FormerCommand>,
    pub(crate) holders: HashMap<(ReservationSet, String), String>,
    /// The last epochs of the leases that fences name.
    pub(crate) epochs: HashMap<String, u64>,
}

/// What an admitted append writes.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) appended: Appended,
    pub(crate) events: Vec<Arc<Recorded>>,
    pub(crate) bodies: Vec<(Arc<Recorded>, Body)>,
    pub(crate) command: Option<(Idempotency, Appended)>,
    pub(crate) reservations: Vec<ReservationChange>,
}

/// The decision on one append that is not refused.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It was made before.
    Former(Appended),
    /// It is new.
    New(Box<Admitted>),
}

impl Facts {
    /// Decides `append` at `now`. After a refusal the facts are as before.
    pub(crate) fn admit(
        &mut self,
        append: Append,
        now: Timestamp,
    ) -> Result<Admission, AppendError> {
        limits::check(&append)?;
        if let Some(former) = self.former_command(&append, now)? {
            return Ok(Admission::Former(former));
        }
        if let Some(former) = self.former_events(&append)? {
            return Ok(Admission::Former(former));
        }
        self.check_fence(append.fence.as_ref())?;
        let actual = self.versions.get(&append.stream).copied().unwrap_or(0);
        if !append.expected.admits(actual) {
            let Append { stream, expected, .. } = append;
            return Err(AppendError::Conflict { stream, expected, actual });
        }
        self.check_reservations(&append.reservations)?;
        Ok(Admission::New(Box::new(self.record(append, actual, now))))
    }

    fn former_command(
        &self,
        append: &Append,
        now: Timestamp,
    ) -> Result<Option<Appended>, AppendError> {
        let Some(Idempotency { key, request_hash, .. }) = &append.idempotency else {
            return Ok(None);
        };
        let former = self.commands.get(&(append.stream.tenant, key.clone()));
        former.map_or(Ok(None), |former| former.answer(key, request_hash, now))
    }

    /// The former append of the same events; refused when the ids stand for something else.
    fn former_events(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let tenant = append.stream.tenant;
        let known = |event: &NewEvent| self.events.get(&(tenant, event.id));
        let Some(taken) = append.events.iter().find(|event| known(event).is_some()) else {
            return Ok(None);
        };
        let refused = Err(AppendError::DuplicateEventId(taken.id));
        let Some(first) = append.events.first().and_then(known) else {
            return refused;
        };
        for (offset, event) in (0..).zip(&append.events) {
            let same = known(event).is_some_and(|former| {
                former.stream == append.stream
                    && former.version == first.version + offset
                    && is_same(former, event)
            });
            if !same {
                return refused;
            }
        }
        let last = append.events.last().and_then(known).unwrap_or(first);
        Ok(Some(Appended {
            stream: append.stream.clone(),
            first_version: first.version,
            last_version: last.version,
            last_position: placed(last.position),
            replayed: true,
        }))
    }

    fn check_fence(&self, fence: Option<&Fence>) -> Result<(), AppendError> {
        let Some(Fence { lease, epoch }) = fence else {
            return Ok(());
        };
        if self.epochs.get(lease).is_some_and(|last| last > epoch) {
            return Err(AppendError::Fenced { lease: lease.clone(), epoch: *epoch });
        }
        Ok(())
    }

    /// Follows the changes in order on a small overlay, so that a refusal changes nothing.
    fn check_reservations(&self, changes: &[ReservationChange]) -> Result<(), AppendError> {
        let mut overlay: HashMap<(&ReservationSet, &str), Option<&str>> = HashMap::new();
        for change in changes {
            let (ReservationChange::Take { set, value, holder }
            | ReservationChange::Release { set, value, holder }) = change;
            let current = match overlay.get(&(set, value.as_str())) {
                Some(changed) => *changed,
                None => self.holders.get(&(set.clone(), value.clone())).map(String::as_str),
            };
            if current.is_some_and(|current| current != holder) {
                let (set, value) = (set.clone(), value.clone());
                return Err(AppendError::NameTaken { set, value });
            }
            let taken = matches!(change, ReservationChange::Take { .. });
            overlay.insert((set, value), taken.then_some(holder));
        }
        Ok(())
    }

    fn record(&mut self, append: Append, version: u64, now: Timestamp) -> Admitted {
        let Append { stream, events, idempotency, reservations, .. } = append;
        let mut recorded = Vec::with_capacity(events.len());
        let mut bodies = Vec::new();
        let first_version = version + 1;
        for (version, mut event) in (first_version..).zip(events) {
            let body = event.body.take();
            let event = Arc::new(self.heads.place(&stream, version, event, now));
            self.events.insert((stream.tenant, event.event_id), Arc::clone(&event));
            bodies.extend(body.map(|body| (Arc::clone(&event), body)));
            recorded.push(event);
        }
        let last_version = version + recorded.len() as u64;
        self.versions.insert(stream.clone(), last_version);
        for change in &reservations {
            self.reserve(change);
        }
        let appended = Appended {
            first_version,
            last_version,
            last_position: placed(self.heads.position),
            replayed: false,
            stream,
        };
        let command = idempotency.map(|idempotency| (idempotency, appended.clone()));
        if let Some((idempotency, appended)) = &command {
            let key = (appended.stream.tenant, idempotency.key.clone());
            self.commands.insert(key, FormerCommand::new(idempotency, appended));
        }
        Admitted { appended, events: recorded, bodies, command, reservations }
    }

    fn reserve(&mut self, change: &ReservationChange) {
        match change {
            ReservationChange::Take { set, value, holder } => {
                self.holders.insert((set.clone(), value.clone()), holder.clone());
            }
            ReservationChange::Release { set, value, .. } => {
                self.holders.remove(&(set.clone(), value.clone()));
            }
        }
    }
}

impl FormerCommand {
    fn new(idempotency: &Idempotency, appended: &Appended) -> Self {
        Self {
            request_hash: idempotency.request_hash,
            expires_at: idempotency.expires_at,
            appended: Appended { replayed: true, ..appended.clone() },
        }
    }

    /// The result for a request with this digest; `None` when the key is free again.
    pub(crate) fn answer(
        &self,
        key: &str,
        request_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Appended>, AppendError> {
        if self.expires_at <= now {
            return Ok(None);
        }
        if self.request_hash != *request_hash {
            return Err(AppendError::IdempotencyMismatch { key: key.to_owned() });
        }
        Ok(Some(self.appended.clone()))
    }
}

impl Heads {
    /// Gives the event its place at the end of the log.
    fn place(
        &mut self,
        stream: &StreamId,
        version: u64,
        event: NewEvent,
        now: Timestamp,
    ) -> Recorded {
        let mut recorded = Recorded {
            position: Position::START,
            tenant_position: 0,
            stream: stream.clone(),
            version,
            event_id: event.id,
            event_type: event.event_type,
            schema_version: event.schema_version,
            payload: event.payload,
            occurred_at: event.occurred_at,
            recorded_at: now,
            actor_type: event.actor_type,
            actor_id: event.actor_id,
            causation_id: event.causation_id,
            correlation_id: event.correlation_id,
            key_id: None,
            leaf_hash: [0; 32],
        };
        if !self.given_later {
            self.give_place(&mut recorded);
        }
        recorded
    }

    /// Puts the event at the end of the log: its positions, its time and its digest. The time is
    /// the given one, or that of the event before where that is later.
    pub(crate) fn give_place(&mut self, event: &mut Recorded) {
        let tenant_position = self.tenants.entry(event.stream.tenant).or_insert(0);
        *tenant_position += 1;
        self.position = self.position.next();
        self.recorded_at = self.recorded_at.max(event.recorded_at);
        event.position = self.position;
        event.tenant_position = *tenant_position;
        event.recorded_at = self.recorded_at;
        event.leaf_hash = leaf_hash(event);
    }
}

/// The position of an event that has one.
fn placed(position: Position) -> Option<Position> {
    (position != Position::START).then_some(position)
}

/// Whether `event` says what `former` says. Bodies are left out: they may be gone.
fn is_same(former: &Recorded, event: &NewEvent) -> bool {
    former.event_type == event.event_type
        && former.schema_version == event.schema_version
        && former.payload == event.payload
        && former.occurred_at == event.occurred_at
        && former.actor_type == event.actor_type
        && former.actor_id == event.actor_id
        && former.causation_id == event.causation_id
        && former.correlation_id == event.correlation_id
}

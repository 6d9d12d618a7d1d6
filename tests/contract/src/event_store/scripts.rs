//! Scripts of what callers may do, whose outcome must be the same on every adapter.

use domain::{StreamId, StreamKind};
use event_store::{
    Append, Body, Expected, Idempotency, NewEvent, Position, ReadFilter, ReservationChange,
    ReservationSet, Retention,
};

use super::{Store, TestClock, all, event, event_id, tenant, time};

/// One call on the store.
#[derive(Debug, Clone)]
pub enum Step {
    /// Appends in one call.
    Append(Vec<Draft>),
    /// Sets the clock, to seconds since 1970.
    SetClock(i64),
    /// Deletes the bodies of a tenant that expired at this second or before.
    DeleteBodies(u8, i64),
    /// Destroys the body of an event of a tenant.
    DestroyBody(u8, u64),
    /// Forgets the keys that expired at this second or before.
    ForgetKeys(i64),
}

/// An append, in small numbers so that scripts collide with themselves.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The tenant.
    pub tenant: u8,
    /// Which stream of the tenant, and of which kind.
    pub stream: u8,
    /// The expected version; `None` for any.
    pub expected: Option<u64>,
    /// Ids of the events.
    pub events: Vec<u64>,
    /// Tells contents of the same id apart, and expiry of the bodies; 0 for no body.
    pub variant: u8,
    /// Key and request.
    pub command: Option<(u8, u8)>,
    /// Whether to take or to release, which value, which holder.
    pub reservations: Vec<(bool, u8, u8)>,
}

impl Draft {
    fn append(&self) -> Append {
        let kind =
            if self.stream.is_multiple_of(2) { StreamKind::Call } else { StreamKind::Project };
        let expected = self.expected.map_or(Expected::Any, Expected::Exactly);
        let stream = StreamId::new(tenant(self.tenant), kind, self.stream);
        let events = self.events.iter().map(|n| self.event(*n)).collect();
        let idempotency = self.command.map(|(key, request)| Idempotency {
            key: format!("k{key}"),
            request_hash: [request; 32],
            expires_at: time(5 + i64::from(request) * 10),
        });
        let reservations = self.reservations.iter().map(|change| self.change(*change)).collect();
        Append { idempotency, reservations, ..Append::new(stream, expected, events) }
    }

    fn event(&self, n: u64) -> NewEvent {
        let retention = match self.variant {
            0 => None,
            1 => Some(Retention::Forever),
            more => Some(Retention::Until(time(i64::from(more) * 5))),
        };
        let bytes = format!("body {n}").into();
        let body = retention.map(|retention| Body { bytes, retention });
        NewEvent { schema_version: 1 + u32::from(self.variant / 3), body, ..event(n) }
    }

    fn change(&self, (take, value, holder): (bool, u8, u8)) -> ReservationChange {
        let set = set(self.tenant, value);
        let (value, holder) = (format!("v{value}"), format!("h{holder}"));
        if take {
            ReservationChange::Take { set, value, holder }
        } else {
            ReservationChange::Release { set, value, holder }
        }
    }
}

/// Odd values are unique over all tenants.
fn set(of: u8, value: u8) -> ReservationSet {
    if value.is_multiple_of(2) {
        ReservationSet::of_tenant(tenant(of), "set")
    } else {
        ReservationSet::global("set")
    }
}

/// Runs the script and tells everything that can be seen of it: each answer, then the log,
/// the bodies, the keys and the reservations.
pub async fn run(store: &dyn Store, clock: &TestClock, steps: &[Step]) -> Vec<String> {
    let mut seen = Vec::new();
    for step in steps {
        seen.push(format!("{step:?}"));
        match step {
            Step::Append(drafts) => {
                let answers = store.append_all(drafts.iter().map(Draft::append).collect()).await;
                seen.extend(answers.iter().map(|answer| format!("{answer:?}")));
            }
            Step::SetClock(seconds) => clock.set(*seconds),
            Step::DeleteBodies(of, until) => {
                let deleted = store.delete_bodies(Some(tenant(*of)), time(*until), 1_000).await;
                seen.push(format!("{deleted:?}"));
            }
            Step::DestroyBody(of, n) => {
                let destroyed = store.destroy_bodies(tenant(*of), &[event_id(*n)]).await;
                seen.push(format!("{destroyed:?}"));
            }
            Step::ForgetKeys(until) => {
                seen.push(format!("{:?}", store.forget_keys(time(*until), 1_000).await));
            }
        }
    }
    seen.extend(state(store).await);
    seen
}

async fn state(store: &dyn Store) -> Vec<String> {
    let mut seen = Vec::new();
    let log = all(store, &ReadFilter::all()).await;
    for event in &log {
        let body = store.body(event.stream.tenant, event.event_id).await;
        seen.push(format!("{event:?} {body:?}"));
    }
    for of in 0..3 {
        let of_tenant = all(store, &ReadFilter::of_tenant(tenant(of))).await;
        seen.push(format!("{:?}", super::numbers(&of_tenant)));
        for n in 0..4 {
            seen.push(format!("{:?}", store.holder(&set(of, n), &format!("v{n}")).await));
            seen.push(format!("{:?}", store.former(tenant(of), &format!("k{n}"), &[1; 32]).await));
        }
    }
    for seconds in [0, 10, 30] {
        seen.push(format!("{:?}", store.position_at(time(seconds)).await));
    }
    let head = store.head().await;
    assert_eq!(head.ok(), Some(Position::new(log.len() as u64)), "the log is dense");
    seen
}

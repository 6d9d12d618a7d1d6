//! Denials of good keys are recorded in the key's tenant, at most some in a second for each key;
//! the rest, and denials without a good key, are counted in metrics only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use backplane::Journal;
use backplane::entry::{Body, Entry};
use domain::event::{AccessEvent, Event};
use domain::{
    Actor, ApiKeyId, ErrorCode, EventId, ProjectId, StreamId, StreamKind, TenantId, Timestamp,
};
use uuid::Uuid;

/// How many denials of a key are recorded in a second.
const RECORDED_PER_SECOND: u32 = 10;
/// Keys whose count is remembered; beyond, all counts start again.
const REMEMBERED_KEYS: usize = 10_000;

/// Whose denial it is, and of what.
#[derive(Clone, Debug)]
pub(crate) struct Denial {
    pub(crate) tenant: TenantId,
    pub(crate) key: ApiKeyId,
    pub(crate) project: ProjectId,
    pub(crate) action: &'static str,
    pub(crate) code: ErrorCode,
    /// Of what, cut at 200 characters.
    pub(crate) target: String,
}

/// Records denials within the limit.
#[derive(Default)]
pub(crate) struct Denials {
    /// For each key the second and how many there were in it.
    counts: Mutex<HashMap<ApiKeyId, (i64, u32)>>,
}

impl Denials {
    /// Counts a denial, and records it if the limit allows.
    pub(crate) fn record(&self, journal: &Journal, denial: Denial, now: Timestamp) {
        metrics::counter!("mcp_orch_denials_total", "reason" => denial.code.reason()).increment(1);
        if !self.within_limit(denial.key, now) {
            return;
        }
        let entry = Entry {
            stream: StreamId::new(denial.tenant, StreamKind::Access, &denial.project),
            event_id: EventId::from_uuid(Uuid::now_v7()),
            occurred_at: now,
            actor: Actor::ApiKey(denial.key),
            epoch: 0,
            event: Event::Access(AccessEvent::Denied {
                project: Some(denial.project),
                action: denial.action.to_owned(),
                reason: denial.code.reason().to_owned(),
                target: denial.target.chars().take(200).collect(),
            }),
            body: Body::None,
        };
        match entry.into_message() {
            Ok(message) => {
                if journal.queue(message).is_err() {
                    metrics::counter!("mcp_orch_denials_unrecorded_total").increment(1);
                }
            }
            Err(error) => tracing::error!(%error, "a denial cannot be recorded"),
        }
    }

    fn within_limit(&self, key: ApiKeyId, now: Timestamp) -> bool {
        let second = now.as_micros() / 1_000_000;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= REMEMBERED_KEYS {
            counts.clear();
        }
        let (since, count) = counts.entry(key).or_insert((second, 0));
        if *since != second {
            (*since, *count) = (second, 0);
        }
        *count += 1;
        *count <= RECORDED_PER_SECOND
    }
}

/// Counts a denial without a good key.
pub(crate) fn count_anonymous() {
    let reason = ErrorCode::Unauthenticated.reason();
    metrics::counter!("mcp_orch_denials_total", "reason" => reason).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_denied_without_end_is_recorded_ten_times_a_second() {
        let denials = Denials::default();
        let key = ApiKeyId::from_uuid(Uuid::now_v7());
        let recorded = |micros| {
            (0..50).filter(|_| denials.within_limit(key, Timestamp::from_micros(micros))).count()
        };
        assert_eq!(recorded(1_000_000), 10);
        assert_eq!(recorded(2_000_000), 10);
    }
}

//! Where messages go. The names are part of the contract between versions N and N-1.

use bus::{InvalidSubject, Subject, SubjectFilter};
use domain::{ServerId, StreamKind, TenantId};

/// Takes [`JournalRequest`](proto::internal::v1::JournalRequest)s; served by the control-plane.
pub fn journal() -> Subject {
    checked("journal")
}

/// Takes [`SnapshotRequest`](proto::internal::v1::SnapshotRequest)s; served by the control-plane.
pub fn snapshot() -> Subject {
    checked("snapshot")
}

/// Takes [`CatalogueRequest`](proto::internal::v1::CatalogueRequest)s; served by the
/// control-plane.
pub fn catalogue() -> Subject {
    checked("catalogue")
}

/// Where a [`Beat`](proto::internal::v1::Beat) is published every second.
pub fn beat() -> Subject {
    checked("beat")
}

/// Takes [`TestRequest`](proto::internal::v1::TestRequest)s; served by the workers.
pub fn worker_test() -> Subject {
    checked("worker.test")
}

/// Takes [`LeaseRequest`](proto::internal::v1::LeaseRequest)s; served by the control-plane.
pub fn lease() -> Subject {
    checked("lease")
}

/// Takes [`LeaseRelease`](proto::internal::v1::LeaseRelease)s; served by the control-plane.
pub fn lease_release() -> Subject {
    checked("lease.release")
}

/// Takes [`ForwardRequest`](proto::internal::v1::ForwardRequest)s for the sessions of one edge,
/// and is the key of its presence. `instance` is the edge's name on the bus.
///
/// # Errors
/// When `instance` is no name of an instance.
pub fn edge(instance: &str) -> Result<Subject, InvalidSubject> {
    Subject::new(format!("edge.{instance}"))
}

/// The key of a worker's presence. `instance` is its name on the bus.
///
/// # Errors
/// When `instance` is no name of an instance.
pub fn worker(instance: &str) -> Result<Subject, InvalidSubject> {
    Subject::new(format!("worker.{instance}"))
}

/// The presence of all workers.
pub fn workers() -> SubjectFilter {
    filter("worker.*")
}

/// The presence of all edges.
pub fn edges() -> SubjectFilter {
    filter("edge.*")
}

/// Where the exchanges of a server go; served by the worker that owns it.
pub fn exchange(server: ServerId) -> Subject {
    checked(&format!("x.{server}"))
}

/// Where a server's log is asked for; served by the worker that owns it.
pub fn worker_stderr(server: ServerId) -> Subject {
    checked(&format!("worker.stderr.{server}"))
}

/// Where an event is published: `evt.<tenant>.<kind>.<type>`.
///
/// # Errors
/// When `event_type` is no such name.
pub fn event(
    tenant: TenantId,
    kind: StreamKind,
    event_type: &str,
) -> Result<Subject, InvalidSubject> {
    Subject::new(format!("evt.{tenant}.{kind}.{event_type}"))
}

/// The published configuration events of all tenants, one filter for each kind.
pub fn configuration_events() -> Vec<SubjectFilter> {
    StreamKind::ALL
        .into_iter()
        .filter(|kind| kind.is_configuration())
        .filter_map(|kind| SubjectFilter::new(format!("evt.*.{kind}.>")).ok())
        .collect()
}

/// For texts that are filters by their making.
fn filter(text: &str) -> SubjectFilter {
    SubjectFilter::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

/// For texts that are subjects by their making.
fn checked(text: &str) -> Subject {
    // Constants and UUIDs have no other characters than those of tokens.
    Subject::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_events_are_matched_and_others_are_not() {
        let tenant = TenantId::SYSTEM;
        let filters = configuration_events();
        let matched = |kind, event_type| {
            let subject = event(tenant, kind, event_type).unwrap();
            filters.iter().filter(|filter| filter.matches(&subject)).count()
        };
        assert_eq!(matched(StreamKind::Server, "server.registered"), 1);
        assert_eq!(matched(StreamKind::ApiKey, "api_key.revoked"), 1);
        assert_eq!(matched(StreamKind::Call, "call.finished"), 0);
        assert_eq!(matched(StreamKind::Access, "access.denied"), 0);
        let configuration = StreamKind::ALL.into_iter().filter(|kind| kind.is_configuration());
        assert_eq!(filters.len(), configuration.count());
    }

    #[test]
    fn every_subject_is_one() {
        let server = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        assert_eq!(exchange(server).as_str(), format!("x.{server}"));
        assert_eq!(worker_stderr(server).as_str(), format!("worker.stderr.{server}"));
        let constant = [journal(), snapshot(), catalogue(), beat(), worker_test()];
        for subject in constant.into_iter().chain([lease(), lease_release()]) {
            assert!(!subject.as_str().is_empty());
        }
        assert!(edges().matches(&edge("e-1").unwrap()));
        assert!(workers().matches(&worker("w-1").unwrap()));
        assert!(edge("not a token").is_err());
        assert!(event(TenantId::SYSTEM, StreamKind::Call, "not a type").is_err());
    }
}

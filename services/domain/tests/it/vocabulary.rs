//! Names that are stored or shown: each stands for one value, and reads back.

use std::collections::BTreeSet;

use domain::call::CallOutcome;
use domain::connection::ConnectionState;
use domain::project::{AuditMode, Naming, RetryPolicy, ToolPinning};
use domain::server::Isolation;
use domain::{Actor, ApiKeyId, ErrorCode, ProjectId, Role, Timestamp, UserId};
use uuid::Uuid;

fn all_differ<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> bool {
    let count = names.len();
    names.collect::<BTreeSet<_>>().len() == count
}

#[test]
fn names_stand_for_one_value() {
    assert!(all_differ(ErrorCode::ALL.iter().map(|code| code.reason())));
    assert!(all_differ(CallOutcome::ALL.iter().map(|outcome| outcome.as_str())));
    assert!(all_differ(ConnectionState::ALL.iter().map(|state| state.as_str())));
    assert!(all_differ(AuditMode::ALL.iter().map(|mode| mode.as_str())));
    assert!(all_differ(Naming::ALL.iter().map(|naming| naming.as_str())));
    assert!(all_differ(ToolPinning::ALL.iter().map(|pinning| pinning.as_str())));
    assert!(all_differ(RetryPolicy::ALL.iter().map(|policy| policy.as_str())));
    assert!(all_differ(Isolation::ALL.iter().map(|isolation| isolation.as_str())));
}

#[test]
fn roles_and_outcomes_read_back() {
    for role in Role::ALL {
        assert_eq!(role.as_str().parse(), Ok(role));
    }
    for outcome in CallOutcome::ALL {
        assert_eq!(outcome.to_string().parse(), Ok(outcome));
    }
    assert!("admin".parse::<Role>().is_err() && "Owner".parse::<Role>().is_err());
    assert!("fine".parse::<CallOutcome>().is_err());
}

#[test]
fn roles_are_ordered_by_reach() {
    assert!(Role::Reporter < Role::Developer && Role::Developer < Role::Owner);
}

#[test]
fn actors_read_back() {
    let id = Uuid::from_u128(7);
    let actors =
        [Actor::User(UserId::from_uuid(id)), Actor::ApiKey(ApiKeyId::from_uuid(id)), Actor::System];
    for actor in actors {
        assert_eq!(Actor::parse(actor.kind(), &actor.id()), Ok(actor));
    }
    assert!(Actor::parse("robot", "").is_err() && Actor::parse("user", "me").is_err());
}

#[test]
fn a_generated_project_id_is_one() {
    let id = ProjectId::generated(Uuid::from_u128(0x1234));
    assert_eq!(id.as_str(), "000000001234");
    assert_eq!(id.as_str().parse(), Ok(id));
}

#[test]
fn time_stays_at_its_far_end() {
    let end = Timestamp::from_micros(i64::MAX);
    assert_eq!(end.plus_seconds(1), end);
    assert_eq!(Timestamp::from_micros(1).plus_seconds(i64::MAX), end);
    assert_eq!(Timestamp::from_micros(1).plus_seconds(2).as_micros(), 2_000_001);
}

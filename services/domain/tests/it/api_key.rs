//! Keys.

use domain::api_key::{self, ApiKey, ApiKeyCommand, IssuedKey, KeyHash};
use domain::event::ApiKeyEvent;
use domain::{ErrorCode, Refusal, Role, Timestamp, UserId};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use crate::scenario::{self, Aggregate, Given};

const NOW: Timestamp = Timestamp::from_micros(1_000_000);

struct Key;

impl Aggregate for Key {
    type State = ApiKey;
    type Command = ApiKeyCommand;
    type Event = ApiKeyEvent;

    fn decide(state: &ApiKey, command: ApiKeyCommand) -> Result<Vec<ApiKeyEvent>, Refusal> {
        api_key::decide(state, command, NOW)
    }

    fn evolve(state: ApiKey, event: &ApiKeyEvent) -> ApiKey {
        api_key::evolve(state, event)
    }
}

fn given(events: impl IntoIterator<Item = ApiKeyEvent>) -> Given<Key> {
    scenario::given(events)
}

fn key(role: Role) -> IssuedKey {
    IssuedKey {
        project: "search".parse().unwrap(),
        name: "laptop".to_owned(),
        hash: KeyHash([7; 32]),
        suffix: "wxyz".to_owned(),
        role,
        creator: UserId::from_uuid(Uuid::from_u128(1)),
        expires_at: None,
    }
}

fn issue(key: IssuedKey, creator_role: Role) -> ApiKeyCommand {
    ApiKeyCommand::Issue { key, creator_role }
}

fn issued(key: IssuedKey) -> ApiKeyEvent {
    ApiKeyEvent::Issued {
        project: key.project,
        name: key.name,
        hash: key.hash,
        suffix: key.suffix,
        role: key.role,
        creator: key.creator,
        expires_at: key.expires_at,
    }
}

#[test]
fn a_key_is_issued_with_at_most_its_creators_role() {
    for role in Role::ALL {
        for creator_role in Role::ALL {
            let outcome = given([]).when(issue(key(role), creator_role));
            if role <= creator_role {
                outcome.then([issued(key(role))]);
            } else {
                outcome.then_refused(ErrorCode::PermissionDenied);
            }
        }
    }
}

#[test]
fn a_key_is_issued_once() {
    let again = issue(key(Role::Reporter), Role::Owner);
    let first = issued(key(Role::Reporter));
    given([first.clone()]).when(again.clone()).then_refused(ErrorCode::AlreadyExists);
    given([first, ApiKeyEvent::Revoked]).when(again).then_refused(ErrorCode::AlreadyExists);
}

#[test]
fn a_key_ends_in_the_future_and_has_a_name() {
    let ending = |micros| IssuedKey {
        expires_at: Some(Timestamp::from_micros(micros)),
        ..key(Role::Reporter)
    };
    for micros in [0, NOW.as_micros() - 1, NOW.as_micros()] {
        given([]).when(issue(ending(micros), Role::Owner)).then_invalid("expire_time");
    }
    let last = ending(NOW.as_micros() + 1);
    given([]).when(issue(last.clone(), Role::Owner)).then([issued(last)]);
    let nameless = IssuedKey { name: " ".to_owned(), ..key(Role::Reporter) };
    given([]).when(issue(nameless, Role::Owner)).then_invalid("name");
}

#[test]
fn a_key_is_revoked_for_good() {
    let first = issued(key(Role::Reporter));
    given([]).when(ApiKeyCommand::Revoke).then_refused(ErrorCode::NotFound);
    given([first.clone()]).when(ApiKeyCommand::Revoke).then([ApiKeyEvent::Revoked]);
    given([first.clone(), ApiKeyEvent::Revoked]).when(ApiKeyCommand::Revoke).then_nothing();
    let state = scenario::fold::<Key>([&first, &ApiKeyEvent::Revoked]);
    assert_eq!(state, ApiKey::Revoked(key(Role::Reporter)), "it stays known");
}

#[test]
fn an_expired_key_is_known_as_such() {
    let ending = IssuedKey { expires_at: Some(NOW), ..key(Role::Reporter) };
    assert!(ending.is_expired(NOW));
    assert!(!ending.is_expired(Timestamp::from_micros(NOW.as_micros() - 1)));
    assert!(!key(Role::Reporter).is_expired(Timestamp::from_micros(i64::MAX)));
}

#[test]
fn a_hash_round_trips_and_shows_little_of_itself() {
    let hash = KeyHash([0xAB; 32]);
    assert_eq!(KeyHash::from_hex(&hash.to_hex()), Some(hash));
    assert!(!format!("{hash:?}").contains(&hash.to_hex()));
    for bad in ["", "ab", &"g".repeat(64), &"+1".repeat(32), &"ab".repeat(33)] {
        assert_eq!(KeyHash::from_hex(bad), None, "{bad:?}");
    }
}

fn command() -> impl Strategy<Value = ApiKeyCommand> {
    let role = || select(Role::ALL.as_slice());
    let expires_at = proptest::option::of(any::<i64>().prop_map(Timestamp::from_micros));
    prop_oneof![
        (role(), role(), expires_at, ".{0,3}").prop_map(
            |(of_key, creator_role, expires_at, name)| {
                issue(IssuedKey { expires_at, name, ..key(of_key) }, creator_role)
            }
        ),
        Just(ApiKeyCommand::Revoke),
    ]
}

proptest! {
    #[test]
    fn replaying_gives_the_live_state_and_a_revoked_key_stays_revoked(
        commands in proptest::collection::vec(command(), 0..12),
    ) {
        let mut was_revoked = false;
        let (log, state) = scenario::live::<Key>(commands, |state| {
            let revoked = matches!(state, ApiKey::Revoked(_));
            assert!(!was_revoked || revoked);
            was_revoked = revoked;
        });
        prop_assert_eq!(scenario::fold::<Key>(&log), state);
    }
}

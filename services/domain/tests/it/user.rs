//! Users.

use domain::event::UserEvent;
use domain::user::{self, User, UserCommand};
use domain::{ErrorCode, Refusal, SecretRef};

use crate::scenario::{self, Aggregate, Given};

struct Person;

impl Aggregate for Person {
    type State = User;
    type Command = UserCommand;
    type Event = UserEvent;

    fn decide(state: &User, command: UserCommand) -> Result<Vec<UserEvent>, Refusal> {
        user::decide(state, command)
    }

    fn evolve(state: User, event: &UserEvent) -> User {
        user::evolve(state, event)
    }
}

fn given(events: impl IntoIterator<Item = UserEvent>) -> Given<Person> {
    scenario::given(events)
}

fn credential(version: u32) -> SecretRef {
    SecretRef { path: "users/1/credential".to_owned(), version }
}

fn register(email: &str, display_name: &str) -> UserCommand {
    UserCommand::Register {
        email: email.to_owned(),
        display_name: display_name.to_owned(),
        credential: credential(1),
    }
}

fn registered() -> UserEvent {
    UserEvent::Registered {
        email: "ada@example.com".to_owned(),
        display_name: "Ada".to_owned(),
        credential: credential(1),
    }
}

#[test]
fn a_user_registers_once_with_a_lower_case_address() {
    given([]).when(register(" Ada@Example.com ", " Ada ")).then([registered()]);
    given([registered()])
        .when(register("ada@example.com", "Ada"))
        .then_refused(ErrorCode::AlreadyExists);
}

#[test]
fn address_and_name_have_their_rules() {
    for email in ["", "ada", "@example.com", "a b@c", "a@b@c"] {
        given([]).when(register(email, "Ada")).then_invalid("email");
    }
    for name in ["", "A\u{7}a", &"x".repeat(101)] {
        given([]).when(register("a@b", name)).then_invalid("display_name");
    }
}

#[test]
fn a_user_changes_the_password() {
    let change = UserCommand::ChangePassword { credential: credential(2) };
    let changed = UserEvent::PasswordChanged { credential: credential(2) };
    given([]).when(change.clone()).then_refused(ErrorCode::NotFound);
    given([registered()]).when(change).then([changed.clone()]);
    let state = scenario::fold::<Person>([&registered(), &changed]);
    let User::Active { credential: known, email, .. } = state else { panic!("the user is gone") };
    assert_eq!((known, email.as_str()), (credential(2), "ada@example.com"));
}

#[test]
fn an_event_without_a_user_makes_none() {
    let changed = UserEvent::PasswordChanged { credential: credential(2) };
    assert_eq!(user::evolve(User::Absent, &changed), User::Absent);
}

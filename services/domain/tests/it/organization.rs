//! Organizations.

use domain::event::OrganizationEvent;
use domain::organization::{self, Organization, OrganizationCommand};
use domain::{ErrorCode, Refusal, UserId};
use uuid::Uuid;

use crate::scenario::{self, Aggregate, Given};

struct Tenant;

impl Aggregate for Tenant {
    type State = Organization;
    type Command = OrganizationCommand;
    type Event = OrganizationEvent;

    fn decide(
        state: &Organization,
        command: OrganizationCommand,
    ) -> Result<Vec<OrganizationEvent>, Refusal> {
        organization::decide(state, command)
    }

    fn evolve(state: Organization, event: &OrganizationEvent) -> Organization {
        organization::evolve(state, event)
    }
}

const OWNER: UserId = UserId::from_uuid(Uuid::from_u128(1));
const FRIEND: UserId = UserId::from_uuid(Uuid::from_u128(2));

fn given(events: impl IntoIterator<Item = OrganizationEvent>) -> Given<Tenant> {
    scenario::given(events)
}

fn created() -> OrganizationEvent {
    OrganizationEvent::Created { name: "Acme".to_owned(), owner: OWNER }
}

fn create(name: &str) -> OrganizationCommand {
    OrganizationCommand::Create { name: name.to_owned(), owner: OWNER }
}

#[test]
fn it_is_created_once_with_a_trimmed_name() {
    given([]).when(create(" Acme ")).then([created()]);
    given([created()]).when(create("Acme")).then_refused(ErrorCode::AlreadyExists);
    given([]).when(create(" ")).then_invalid("name");
}

#[test]
fn a_member_is_added_once() {
    let add = |user| OrganizationCommand::AddMember { user };
    let added = OrganizationEvent::MemberAdded { user: FRIEND };
    given([created()]).when(add(FRIEND)).then([added.clone()]);
    given([created(), added]).when(add(FRIEND)).then_nothing();
    given([created()]).when(add(OWNER)).then_nothing();
    given([]).when(add(FRIEND)).then_refused(ErrorCode::NotFound);
}

#[test]
fn members_are_limited() {
    let members = (0..organization::MAX_MEMBERS - 1).map(|n| OrganizationEvent::MemberAdded {
        user: UserId::from_uuid(Uuid::from_u128(1_000 + n as u128)),
    });
    given(std::iter::once(created()).chain(members))
        .when(OrganizationCommand::AddMember { user: FRIEND })
        .then_refused(ErrorCode::ResourceExhausted);
}

#[test]
fn an_event_without_an_organization_makes_none() {
    let state = organization::evolve(
        Organization::Absent,
        &OrganizationEvent::MemberAdded { user: FRIEND },
    );
    assert_eq!(state, Organization::Absent);
}

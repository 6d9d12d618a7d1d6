//! An organization: a tenant.

use crate::error::{ErrorCode, Refusal};
use crate::event::OrganizationEvent;
use crate::ids::UserId;
use crate::text;

/// Most members of an organization.
pub const MAX_MEMBERS: usize = 100_000;

/// The state of an organization.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Organization {
    /// Nothing happened yet.
    #[default]
    Absent,
    /// It exists.
    Active {
        /// Its name.
        name: String,
        /// Who belongs to it; the first is its owner.
        members: Vec<UserId>,
    },
}

/// What can be asked of an organization.
#[derive(Clone, Debug)]
pub enum OrganizationCommand {
    /// Make it.
    Create {
        /// 1–100 characters.
        name: String,
        /// Its first owner.
        owner: UserId,
    },
    /// Let a user belong to it. Asking again changes nothing.
    AddMember {
        /// Who.
        user: UserId,
    },
}

/// The rules.
///
/// # Errors
/// A [`Refusal`] that says which rule stands against it.
pub fn decide(
    state: &Organization,
    command: OrganizationCommand,
) -> Result<Vec<OrganizationEvent>, Refusal> {
    match (state, command) {
        (Organization::Absent, OrganizationCommand::Create { name, owner }) => {
            Ok(vec![OrganizationEvent::Created { name: text::name("name", &name)?, owner }])
        }
        (Organization::Active { .. }, OrganizationCommand::Create { .. }) => {
            Err(Refusal::new(ErrorCode::AlreadyExists, "the organization exists"))
        }
        (Organization::Active { members, .. }, OrganizationCommand::AddMember { user }) => {
            if members.contains(&user) {
                return Ok(vec![]);
            }
            if members.len() >= MAX_MEMBERS {
                return Err(Refusal::new(
                    ErrorCode::ResourceExhausted,
                    "the organization has 100,000 members",
                ));
            }
            Ok(vec![OrganizationEvent::MemberAdded { user }])
        }
        (Organization::Absent, OrganizationCommand::AddMember { .. }) => {
            Err(Refusal::not_found("organization"))
        }
    }
}

/// The state after an event.
#[must_use]
pub fn evolve(state: Organization, event: &OrganizationEvent) -> Organization {
    match (state, event) {
        (_, OrganizationEvent::Created { name, owner }) => {
            Organization::Active { name: name.clone(), members: vec![*owner] }
        }
        (Organization::Active { name, mut members }, OrganizationEvent::MemberAdded { user }) => {
            members.push(*user);
            Organization::Active { name, members }
        }
        (state @ Organization::Absent, OrganizationEvent::MemberAdded { .. }) => state,
    }
}

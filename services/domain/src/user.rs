//! A person who can log in.

use crate::error::{ErrorCode, Refusal};
use crate::event::{SecretRef, UserEvent};
use crate::text;

/// The state of a user.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum User {
    /// Nothing happened yet.
    #[default]
    Absent,
    /// Can log in.
    Active {
        /// Lower case.
        email: String,
        /// As shown to others.
        display_name: String,
        /// The password's verifier.
        credential: SecretRef,
    },
}

/// What can be asked of a user.
#[derive(Clone, Debug)]
pub enum UserCommand {
    /// Let a person log in.
    Register {
        /// Unique; put in lower case.
        email: String,
        /// 1–100 characters.
        display_name: String,
        /// The verifier, sealed before.
        credential: SecretRef,
    },
    /// Take another password.
    ChangePassword {
        /// The new verifier, sealed before.
        credential: SecretRef,
    },
}

/// The rules.
///
/// # Errors
/// A [`Refusal`] that says which rule stands against it.
pub fn decide(state: &User, command: UserCommand) -> Result<Vec<UserEvent>, Refusal> {
    match (state, command) {
        (User::Absent, UserCommand::Register { email, display_name, credential }) => {
            Ok(vec![UserEvent::Registered {
                email: text::email("email", &email)?,
                display_name: text::name("display_name", &display_name)?,
                credential,
            }])
        }
        (User::Active { .. }, UserCommand::Register { .. }) => {
            Err(Refusal::new(ErrorCode::AlreadyExists, "the user exists"))
        }
        (User::Active { .. }, UserCommand::ChangePassword { credential }) => {
            Ok(vec![UserEvent::PasswordChanged { credential }])
        }
        (User::Absent, UserCommand::ChangePassword { .. }) => Err(Refusal::not_found("user")),
    }
}

/// The state after an event.
#[must_use]
pub fn evolve(state: User, event: &UserEvent) -> User {
    match (state, event) {
        (_, UserEvent::Registered { email, display_name, credential }) => User::Active {
            email: email.clone(),
            display_name: display_name.clone(),
            credential: credential.clone(),
        },
        (User::Active { email, display_name, .. }, UserEvent::PasswordChanged { credential }) => {
            User::Active { email, display_name, credential: credential.clone() }
        }
        (state @ User::Absent, UserEvent::PasswordChanged { .. }) => state,
    }
}

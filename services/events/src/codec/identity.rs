//! Organizations, users and logins.

use domain::event::{LoginEvent, OrganizationEvent, UserEvent};
use domain::{Event, SecretRef};
use proto::events::v1;

use super::{Encoded, InvalidField, id, write};
use crate::event_type::EventType;

pub(super) fn secret_ref(secret: &SecretRef) -> v1::SecretRef {
    v1::SecretRef { path: secret.path.clone(), version: secret.version }
}

pub(super) fn read_secret_ref(
    field: &'static str,
    stored: Option<v1::SecretRef>,
) -> Result<SecretRef, InvalidField> {
    let stored = stored.ok_or(InvalidField::missing(field))?;
    Ok(SecretRef { path: stored.path, version: stored.version })
}

pub(super) fn encode_organization(event: &OrganizationEvent) -> Encoded {
    match event {
        OrganizationEvent::Created { name, owner } => write(
            EventType::OrganizationCreated,
            &v1::OrganizationCreated { name: name.clone(), owner: owner.to_string() },
        ),
        OrganizationEvent::MemberAdded { user } => write(
            EventType::OrganizationMemberAdded,
            &v1::OrganizationMemberAdded { user: user.to_string() },
        ),
    }
}

pub(super) fn read_organization_created(
    stored: v1::OrganizationCreated,
) -> Result<Event, InvalidField> {
    let owner = id("owner", &stored.owner)?;
    Ok(Event::Organization(OrganizationEvent::Created { name: stored.name, owner }))
}

pub(super) fn read_organization_member_added(
    stored: v1::OrganizationMemberAdded,
) -> Result<Event, InvalidField> {
    let user = id("user", &stored.user)?;
    Ok(Event::Organization(OrganizationEvent::MemberAdded { user }))
}

pub(super) fn encode_user(event: &UserEvent) -> Encoded {
    match event {
        UserEvent::Registered { email, display_name, credential } => write(
            EventType::UserRegistered,
            &v1::UserRegistered {
                email: email.clone(),
                display_name: display_name.clone(),
                credential: Some(secret_ref(credential)),
            },
        ),
        UserEvent::PasswordChanged { credential } => write(
            EventType::UserPasswordChanged,
            &v1::UserPasswordChanged { credential: Some(secret_ref(credential)) },
        ),
    }
}

pub(super) fn read_user_registered(stored: v1::UserRegistered) -> Result<Event, InvalidField> {
    Ok(Event::User(UserEvent::Registered {
        email: stored.email,
        display_name: stored.display_name,
        credential: read_secret_ref("credential", stored.credential)?,
    }))
}

pub(super) fn read_user_password_changed(
    stored: v1::UserPasswordChanged,
) -> Result<Event, InvalidField> {
    let credential = read_secret_ref("credential", stored.credential)?;
    Ok(Event::User(UserEvent::PasswordChanged { credential }))
}

pub(super) fn encode_login(event: &LoginEvent) -> Encoded {
    match event {
        LoginEvent::Succeeded { user } => {
            write(EventType::LoginSucceeded, &v1::LoginSucceeded { user: user.to_string() })
        }
        LoginEvent::Failed { user } => {
            write(EventType::LoginFailed, &v1::LoginFailed { user: user.to_string() })
        }
    }
}

pub(super) fn read_login_succeeded(stored: v1::LoginSucceeded) -> Result<Event, InvalidField> {
    Ok(Event::Login(LoginEvent::Succeeded { user: id("user", &stored.user)? }))
}

pub(super) fn read_login_failed(stored: v1::LoginFailed) -> Result<Event, InvalidField> {
    Ok(Event::Login(LoginEvent::Failed { user: id("user", &stored.user)? }))
}

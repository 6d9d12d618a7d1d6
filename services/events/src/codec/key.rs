//! Keys.

use domain::api_key::KeyHash;
use domain::event::ApiKeyEvent;
use domain::{Event, Timestamp};
use proto::events::v1;

use super::project::{read_role, role};
use super::{Encoded, InvalidField, id, write};
use crate::event_type::EventType;

pub(super) fn encode(event: &ApiKeyEvent) -> Encoded {
    match event {
        ApiKeyEvent::Issued { project, name, hash, suffix, role: at_most, creator, expires_at } => {
            write(
                EventType::ApiKeyIssued,
                &v1::ApiKeyIssued {
                    project: project.to_string(),
                    name: name.clone(),
                    hash: hash.to_hex(),
                    suffix: suffix.clone(),
                    role: role(*at_most).into(),
                    creator: creator.to_string(),
                    expires_at_us: expires_at.map_or(0, Timestamp::as_micros),
                },
            )
        }
        ApiKeyEvent::Revoked => write(EventType::ApiKeyRevoked, &v1::ApiKeyRevoked {}),
    }
}

pub(super) fn read_issued(stored: v1::ApiKeyIssued) -> Result<Event, InvalidField> {
    let expires = stored.expires_at_us;
    Ok(Event::ApiKey(ApiKeyEvent::Issued {
        project: id("project", &stored.project)?,
        name: stored.name,
        hash: KeyHash::from_hex(&stored.hash)
            .ok_or(InvalidField::new("hash", "is no SHA-256 in hexadecimal"))?,
        suffix: stored.suffix,
        role: read_role(stored.role)?,
        creator: id("creator", &stored.creator)?,
        expires_at: (expires != 0).then_some(Timestamp::from_micros(expires)),
    }))
}

pub(super) fn read_revoked(_: v1::ApiKeyRevoked) -> Result<Event, InvalidField> {
    Ok(Event::ApiKey(ApiKeyEvent::Revoked))
}

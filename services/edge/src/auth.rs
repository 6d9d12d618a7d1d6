//! Who asks, and what for: from the header to a [`Grant`], in memory.
//!
//! No, an unknown, an expired or a revoked key is [`Denied::Unauthenticated`]. With a good key,
//! another project, an unknown one and an unknown server are one and the same
//! [`Denied::NotFound`].

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use domain::api_key::{ApiKey, IssuedKey, KeyHash};
use domain::project::ProjectSettings;
use domain::{ApiKeyId, ProjectId, Role, TenantId, Timestamp};
use events::{Configuration, KeyEntry};
use ring::digest::{SHA256, digest};

use crate::scope::Scope;

/// The longest credential that is looked at, in bytes.
const MAX_KEY_BYTES: usize = 256;

/// What a request may do.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) tenant: TenantId,
    pub(crate) key: ApiKeyId,
    pub(crate) role: Role,
    pub(crate) scope: Scope,
    pub(crate) settings: ProjectSettings,
}

/// Why a request may do nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is no valid key.
    Unauthenticated,
    /// The key is good, but what is asked for is not there for it.
    NotFound {
        /// The key's tenant, where the denial is recorded.
        tenant: TenantId,
        /// The key.
        key: ApiKeyId,
        /// The key's own project.
        project: ProjectId,
    },
}

/// The URL's part that says what is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Asked<'a> {
    /// All servers of a project.
    Unified { project: &'a str },
    /// One server, by its name.
    Server { project: &'a str, name: &'a str },
}

/// Finds out what a request may do.
pub(crate) fn authenticate(
    configuration: &Configuration,
    headers: &HeaderMap,
    asked: &Asked<'_>,
    now: Timestamp,
) -> Result<Grant, Denied> {
    let hash = presented(headers).ok_or(Denied::Unauthenticated)?;
    let (entry, key) = valid_key(configuration, &hash, now).ok_or(Denied::Unauthenticated)?;
    // A key whose creator left the project may do nothing any more: as if it were revoked.
    let role = configuration.effective_role(entry).ok_or(Denied::Unauthenticated)?;
    let not_found =
        || Denied::NotFound { tenant: entry.tenant, key: entry.id, project: key.project.clone() };
    let (Asked::Unified { project } | Asked::Server { project, .. }) = asked;
    if *project != key.project.as_str() {
        return Err(not_found());
    }
    let settings = configuration
        .project(&key.project)
        .filter(|project| project.tenant == entry.tenant)
        .map(|project| project.project.settings)
        .ok_or_else(not_found)?;
    let scope = match asked {
        Asked::Unified { .. } if settings.unified_enabled => Scope::Unified(key.project.clone()),
        Asked::Unified { .. } => return Err(not_found()),
        Asked::Server { name, .. } => configuration
            .server_named(&key.project, name)
            .filter(|server| !server.server.disabled)
            .map(|server| Scope::Server(key.project.clone(), server.id))
            .ok_or_else(not_found)?,
    };
    Ok(Grant { tenant: entry.tenant, key: entry.id, role, scope, settings })
}

/// Whether a session may go on that was opened with `key` for `scope`.
pub(crate) fn is_still_allowed(
    configuration: &Configuration,
    key: ApiKeyId,
    scope: &Scope,
    now: Timestamp,
) -> bool {
    let Some(entry) = configuration.key_by_id(&key) else {
        return false;
    };
    let ApiKey::Active(issued) = &entry.key else {
        return false;
    };
    if issued.is_expired(now) || configuration.effective_role(entry).is_none() {
        return false;
    }
    let Some(project) = configuration.project(scope.project()) else {
        return false;
    };
    match scope {
        Scope::Unified(_) => project.project.settings.unified_enabled,
        Scope::Server(_, server) => {
            configuration.server(server).is_some_and(|entry| !entry.server.disabled)
        }
    }
}

fn valid_key<'a>(
    configuration: &'a Configuration,
    hash: &KeyHash,
    now: Timestamp,
) -> Option<(&'a KeyEntry, &'a IssuedKey)> {
    let entry = configuration.key(hash)?;
    match &entry.key {
        ApiKey::Active(key) if !key.is_expired(now) => Some((entry.as_ref(), key)),
        ApiKey::Active(_) | ApiKey::Revoked(_) | ApiKey::Absent => None,
    }
}

/// The hash of the key in `Authorization: Bearer …` or `X-API-Key`. Never from the query: a URL
/// ends up in logs.
fn presented(headers: &HeaderMap) -> Option<KeyHash> {
    let bearer =
        headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| {
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
    let key = bearer.or_else(|| headers.get("x-api-key").and_then(|value| value.to_str().ok()))?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return None;
    }
    let digest = digest(&SHA256, key.as_bytes());
    digest.as_ref().try_into().ok().map(KeyHash)
}

/// Whether a URL carries what looks like a credential.
pub(crate) fn query_has_credential(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let named = ["access_token", "api_key", "apikey", "token"];
        value.starts_with("api_key_") || named.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn hash(pairs: &[(&'static str, &'static str)]) -> Option<KeyHash> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        presented(&headers.collect())
    }

    #[test]
    fn a_key_comes_in_either_header_and_in_no_other_scheme() {
        let key = hash(&[("authorization", "Bearer api_key_1")]);
        assert!(key.is_some());
        assert_eq!(hash(&[("authorization", "bearer  api_key_1 ")]), key);
        assert_eq!(hash(&[("x-api-key", "api_key_1")]), key);
        assert_eq!(hash(&[("authorization", "Basic eDp5"), ("x-api-key", "api_key_1")]), key);
        assert_ne!(hash(&[("x-api-key", "api_key_2")]), key);
        for none in ["", "Bearer", "Bearer ", "api_key_1"] {
            assert_eq!(hash(&[("authorization", none)]), None, "{none:?}");
        }
        let long = HeaderValue::from_str(&"x".repeat(MAX_KEY_BYTES + 1)).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", long);
        assert_eq!(presented(&headers), None);
    }

    #[test]
    fn credentials_in_a_url_are_seen() {
        for bad in ["token=x", "a=b&api_key=x", "Access_Token=x", "session_id=api_key_1"] {
            assert!(query_has_credential(bad), "{bad}");
        }
        for good in ["", "session_id=0f", "a=b&c", "tokens=1"] {
            assert!(!query_has_credential(good), "{good}");
        }
    }
}

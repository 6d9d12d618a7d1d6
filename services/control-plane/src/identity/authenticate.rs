//! From a credential to a [`Ctx`].

use domain::{ErrorCode, Refusal};

use super::{api_key, token};
use crate::app::App;
use crate::context::{Ctx, Principal};

/// The context of a request that came with a session token, without `Bearer`.
///
/// # Errors
/// `Unauthenticated`, also when the user left the organization since.
pub async fn authenticate_session(app: &App, token: &str) -> Result<Ctx, Refusal> {
    let now = app.now();
    let claims = app.tokens.check(token, now)?;
    if !app.views.in_organization(claims.org, claims.sub).await? {
        return Err(token::refused());
    }
    Ok(Ctx {
        tenant: claims.org,
        principal: Principal::User(claims.sub),
        correlation: app.new_id().to_string(),
        now,
    })
}

/// The context of a request that came with an API key.
///
/// # Errors
/// `Unauthenticated` for an unknown, expired or revoked key: the three look the same.
pub async fn authenticate_api_key(app: &App, key: &str) -> Result<Ctx, Refusal> {
    let now = app.now();
    let refused =
        || Refusal::new(ErrorCode::Unauthenticated, "the API key is missing or not valid");
    if !key.starts_with(api_key::PREFIX) || key.len() > api_key::MAX_LEN {
        return Err(refused());
    }
    let found = app.views.api_key_by_hash(api_key::hash(key)).await?;
    let (tenant, view) = found.ok_or_else(refused)?;
    if view.revoked || view.expires_at.is_some_and(|end| end <= now) {
        return Err(refused());
    }
    Ok(Ctx {
        tenant,
        principal: Principal::ApiKey {
            id: view.id,
            project: view.project,
            role: view.role,
            creator: view.creator,
            suffix: view.suffix,
        },
        correlation: app.new_id().to_string(),
        now,
    })
}

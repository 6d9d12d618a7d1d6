//! The one question before everything in a project: may the caller do this here?

use authz::Action;
use domain::{ErrorCode, ProjectId, Refusal, Role};

use crate::app::App;
use crate::context::{Ctx, Principal};

/// The caller's role in the project, if it lets `action` be done.
///
/// # Errors
/// `NotFound` when the project does not exist or the caller has no part in it: the two look the
/// same. `PermissionDenied` when the caller's role is too small. Both are recorded in the
/// caller's tenant.
pub async fn authorize(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    action: Action,
) -> Result<Role, Refusal> {
    let Some(role) = role_in(app, ctx, project).await? else {
        let refusal = Refusal::not_found("project");
        super::denial::record(app, ctx, None, action.as_str(), &refusal, project.as_str()).await;
        return Err(refusal);
    };
    if app.authorizer.allows(role, action) {
        return Ok(role);
    }
    let refusal = Refusal::new(
        ErrorCode::PermissionDenied,
        format!("a {role} may not do this ({}): ask an Owner of the project", action.as_str()),
    );
    super::denial::record(app, ctx, Some(project), action.as_str(), &refusal, "").await;
    Err(refusal)
}

/// What the caller is in the project now: a key is no more than its creator, and nothing in
/// another project than its own.
pub async fn role_in(app: &App, ctx: &Ctx, project: &ProjectId) -> Result<Option<Role>, Refusal> {
    let (user, most) = match &ctx.principal {
        Principal::User(user) => (*user, Role::Owner),
        Principal::ApiKey { project: own, role, creator, .. } if own == project => {
            (*creator, *role)
        }
        Principal::ApiKey { .. } => return Ok(None),
        Principal::System => {
            let known = app.views.project_exists(ctx.tenant, project).await?;
            return Ok(known.then_some(Role::Owner));
        }
    };
    let role = app.views.role(ctx.tenant, project, user).await?;
    Ok(role.map(|role| role.min(most)))
}

/// Something in a project that is not there, or is another project's: the same answer, recorded.
pub(crate) async fn missing(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    action: Action,
    what: &str,
    id: &str,
) -> Refusal {
    let refusal = Refusal::not_found(what);
    super::denial::record(app, ctx, Some(project), action.as_str(), &refusal, id).await;
    refusal
}

//! The keys of a project, without the keys themselves.

use authz::Action;
use domain::{ProjectId, Refusal};

use super::authorize::authorize;
use crate::app::{App, Page, Paging};
use crate::context::Ctx;
use crate::views::ApiKeyView;

const LIST: &str = "api_keys";

/// The keys, oldest first, revoked ones included.
///
/// # Errors
/// `NotFound`, `PermissionDenied`; `InvalidArgument` for a page token of another list.
pub async fn list_api_keys(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    paging: &Paging,
) -> Result<Page<ApiKeyView>, Refusal> {
    authorize(app, ctx, project, Action::ApiKeysRead).await?;
    let after = paging.after(LIST)?;
    let items = app.views.api_keys(ctx.tenant, project, after.as_deref(), paging.size()).await?;
    Ok(Page::cut(items, paging, LIST, |key| key.id.to_string()))
}

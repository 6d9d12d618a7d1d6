//! Who is in a project.

use authz::Action;
use domain::{ProjectId, Refusal};

use super::authorize::authorize;
use crate::app::{App, Page, Paging};
use crate::context::Ctx;
use crate::views::MemberView;

const LIST: &str = "members";

/// The members, by user id.
///
/// # Errors
/// `NotFound`; `InvalidArgument` for a page token of another list.
pub async fn list_members(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    paging: &Paging,
) -> Result<Page<MemberView>, Refusal> {
    authorize(app, ctx, project, Action::MembersRead).await?;
    let after = paging.after(LIST)?;
    let items = app.views.members(ctx.tenant, project, after.as_deref(), paging.size()).await?;
    Ok(Page::cut(items, paging, LIST, |member| member.user.to_string()))
}

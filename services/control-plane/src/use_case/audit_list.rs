//! Who did what, when, with what outcome: newest first.

use authz::Action;
use domain::{ErrorCode, ProjectId, Refusal, Timestamp};

use super::authorize::authorize;
use crate::app::{App, Page, Paging};
use crate::context::{Ctx, Principal};
use crate::fault;
use crate::views::AuditView;

const LIST: &str = "audit";

/// Which entries are wanted. What is absent lets everything through.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of this project; of the whole organization if none.
    pub project: Option<ProjectId>,
    /// By this user or key.
    pub actor_id: Option<String>,
    /// Exactly this event type, or a prefix that ends in `.`.
    pub action: Option<String>,
    /// Of this kind of stream.
    pub target_kind: Option<String>,
    /// Of this stream.
    pub target_id: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Recorded before this time.
    pub to: Option<Timestamp>,
}

/// The entries. Developer of the project; for the whole organization its owner.
///
/// # Errors
/// `NotFound`, `PermissionDenied`; `InvalidArgument` for a page token of another list.
pub async fn list_audit(
    app: &App,
    ctx: &Ctx,
    filter: &AuditFilter,
    paging: &Paging,
) -> Result<Page<AuditView>, Refusal> {
    match &filter.project {
        Some(project) => {
            authorize(app, ctx, project, Action::AuditRead).await?;
        }
        None => require_organization_owner(app, ctx).await?,
    }
    let before = paging.after(LIST)?.map(|key| key.parse::<u64>()).transpose();
    let before = before.map_err(|_| Refusal::invalid("page_token", "is not one of ours"))?;
    let entries = app.views.audit(ctx.tenant, filter, before, paging.size()).await?;
    let mut page = Page::cut(entries, paging, LIST, |entry| entry.position.to_string());
    for entry in &mut page.items {
        let event = app.store.event(entry.tenant, entry.event).await.map_err(fault::store)?;
        if let Some(event) = event {
            entry.event_json = String::from_utf8_lossy(&event.payload).into_owned();
        }
    }
    Ok(page)
}

/// Whether the caller is the organization itself, or who owns it.
pub(crate) async fn require_organization_owner(app: &App, ctx: &Ctx) -> Result<(), Refusal> {
    let owns = match ctx.principal {
        Principal::System => true,
        Principal::User(user) => app.views.owns_organization(ctx.tenant, user).await?,
        Principal::ApiKey { .. } => false,
    };
    if owns {
        return Ok(());
    }
    let refusal = Refusal::new(
        ErrorCode::PermissionDenied,
        "only the organization's owner may do this; for one project, name it",
    );
    super::denial::record(app, ctx, None, "organization", &refusal, "").await;
    Err(refusal)
}

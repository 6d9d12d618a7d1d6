//! `/projects/{id}/audit`: who did what, when, with what outcome.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::failure::{Answer, ErrorBody};
use super::page::{PageParams, page};
use super::request::{InProject, Params};
use super::time;
use crate::app::App;
use crate::use_case::{self, AuditFilter};
use crate::views::AuditView;

/// An entry.
#[derive(Serialize, ToSchema)]
struct AuditItem {
    /// Its place in the log.
    position: u64,
    /// RFC 3339.
    time: String,
    /// `user`, `api_key` or `system`.
    actor_kind: String,
    actor_id: String,
    /// The event's type, e.g. `server.registered`.
    action: String,
    target_kind: String,
    target_id: String,
    /// `ok`, `denied`, or how a call ended.
    outcome: String,
    /// The event as stored.
    #[schema(value_type = Object)]
    event: Option<Box<RawValue>>,
}

impl From<AuditView> for AuditItem {
    fn from(entry: AuditView) -> Self {
        Self {
            position: entry.position,
            time: time::show(entry.time),
            actor_kind: entry.actor_kind,
            actor_id: entry.actor_id,
            action: entry.action,
            target_kind: entry.target_kind,
            target_id: entry.target_id,
            outcome: entry.outcome,
            event: RawValue::from_string(entry.event_json).ok(),
        }
    }
}

page! {
    /// A page of entries.
    AuditPage of AuditItem as entries
}

/// What happened in the project, newest first. Developer.
#[utoipa::path(
    get, path = "/projects/{id}/audit", tag = "audit", operation_id = "list_audit",
    params(
        ("id" = String, Path, description = "the project"),
        ("actor_id" = Option<String>, Query, description = "by this user or key"),
        ("action" = Option<String>, Query, description = "exact, or a prefix that ends in a dot"),
        ("target_kind" = Option<String>, Query, description = "of this kind of stream"),
        ("target_id" = Option<String>, Query, description = "of this stream"),
        ("outcome" = Option<String>, Query, description = "with this outcome"),
        ("from" = Option<String>, Query, description = "at this time or later, RFC 3339"),
        ("to" = Option<String>, Query, description = "before this time, RFC 3339"),
        PageParams,
    ),
    responses(
        (status = 200, body = AuditPage),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    params: Params,
) -> Answer<Json<AuditPage>> {
    let filter = AuditFilter {
        project: Some(project),
        actor_id: params.text("actor_id"),
        action: params.text("action"),
        target_kind: params.text("target_kind"),
        target_id: params.text("target_id"),
        outcome: params.text("outcome"),
        from: params.time("from")?,
        to: params.time("to")?,
    };
    let page = use_case::list_audit(&app, &ctx, &filter, &params.paging()?).await?;
    Ok(Json(page.map(AuditItem::from).into()))
}

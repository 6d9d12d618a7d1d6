//! `/projects/{id}/members`: who is in a project, and as what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::Refusal;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::api_key::read_role;
use super::failure::{Answer, ErrorBody};
use super::page::{PageParams, page};
use super::request::{Body, IdempotencyKey, InProject, Params};
use crate::app::App;
use crate::use_case::{self, RemoveMember, SetMember, UserRef};
use crate::views::MemberView;

/// A member.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberItem {
    user_id: String,
    email: String,
    display_name: String,
    /// `owner`, `developer` or `reporter`.
    role: &'static str,
}

impl From<MemberView> for MemberItem {
    fn from(member: MemberView) -> Self {
        Self {
            user_id: member.user.to_string(),
            email: member.email,
            display_name: member.display_name,
            role: member.role.as_str(),
        }
    }
}

page! {
    /// A page of members.
    MemberPage of MemberItem as members
}

/// As what a member is in the project.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct MemberBody {
    /// `owner`, `developer` or `reporter`.
    role: String,
}

/// The members of the project.
#[utoipa::path(
    get, path = "/projects/{id}/members", tag = "members", operation_id = "list_members",
    params(
        ("id" = String, Path, description = "the project"),
        PageParams,
    ),
    responses(
        (status = 200, body = MemberPage),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    params: Params,
) -> Answer<Json<MemberPage>> {
    let page = use_case::list_members(&app, &ctx, &project, &params.paging()?).await?;
    Ok(Json(page.map(MemberItem::from).into()))
}

/// Adds a registered user or changes a member's role. Owner.
#[utoipa::path(
    put, path = "/projects/{id}/members/{uid}", tag = "members", operation_id = "set_member",
    params(
        ("id" = String, Path, description = "the project"),
        ("uid" = String, Path, description = "the user's id or e-mail address"),
    ),
    request_body = MemberBody,
    responses(
        (status = 200, body = MemberItem),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, description = "The last Owner stays one", body = ErrorBody),
    ),
)]
pub(super) async fn set(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<Json<MemberItem>> {
    let user = match ids.text("uid") {
        email if email.contains('@') => UserRef::Email(email.to_owned()),
        _ => UserRef::Id(ids.get("uid", "user")?),
    };
    let role = read_role(&body)?.ok_or_else(|| Refusal::invalid("role", "is missing"))?;
    let command = SetMember { project, user, role, idempotency_key };
    Ok(Json(use_case::set_member(&app, &ctx, command).await?.into()))
}

/// Puts a member out of the project. Owner, or the member itself.
#[utoipa::path(
    delete, path = "/projects/{id}/members/{uid}", tag = "members", operation_id = "remove_member",
    params(
        ("id" = String, Path, description = "the project"),
        ("uid" = String, Path, description = "the user's id"),
    ),
    responses(
        (status = 204),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, description = "The last Owner stays", body = ErrorBody),
    ),
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Answer<StatusCode> {
    let user = ids.get("uid", "member")?;
    let command = RemoveMember { project, user, idempotency_key };
    use_case::remove_member(&app, &ctx, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Letting a registered user into a project, or giving a member another role.

use authz::Action;
use domain::project::{Project, ProjectCommand};
use domain::{ErrorCode, ProjectId, Refusal, Role, TenantId, UserId};

use super::authorize::authorize;
use crate::app::App;
use crate::context::Ctx;
use crate::shell::{self, Fingerprint, Target};
use crate::views::MemberView;

/// Which user.
#[derive(Clone, Debug)]
pub enum UserRef {
    /// By id.
    Id(UserId),
    /// By e-mail address.
    Email(String),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct SetMember {
    /// Where.
    pub project: ProjectId,
    /// Who; must belong to the organization.
    pub user: UserRef,
    /// As what.
    pub role: Role,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Adds the member or changes the role. Owner. The last Owner stays one.
///
/// # Errors
/// `NotFound` for an unknown project or user, `PermissionDenied`, `FailedPrecondition`.
pub async fn set_member(app: &App, ctx: &Ctx, command: SetMember) -> Result<MemberView, Refusal> {
    authorize(app, ctx, &command.project, Action::MembersWrite).await?;
    let key = command.idempotency_key.as_deref();
    let fingerprint = Fingerprint::of("member.set").debug(&command);
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    let user = find_user(app, ctx.tenant, &command.user).await?;
    let target = Target::of::<Project>(ctx.tenant, &command.project).under(idempotency);
    shell::execute::<Project>(app, ctx, target, |state| {
        let set = ProjectCommand::SetMember { user, role: command.role };
        Ok(domain::project::decide(state, set)?.into())
    })
    .await?;
    let member = app.views.member(ctx.tenant, &command.project, user).await?;
    member
        .ok_or_else(|| Refusal::new(ErrorCode::Conflict, "the member was removed at the same time"))
}

/// A user of the organization. One of another organization is as unknown as any.
async fn find_user(app: &App, tenant: TenantId, user: &UserRef) -> Result<UserId, Refusal> {
    let id = match user {
        UserRef::Id(id) => Some(*id),
        UserRef::Email(email) => {
            let email = domain::text::email("email", email)?;
            app.views.user_by_email(&email).await?.map(|user| user.id)
        }
    };
    match id {
        Some(id) if app.views.in_organization(tenant, id).await? => Ok(id),
        _ => Err(Refusal::not_found("user")),
    }
}

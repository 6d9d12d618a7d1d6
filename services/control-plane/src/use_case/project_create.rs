//! Making a project; the caller becomes its first Owner.

use domain::project::{Project, ProjectCommand};
use domain::{ErrorCode, ProjectId, Refusal, UserId};
use event_store::{ReservationChange, ReservationSet};

use super::get_project;
use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::shell::{self, Fingerprint, Plan, Target};
use crate::views::ProjectView;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct CreateProject {
    /// 1–100 characters.
    pub name: String,
    /// Up to 1,000 characters.
    pub description: String,
    /// A wanted id; a generated one if none.
    pub id: Option<ProjectId>,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Makes the project.
///
/// # Errors
/// `AlreadyExists` when the id is taken, by whomever; `PermissionDenied` for API keys.
pub async fn create_project(
    app: &App,
    ctx: &Ctx,
    command: CreateProject,
) -> Result<ProjectView, Refusal> {
    let Principal::User(owner) = ctx.principal else {
        return Err(Refusal::new(ErrorCode::PermissionDenied, "log in to make a project"));
    };
    let id = create_for(app, ctx, command, owner).await?;
    get_project(app, ctx, &id).await
}

/// Makes the project for `owner`.
pub(crate) async fn create_for(
    app: &App,
    ctx: &Ctx,
    command: CreateProject,
    owner: UserId,
) -> Result<ProjectId, Refusal> {
    let fingerprint = Fingerprint::of("project.create")
        .text(&command.name)
        .text(&command.description)
        .debug(&command.id);
    let key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    let id = command.id.unwrap_or_else(|| ProjectId::generated(app.new_id()));
    let target = Target::of::<Project>(ctx.tenant, &id).under(idempotency);
    let done = shell::execute::<Project>(app, ctx, target, |state| {
        let command = ProjectCommand::Create {
            name: command.name.clone(),
            description: command.description.clone(),
            owner,
        };
        let reservation = ReservationChange::Take {
            set: ReservationSet::global(PROJECT_IDS),
            value: id.to_string(),
            holder: format!("{}/{id}", ctx.tenant),
        };
        Ok(Plan {
            events: domain::project::decide(state, command)?,
            reservations: vec![reservation],
        })
    })
    .await?;
    done.id.parse().map_err(|error| crate::fault::internal(&error))
}

/// The set in which project ids are unique over all tenants. Never released: an id stays taken.
pub(crate) const PROJECT_IDS: &str = "project_id";

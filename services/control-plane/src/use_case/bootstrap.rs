//! The first start of a data directory: an owner, an organization, a project and a key.
//!
//! A start that was interrupted is completed by the next one; a completed one does nothing.

use domain::{ErrorCode, ProjectId, Refusal, Role, TenantId, UserId};
use secrecy::{ExposeSecret as _, SecretString};

use super::api_key_create::{CreateApiKey, issue};
use super::create_organization;
use super::project_create::{CreateProject, create_for};
use super::user_register::{RegisterUser, change_password, create_user};
use crate::app::App;
use crate::context::Ctx;
use crate::fault;
use crate::identity::api_key;

/// What the first start makes.
pub struct Bootstrap {
    /// The owner's e-mail address.
    pub email: String,
    /// The organization's name.
    pub organization: String,
    /// The project's name.
    pub project: String,
    /// A fixed project id, for scripts.
    pub project_id: Option<ProjectId>,
    /// A fixed key, for scripts: begins with `api_key_` and has at least 32 characters.
    pub api_key: Option<SecretString>,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            email: "owner@localhost.localdomain".to_owned(),
            organization: "Organization".to_owned(),
            project: "Default".to_owned(),
            project_id: None,
            api_key: None,
        }
    }
}

/// What a first start made; shown once.
pub struct FirstOwner {
    /// Who.
    pub user: UserId,
    /// To log in with.
    pub email: String,
    /// To log in with.
    pub password: SecretString,
    /// Opens the project.
    pub api_key: SecretString,
}

/// What there is after a start.
pub struct Bootstrapped {
    /// The organization.
    pub tenant: TenantId,
    /// The fixed project, or the first one.
    pub project: ProjectId,
    /// Only after the first start.
    pub first: Option<FirstOwner>,
}

/// Makes what is missing.
///
/// # Errors
/// `InvalidArgument` for a fixed key that breaks the rule; `NotFound` when this data directory
/// has no project with the fixed id.
pub async fn bootstrap(app: &App, wanted: Bootstrap) -> Result<Bootstrapped, Refusal> {
    if let Some(key) = &wanted.api_key {
        api_key::check_fixed(key.expose_secret())?;
    }
    if let Some((tenant, first)) = app.views.completed_bootstrap().await? {
        let project = match wanted.project_id {
            Some(id) if app.views.project_exists(tenant, &id).await? => id,
            Some(id) => {
                let message = format!("this data directory has no project {id}");
                return Err(Refusal::new(ErrorCode::NotFound, message));
            }
            None => first,
        };
        return Ok(Bootstrapped { tenant, project, first: None });
    }
    first_start(app, wanted).await
}

async fn first_start(app: &App, wanted: Bootstrap) -> Result<Bootstrapped, Refusal> {
    let system = app.system(TenantId::SYSTEM);
    let password = api_key::one_time_password().map_err(|error| fault::internal(&error))?;
    let email = domain::text::email("email", &wanted.email)?;
    let user = match app.views.user_by_email(&email).await? {
        Some(user) => {
            change_password(app, &system, user.id, &password).await?;
            user.id
        }
        None => {
            let register = RegisterUser {
                email: email.clone(),
                display_name: "Owner".to_owned(),
                password: password.clone(),
            };
            create_user(app, &system, &register).await?
        }
    };
    let ctx = organization(app, user, &wanted.organization).await?;
    let project = project(app, &ctx, user, &wanted).await?;
    let secret = match wanted.api_key {
        Some(key) => key,
        None => api_key::generate().map_err(|error| fault::internal(&error))?,
    };
    let create = CreateApiKey {
        project: project.clone(),
        name: "first key".to_owned(),
        role: Some(Role::Developer),
        expires_at: None,
        idempotency_key: None,
    };
    issue(app, &ctx, create, (user, Role::Owner), secret.clone()).await?;
    let first = FirstOwner { user, email, password, api_key: secret };
    Ok(Bootstrapped { tenant: ctx.tenant, project, first: Some(first) })
}

async fn organization(app: &App, owner: UserId, name: &str) -> Result<Ctx, Refusal> {
    if let Some(tenant) = app.views.organization_of(owner).await? {
        return Ok(app.system(tenant));
    }
    let system = app.system(TenantId::SYSTEM);
    let tenant = create_organization(app, &system, name, owner).await?;
    Ok(app.system(tenant))
}

async fn project(
    app: &App,
    ctx: &Ctx,
    owner: UserId,
    wanted: &Bootstrap,
) -> Result<ProjectId, Refusal> {
    let existing = app.views.projects_of(ctx.tenant, owner, None, 1).await?;
    if let Some(project) = existing.into_iter().next() {
        return Ok(project.id);
    }
    let create = CreateProject {
        name: wanted.project.clone(),
        description: String::new(),
        id: wanted.project_id.clone(),
        idempotency_key: None,
    };
    create_for(app, ctx, create, owner).await
}

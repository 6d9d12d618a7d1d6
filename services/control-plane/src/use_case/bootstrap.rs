//! The first start of a data directory: an owner, an organization, a project and a key.
//!
//! A start that was interrupted is completed by the next one; a completed one does nothing. Of
//! several that are made at the same time, in whatever process, one does it and the others wait.

use std::time::Duration;

use bytes::Bytes;
use domain::{ErrorCode, ProjectId, Refusal, Role, TenantId, UserId};
use event_store::{Claim, Lease};
use secrecy::{ExposeSecret as _, SecretString};

use super::api_key_create::{CreateApiKey, issue};
use super::create_organization;
use super::project_create::{CreateProject, create_for};
use super::user_register::{RegisterUser, change_password, create_user};
use crate::app::App;
use crate::context::Ctx;
use crate::fault;
use crate::identity::api_key;
use crate::shell;

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

/// The lease of the one who makes the first start.
const LEASE: &str = "bootstrap";
/// How long the one may take, and how long the others wait for their turn. A first start takes
/// less than two seconds.
const TURN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// Makes what is missing.
///
/// # Errors
/// `InvalidArgument` for a fixed key that breaks the rule; `NotFound` when this data directory
/// has no project with the fixed id.
pub async fn bootstrap(app: &App, wanted: Bootstrap) -> Result<Bootstrapped, Refusal> {
    if let Some(key) = &wanted.api_key {
        api_key::check_fixed(key.expose_secret())?;
    }
    if let Some(completed) = completed(app, &wanted).await? {
        return Ok(completed);
    }
    let turn = take_turn(app).await?;
    let result = in_turn(app, wanted).await;
    // Else it ends by itself.
    let held = [(turn.name, turn.epoch)];
    if let Err(error) = app.leases.release(&turn.holder, &held).await {
        tracing::warn!(%error, "the turn of the first start was not given back");
    }
    result
}

/// What an earlier start made, if it was completed.
async fn completed(app: &App, wanted: &Bootstrap) -> Result<Option<Bootstrapped>, Refusal> {
    let Some((tenant, first)) = app.views.completed_bootstrap().await? else { return Ok(None) };
    let project = match &wanted.project_id {
        Some(id) if app.views.project_exists(tenant, id).await? => id.clone(),
        Some(id) => {
            let message = format!("this installation has no project {id}");
            return Err(Refusal::new(ErrorCode::NotFound, message));
        }
        None => first,
    };
    Ok(Some(Bootstrapped { tenant, project, first: None }))
}

/// Waits until nobody else makes a first start.
async fn take_turn(app: &App) -> Result<Lease, Refusal> {
    let holder = app.new_id().to_string();
    let claim = Claim { name: LEASE.to_owned(), holder, ttl: TURN, note: Bytes::new() };
    let taking = async {
        loop {
            let claims = std::slice::from_ref(&claim);
            let leases = app.leases.claim(claims).await.map_err(fault::store)?;
            if let Some(lease) = leases.into_iter().flatten().next() {
                return Ok(lease);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let taken = tokio::time::timeout(TURN * 2, taking).await;
    taken.unwrap_or_else(|_| {
        let message = "another process has been making the first start for a minute: see its log";
        Err(Refusal::new(ErrorCode::Unavailable, message))
    })
}

async fn in_turn(app: &App, wanted: Bootstrap) -> Result<Bootstrapped, Refusal> {
    // What the one before did is in the log; it must be in the views of this process, too.
    let head = app.store.head().await.map_err(fault::store)?;
    shell::read_back(app, head).await?;
    match completed(app, &wanted).await? {
        Some(completed) => Ok(completed),
        None => first_start(app, wanted).await,
    }
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

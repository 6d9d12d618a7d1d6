//! Letting a person log in, as a member of the organization.

use domain::organization::{Organization, OrganizationCommand};
use domain::user::{User, UserCommand};
use domain::{ErrorCode, Refusal, SecretRef, TenantId, UserId};
use event_store::{ReservationChange, ReservationSet};
use secrecy::SecretString;
use secrets::SecretPath;

use super::audit_list::require_organization_owner;
use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::fault;
use crate::shell::{self, Plan, Target};

/// What is asked for. Has no `Debug`: it holds a password.
#[derive(Clone)]
pub struct RegisterUser {
    /// Unique over all organizations.
    pub email: String,
    /// 1–100 characters.
    pub display_name: String,
    /// At least [`MIN_PASSWORD`] characters.
    pub password: SecretString,
}

/// Fewest characters of a password.
pub const MIN_PASSWORD: usize = 12;
/// Most bytes of a password.
pub const MAX_PASSWORD: usize = 1_024;

/// Registers the person and takes them into the organization. Its owner, or the system.
///
/// # Errors
/// `PermissionDenied`, `InvalidArgument`; `AlreadyExists` when the address is registered.
pub async fn register_user(app: &App, ctx: &Ctx, command: RegisterUser) -> Result<UserId, Refusal> {
    require_organization_owner(app, ctx).await?;
    let id = register(app, ctx, &command).await?;
    let target = Target::of::<Organization>(ctx.tenant, ctx.tenant);
    shell::execute::<Organization>(app, ctx, target, |state| {
        let add = OrganizationCommand::AddMember { user: id };
        Ok(domain::organization::decide(state, add)?.into())
    })
    .await?;
    Ok(id)
}

/// Registers the person, who belongs to no organization yet. The system only.
///
/// # Errors
/// As [`register_user`].
pub async fn create_user(app: &App, ctx: &Ctx, command: &RegisterUser) -> Result<UserId, Refusal> {
    if ctx.principal != Principal::System {
        let message = "only the operator registers people outside an organization";
        return Err(Refusal::new(ErrorCode::PermissionDenied, message));
    }
    register(app, ctx, command).await
}

async fn register(app: &App, ctx: &Ctx, command: &RegisterUser) -> Result<UserId, Refusal> {
    let email = domain::text::email("email", &command.email)?;
    let display_name = domain::text::name("display_name", &command.display_name)?;
    if app.views.user_by_email(&email).await?.is_some() {
        return Err(taken());
    }
    let id = UserId::from_uuid(app.new_id());
    let credential = seal_credential(app, id, &command.password).await?;
    let target = Target::of::<User>(TenantId::SYSTEM, id);
    let done = shell::execute::<User>(app, ctx, target, |state| {
        let register = UserCommand::Register {
            email: email.clone(),
            display_name: display_name.clone(),
            credential: credential.clone(),
        };
        let reservation = ReservationChange::Take {
            set: ReservationSet::global("email"),
            value: email.clone(),
            holder: id.to_string(),
        };
        Ok(Plan { events: domain::user::decide(state, register)?, reservations: vec![reservation] })
    })
    .await;
    match done {
        Ok(_) => Ok(id),
        Err(refusal) if refusal.code == ErrorCode::AlreadyExists => Err(taken()),
        Err(refusal) => Err(refusal),
    }
}

/// Gives the person another password.
pub(crate) async fn change_password(
    app: &App,
    ctx: &Ctx,
    id: UserId,
    password: &SecretString,
) -> Result<(), Refusal> {
    let credential = seal_credential(app, id, password).await?;
    shell::execute::<User>(app, ctx, Target::of::<User>(TenantId::SYSTEM, id), |state| {
        let change = UserCommand::ChangePassword { credential: credential.clone() };
        Ok(domain::user::decide(state, change)?.into())
    })
    .await?;
    Ok(())
}

async fn seal_credential(
    app: &App,
    id: UserId,
    password: &SecretString,
) -> Result<SecretRef, Refusal> {
    use secrecy::ExposeSecret as _;
    let length = password.expose_secret().chars().count();
    if length < MIN_PASSWORD || password.expose_secret().len() > MAX_PASSWORD {
        return Err(Refusal::invalid("password", "must have at least 12 characters"));
    }
    let verifier = app.passwords.verifier(password.clone()).await?;
    let path = SecretPath::new(TenantId::SYSTEM, &format!("users/{id}/credential"))
        .map_err(|error| fault::internal(&error))?;
    let sealed = app.secrets.put(&path, verifier).await.map_err(fault::secret)?;
    Ok(SecretRef { path: sealed.path().as_str().to_owned(), version: sealed.version() })
}

fn taken() -> Refusal {
    Refusal {
        code: ErrorCode::AlreadyExists,
        message: "a user with this e-mail address exists".to_owned(),
        field: Some("email".to_owned()),
    }
}

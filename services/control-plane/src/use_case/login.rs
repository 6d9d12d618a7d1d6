//! From an e-mail address and a password to a session token.
//!
//! An unknown address costs the same work and gets the same answer as a wrong password.

use domain::event::LoginEvent;
use domain::{ErrorCode, Event, Refusal, StreamId, StreamKind, TenantId, Timestamp, UserId};
use secrecy::SecretString;

use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::fault;
use crate::shell;
use crate::views::UserView;

/// What is asked for. Has no `Debug`: it holds a password.
pub struct Login {
    /// Any case.
    pub email: String,
    /// As typed.
    pub password: SecretString,
}

/// A session that began.
pub struct Session {
    /// The token, for `Authorization: Bearer`.
    pub token: SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub user: UserId,
    /// As shown to others.
    pub display_name: String,
}

/// Begins a session. The attempt is recorded when the address is known.
///
/// # Errors
/// `Unauthenticated` for a wrong address or password; `ResourceExhausted` after too many
/// attempts at one address.
pub async fn login(app: &App, attempt: Login) -> Result<Session, Refusal> {
    let now = app.now();
    let Ok(email) = domain::text::email("email", &attempt.email) else { return Err(wrong()) };
    if !app.logins.admits(&email, now) {
        metrics::counter!("mcp_orch_logins_total", "outcome" => "limited").increment(1);
        return Err(Refusal::new(
            ErrorCode::ResourceExhausted,
            "too many attempts to log in with this address: wait five minutes",
        ));
    }
    let user = app.views.user_by_email(&email).await?;
    let verifier = match &user {
        Some(user) => Some(verifier_of(app, user).await?),
        None => None,
    };
    let fits = app.passwords.verify(attempt.password, verifier).await?;
    let Some(user) = user else {
        metrics::counter!("mcp_orch_logins_total", "outcome" => "unknown").increment(1);
        return Err(wrong());
    };
    if !fits {
        record(app, user.id, LoginEvent::Failed { user: user.id }).await?;
        return Err(wrong());
    }
    let Some(tenant) = app.views.organization_of(user.id).await? else { return Err(wrong()) };
    record(app, user.id, LoginEvent::Succeeded { user: user.id }).await?;
    app.logins.forget(&email);
    let (token, expires_at) = app.tokens.issue(user.id, tenant, now, app.new_id())?;
    Ok(Session { token, expires_at, user: user.id, display_name: user.display_name })
}

async fn verifier_of(app: &App, user: &UserView) -> Result<secrets::SecretValue, Refusal> {
    let credential = &user.credential;
    let reference = secrets::SecretRef::new(TenantId::SYSTEM, &credential.path, credential.version)
        .map_err(|error| fault::internal(&error))?;
    app.secrets.resolve(&reference).await.map_err(fault::secret)
}

async fn record(app: &App, user: UserId, event: LoginEvent) -> Result<(), Refusal> {
    let outcome = match event {
        LoginEvent::Succeeded { .. } => "ok",
        LoginEvent::Failed { .. } => "failed",
    };
    metrics::counter!("mcp_orch_logins_total", "outcome" => outcome).increment(1);
    let ctx = Ctx { principal: Principal::User(user), ..app.system(TenantId::SYSTEM) };
    let stream = StreamId::new(TenantId::SYSTEM, StreamKind::Login, user);
    shell::note(app, &ctx, stream, &Event::Login(event)).await?;
    Ok(())
}

fn wrong() -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, "the e-mail address or the password is wrong")
}

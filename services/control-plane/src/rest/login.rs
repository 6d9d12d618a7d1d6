//! `POST /api/auth/login`: from an e-mail address and a password to a session token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use utoipa::ToSchema;

use super::failure::{Answer, ErrorBody};
use super::request::Body;
use super::time;
use crate::app::App;
use crate::use_case;

/// Who logs in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct LoginBody {
    email: String,
    password: String,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(super) struct LoginAnswer {
    /// For `Authorization: Bearer`.
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// RFC 3339.
    expires_at: String,
    /// Seconds.
    expires_in: i64,
    user: LoggedIn,
}

/// Who logged in.
#[derive(Serialize, ToSchema)]
struct LoggedIn {
    id: String,
    email: String,
    display_name: String,
}

/// Begins a session.
#[utoipa::path(
    post, path = "/api/auth/login", tag = "auth", operation_id = "login", security(()),
    request_body = LoginBody,
    responses(
        (status = 200, description = "A session", body = LoginAnswer),
        (status = 401, description = "Wrong address or password", body = ErrorBody),
        (status = 429, description = "Too many attempts", body = ErrorBody),
    ),
)]
pub(super) async fn login(
    State(app): State<Arc<App>>,
    Body(body): Body,
) -> Answer<Json<LoginAnswer>> {
    let email = body.required_text("email")?;
    let password = body.required_text("password")?.into();
    let now = app.now();
    let attempt = use_case::Login { email: email.clone(), password };
    let session = use_case::login(&app, attempt).await?;
    Ok(Json(LoginAnswer {
        access_token: session.token.expose_secret().to_owned(),
        token_type: "bearer",
        expires_at: time::show(session.expires_at),
        expires_in: (session.expires_at.as_micros() - now.as_micros()) / 1_000_000,
        user: LoggedIn {
            id: session.user.to_string(),
            email: email.trim().to_lowercase(),
            display_name: session.display_name,
        },
    }))
}

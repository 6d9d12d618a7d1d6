//! What handlers take out of a request: who asks, which ids, which fields.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use domain::{ErrorCode, ProjectId, Refusal, Timestamp};
use http::HeaderMap;
use http::request::Parts;
use secrecy::{ExposeSecret as _, SecretString};

use super::failure::Failure;
use super::time;
use crate::app::{App, Paging};
use crate::context::Ctx;
use crate::identity::{authenticate_api_key, authenticate_session};
use crate::import::Fields;
use crate::use_case::denial;

/// Largest body, in bytes.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A person, by their session token.
pub(super) struct Session(pub(super) Ctx);

/// A person, or a client with an API key, which it gets back in its own configuration.
pub(super) struct Caller {
    pub(super) ctx: Ctx,
    pub(super) key: Option<SecretString>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let credential = credential(&parts.headers);
        if credential.expose_secret().starts_with("api_key_") {
            let ctx = authenticate_api_key(app, credential.expose_secret()).await?;
            return Ok(Self { ctx, key: Some(credential) });
        }
        let ctx = authenticate_session(app, credential.expose_secret()).await?;
        Ok(Self { ctx, key: None })
    }
}

impl FromRequestParts<Arc<App>> for Session {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let Caller { ctx, key } = Caller::from_request_parts(parts, app).await?;
        if key.is_none() {
            return Ok(Self(ctx));
        }
        let refusal = Refusal::new(
            ErrorCode::PermissionDenied,
            "an API key reads its project's servers and configuration only: log in for this",
        );
        let action = format!("rest.{}", parts.method.as_str().to_ascii_lowercase());
        denial::record(app, &ctx, None, &action, &refusal, parts.uri.path()).await;
        Err(refusal.into())
    }
}

/// `Authorization: Bearer …`, or `X-API-Key`; empty when there is neither.
fn credential(headers: &HeaderMap) -> SecretString {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    bearer.or_else(|| text("x-api-key")).unwrap_or_default().into()
}

/// The ids in the path.
pub(super) struct Ids(HashMap<String, String>);

impl FromRequestParts<Arc<App>> for Ids {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let params = RawPathParams::from_request_parts(parts, app).await;
        let params = params.map_err(|_| Refusal::invalid("path", "is not UTF-8"))?;
        Ok(Self(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

impl Ids {
    /// The text at `name`.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The project. What is no id is as unknown as an id that nothing has.
    pub(super) fn project(&self) -> Result<ProjectId, Refusal> {
        self.get("id", "project")
    }

    /// The id at `name` of a `what`.
    pub(super) fn get<T: FromStr>(&self, name: &str, what: &str) -> Result<T, Refusal> {
        self.text(name).parse().map_err(|_| Refusal::not_found(what))
    }
}

/// A person at something in a project: who asks, and what the path names.
pub(super) struct InProject {
    pub(super) ctx: Ctx,
    pub(super) project: ProjectId,
    pub(super) ids: Ids,
}

impl FromRequestParts<Arc<App>> for InProject {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let Session(ctx) = Session::from_request_parts(parts, app).await?;
        let ids = Ids::from_request_parts(parts, app).await?;
        Ok(Self { ctx, project: ids.project()?, ids })
    }
}

/// The fields of a JSON body.
pub(super) struct Body(pub(super) Fields);

impl FromRequest<Arc<App>> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let Text(text) = Text::from_request(request, app).await?;
        Ok(Self(Fields::parse(text.as_bytes())?))
    }
}

/// A body as text.
pub(super) struct Text(pub(super) String);

impl FromRequest<Arc<App>> for Text {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Failure> {
        let length = request.headers().get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(Failure::too_large());
        }
        // Either the limit is reached or the caller went away, and then nobody reads the answer.
        let bytes = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await;
        let bytes = bytes.map_err(|_| Failure::too_large())?;
        let text = String::from_utf8(bytes.into());
        Ok(Self(text.map_err(|_| Refusal::invalid("body", "is not UTF-8"))?))
    }
}

/// The header `Idempotency-Key`.
pub(super) struct IdempotencyKey(pub(super) Option<String>);

impl FromRequestParts<Arc<App>> for IdempotencyKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let text = value.to_str().map_err(|_| Refusal::invalid("Idempotency-Key", "is no text"))?;
        Ok(Self(Some(text.to_owned())))
    }
}

/// The parameters of a query; the last of those that are given twice counts.
pub(super) struct Params(HashMap<String, String>);

impl FromRequestParts<Arc<App>> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

impl Params {
    /// A text; none when it is empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|text| !text.is_empty()).cloned()
    }

    /// Anything that can be read from text.
    pub(super) fn get<T: FromStr>(&self, name: &str, rule: &str) -> Result<Option<T>, Refusal> {
        let text = self.text(name);
        let value = text.map(|text| text.parse().map_err(|_| Refusal::invalid(name, rule)));
        value.transpose()
    }

    /// `true` or `false`, or `1` or `0`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Refusal::invalid(name, "must be true or false")),
        }
    }

    /// A time, as RFC 3339 writes it.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        self.text(name).map(|text| time::parse(name, &text)).transpose()
    }

    /// `page_size` and `page_token`.
    pub(super) fn paging(&self) -> Result<Paging, Refusal> {
        let size = self.get("page_size", "must be 0 to 500")?.unwrap_or(0);
        Paging::new(size, &self.text("page_token").unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_credential_is_a_bearer_token_or_a_key_in_its_own_header() {
        for (pairs, found) in [
            (vec![("authorization", "Bearer abc")], "abc"),
            (vec![("authorization", "bearer  abc")], "abc"),
            (vec![("x-api-key", "api_key_x")], "api_key_x"),
            (vec![("authorization", "Basic abc")], ""),
            (vec![], ""),
        ] {
            assert_eq!(credential(&headers(&pairs)).expose_secret(), found);
        }
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        let query = url::form_urlencoded::parse(b"page_size=many&a=maybe&from=now&b=1");
        let params = Params(query.into_owned().collect());
        assert_eq!(params.paging().unwrap_err().field.as_deref(), Some("page_size"));
        assert_eq!(params.flag("a").unwrap_err().field.as_deref(), Some("a"));
        assert_eq!(params.time("from").unwrap_err().field.as_deref(), Some("from"));
        assert_eq!(params.flag("b"), Ok(Some(true)));
        assert_eq!(params.flag("c"), Ok(None));
    }
}

//! The REST interface over a real socket, with the request bodies of the guide that clients
//! were written after.

mod access;
mod client_configs;
mod import;
mod observed;
mod resources;
mod servers;
mod tools;

use domain::ProjectId;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::support::{Caller, Owner, World};

/// A value that must not be shown.
pub(super) const CANARY: &str = "canary-7c1d9e0f2b34";

/// Somebody who speaks HTTP.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    base: String,
    credential: String,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The body of a request that was carried out.
    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.text);
        self.json()
    }

    /// Status, code and field of an error.
    #[track_caller]
    pub(super) fn refused(&self) -> (u16, String, Option<String>) {
        let error = &self.json()["error"];
        assert!(error["message"].is_string() && error["help"].is_string(), "{}", self.text);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        (self.status.as_u16(), text(&error["code"]).unwrap_or_default(), text(&error["field"]))
    }
}

impl Http {
    pub(super) fn new(world: &World, credential: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        Self {
            client: reqwest::Client::new(),
            base: format!("http://{}", world.address),
            credential: credential.to_owned(),
        }
    }

    pub(super) fn of(world: &World, caller: &Caller) -> Self {
        Self::new(world, caller.token())
    }

    pub(super) fn with(&self, credential: &str) -> Self {
        Self { credential: credential.to_owned(), ..self.clone() }
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: Option<String>) -> Reply {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !self.credential.is_empty() {
            request = request.bearer_auth(&self.credential);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Reply { status, headers, text: response.text().await.unwrap() }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PUT, path, Some(body.to_string())).await
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await
    }
}

/// A world with its owner, over HTTP.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) owner: Owner,
    pub(super) http: Http,
    pub(super) project: ProjectId,
}

impl Site {
    pub(super) async fn new() -> Self {
        let (world, owner) = World::bootstrapped().await;
        let (http, project) = (Http::of(&world, &owner.caller), owner.project.clone());
        Self { world, owner, http, project }
    }

    /// A path in the project.
    pub(super) fn at(&self, rest: &str) -> String {
        format!("/projects/{}{rest}", self.project)
    }

    pub(super) fn api_key(&self) -> &str {
        self.owner.first.api_key.expose_secret()
    }

    pub(super) async fn member(&self, name: &str, role: proto::control::v1::Role) -> Http {
        Http::of(&self.world, &self.world.member(&self.owner, name, role).await)
    }

    /// The types of the events that were recorded in the project.
    pub(super) async fn actions(&self) -> Vec<String> {
        let entries = self.owner.caller.audit_of(&self.project).await;
        entries.into_iter().map(|entry| entry.action).collect()
    }
}

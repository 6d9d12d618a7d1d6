//! A server with Vault's API, made ready for a cluster: initialized where it is new, with the
//! engines, the policies and a role for each service.
//!
//! For an installation of one's own that unseals itself, as in the compose file. Where a company
//! has its Vault already, its operators apply the same policies, which are in `deploy/vault`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::commands::prepare::Directory;
use crate::commands::table::say;
use crate::config::read_secret;

/// How long the server may take to answer at all, and then to serve.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts.
const STEP: Duration = Duration::from_millis(250);
/// How long one request may take. A server that is initialized makes keys, and says the only time
/// what they are.
const LIMIT: Duration = Duration::from_secs(120);
/// Each service, and what it may.
const ROLES: [(&str, &str); 3] = [
    ("control-plane", include_str!("../../../../../deploy/vault/control-plane.hcl")),
    ("worker", include_str!("../../../../../deploy/vault/worker.hcl")),
    ("edge", include_str!("../../../../../deploy/vault/edge.hcl")),
];

/// Makes what is missing; what each service logs in with goes to its directory.
pub(super) async fn run(address: &str, directory: &Path) -> Result<()> {
    let root = Directory::make(directory)?;
    let client = Client::builder().no_proxy().timeout(LIMIT).build()?;
    let server = Server { client, address: address.trim_end_matches('/').to_owned() };
    let admin = root.below("vault-admin")?;
    initialize(&server, &admin).await?;
    let token = read_secret(&directory.join("vault-admin/root.token")).context(
        "this server was initialized elsewhere: apply the policies in deploy/vault there",
    )?;
    server.until("sys/health", |status, _| status == StatusCode::OK).await?;
    server.once(&token, "sys/mounts/secret", &json!({ "type": "kv-v2" })).await?;
    server.once(&token, "sys/mounts/transit", &json!({ "type": "transit" })).await?;
    server.once(&token, "sys/auth/approle", &json!({ "type": "approle" })).await?;
    for (service, policy) in ROLES {
        role(&server, &token, service, policy, &root).await?;
    }
    say("the server is ready for the cluster's secrets");
    Ok(())
}

async fn initialize(server: &Server, admin: &Directory) -> Result<()> {
    let known = server.until("sys/init", |status, _| status == StatusCode::OK).await?;
    if known["initialized"] == true {
        return Ok(());
    }
    let shares = json!({ "recovery_shares": 1, "recovery_threshold": 1 });
    let made = server.ask(None, Method::PUT, "sys/init", &shares).await?;
    for (file, pointer) in [("root.token", "/root_token"), ("recovery.key", "/recovery_keys/0")] {
        let value = made.pointer(pointer).and_then(Value::as_str);
        let value = value.with_context(|| format!("the server gave no {file}"))?;
        admin.once(file, || Ok(value.as_bytes().to_vec()))?;
    }
    say("the server is initialized; its root token and recovery key are in vault-admin");
    Ok(())
}

async fn role(
    server: &Server,
    token: &SecretString,
    service: &str,
    policy: &str,
    root: &Directory,
) -> Result<()> {
    let name = format!("mcp-orch-{service}");
    let token = Some(token);
    let policies = format!("sys/policies/acl/{name}");
    server.ask(token, Method::PUT, &policies, &json!({ "policy": policy })).await?;
    let role = format!("auth/approle/role/{name}");
    let settings = json!({ "token_policies": name, "token_ttl": "20m", "token_max_ttl": "4h" });
    server.ask(token, Method::POST, &role, &settings).await?;
    let id = json!({ "role_id": name });
    server.ask(token, Method::POST, &format!("{role}/role-id"), &id).await?;
    let directory = root.below(service)?;
    if directory.has("vault-secret-id") {
        return Ok(());
    }
    let made = server.ask(token, Method::POST, &format!("{role}/secret-id"), &json!({})).await?;
    let secret = made.pointer("/data/secret_id").and_then(Value::as_str);
    let secret = secret.context("the server gave no secret id")?;
    directory.once("vault-secret-id", || Ok(secret.as_bytes().to_vec())).map(drop)
}

struct Server {
    client: Client,
    address: String,
}

impl Server {
    async fn send(
        &self,
        token: Option<&SecretString>,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value)> {
        let mut request =
            self.client.request(method.clone(), format!("{}/v1/{path}", self.address));
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token.expose_secret());
        }
        if method != Method::GET {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{path}: no answer"))?;
        let status = answer.status();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    async fn ask(
        &self,
        token: Option<&SecretString>,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value> {
        let (status, answer) = self.send(token, method, path, body).await?;
        if !status.is_success() {
            bail!("{path}: {status}: {}", answer["errors"]);
        }
        Ok(answer)
    }

    /// Makes what may be there already.
    async fn once(&self, token: &SecretString, path: &str, body: &Value) -> Result<()> {
        let (status, answer) = self.send(Some(token), Method::POST, path, body).await?;
        let errors = answer["errors"].to_string();
        if status.is_success() || errors.contains("already in use") {
            return Ok(());
        }
        bail!("{path}: {status}: {errors}")
    }

    /// Asks until the answer is as it should be.
    async fn until(
        &self,
        path: &str,
        is_good: impl Fn(StatusCode, &Value) -> bool,
    ) -> Result<Value> {
        let waited = async {
            loop {
                let asked = self.send(None, Method::GET, path, &Value::Null).await;
                if let Ok((status, answer)) = asked
                    && is_good(status, &answer)
                {
                    return answer;
                }
                tokio::time::sleep(STEP).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waited).await;
        waited.with_context(|| format!("{}: not there within {PATIENCE:?}", self.address))
    }
}

//! `mcp-orch key …`

use std::time::Duration;

use anyhow::Result;
use proto::control::v1 as pb;
use serde_json::{Value, json};

use super::table::{print, say};
use crate::cli::{InProject, KeyCommand, KeyRole};
use crate::remote::{Session, explain};

/// Runs one of the commands on keys.
pub(crate) async fn run(command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::List(target) => list(target).await,
        KeyCommand::Create { name, role, expires_in_days, target } => {
            create(name, role, expires_in_days, target).await
        }
        KeyCommand::Revoke { id, target } => revoke(id, target).await,
    }
}

fn row(key: &pb::ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "key": format!("api_key_…{}", key.suffix),
        "role": key.role().as_str_name().trim_start_matches("ROLE_").to_lowercase(),
        "revoked": key.revoked,
    })
}

async fn list(target: InProject) -> Result<()> {
    let session = Session::open(&target.remote).await?;
    let project_id = session.project(target.project.as_ref()).await?;
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            pb::ListApiKeysRequest { project_id: project_id.clone(), page_size: 500, page_token };
        let page = session.keys().list_api_keys(request).await.map_err(explain)?.into_inner();
        rows.extend(page.api_keys.iter().map(row));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    print(target.remote.json, &["name", "key", "role", "revoked", "id"], &rows)
}

async fn create(
    name: String,
    role: Option<KeyRole>,
    expires_in_days: Option<u32>,
    target: InProject,
) -> Result<()> {
    let session = Session::open(&target.remote).await?;
    let role = role.map_or(pb::Role::Unspecified, |role| match role {
        KeyRole::Owner => pb::Role::Owner,
        KeyRole::Developer => pb::Role::Developer,
        KeyRole::Reporter => pb::Role::Reporter,
    });
    let request = pb::CreateApiKeyRequest {
        project_id: session.project(target.project.as_ref()).await?,
        name,
        role: role.into(),
        expire_time: expires_in_days.map(days_from_now),
        idempotency_key: String::new(),
    };
    let made = session.keys().create_api_key(request).await.map_err(explain)?.into_inner();
    if target.remote.json {
        let mut shown = row(&made.api_key.unwrap_or_default());
        shown["key"] = json!(made.secret);
        say(&shown.to_string());
    } else {
        say(&made.secret);
    }
    Ok(())
}

fn days_from_now(days: u32) -> prost_types::Timestamp {
    let now_us = runtime::clock::system()().as_micros();
    let ahead = Duration::from_secs(u64::from(days) * 86_400);
    prost_types::Timestamp {
        seconds: now_us / 1_000_000 + i64::try_from(ahead.as_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    }
}

async fn revoke(id: String, target: InProject) -> Result<()> {
    let session = Session::open(&target.remote).await?;
    let request = pb::RevokeApiKeyRequest {
        project_id: session.project(target.project.as_ref()).await?,
        api_key_id: id,
        idempotency_key: String::new(),
    };
    session.keys().revoke_api_key(request).await.map_err(explain)?;
    say("revoked");
    Ok(())
}

//! What each event does to the tables.
//!
//! Calls and audit entries are collected and written as rows of many at the end of the batch:
//! nothing else in the batch reads them. The end of a call is its own entry of the audit log.

use std::collections::HashMap;

use domain::event::{
    AccessEvent, ApiKeyEvent, CallEvent, ConnectionEvent, LoginEvent, OrganizationEvent,
    ProjectEvent, ServerEvent, UserEvent,
};
use domain::{Event, ProjectId, Timestamp};
use event_store::Recorded;
use sqlx::{AssertSqlSafe, SqliteConnection};
use uuid::Uuid;

use super::definitions;
use super::insert::{AuditRow, CallRow, Ended, write_audit, write_calls};
use super::signed;

/// Why an event was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The event cannot be read.
    #[error(transparent)]
    Decode(#[from] events::DecodeError),
    /// The database refused.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The rows of a batch that are written at its end.
#[derive(Default)]
pub(super) struct Rows {
    calls: Vec<CallRow>,
    /// Calls that ended here and of which there were events before.
    ended: HashMap<Uuid, Ended>,
    audit: Vec<AuditRow>,
}

/// What an event tells of the audit entry it makes.
struct Entry {
    project: Option<ProjectId>,
    outcome: &'static str,
}

impl Entry {
    const fn ok(project: Option<ProjectId>) -> Self {
        Self { project, outcome: "ok" }
    }
}

impl Rows {
    /// Takes in one event; `known` is what it says, where that was not forgotten.
    pub(super) async fn apply(
        &mut self,
        db: &mut SqliteConnection,
        recorded: &Recorded,
        known: Option<Event>,
    ) -> Result<(), ApplyError> {
        let event = match known {
            Some(event) => event,
            None => {
                events::decode(&recorded.event_type, recorded.schema_version, &recorded.payload)?
            }
        };
        let entry = match event {
            Event::Organization(event) => organization(db, recorded, &event).await?,
            Event::User(event) => user(db, recorded, &event).await?,
            Event::Project(event) => project(db, recorded, &event).await?,
            Event::Server(event) => server(db, recorded, &event).await?,
            Event::Connection(event) => connection(db, recorded, &event).await?,
            Event::ApiKey(event) => api_key(db, recorded, &event).await?,
            Event::Login(LoginEvent::Succeeded { .. }) => Entry::ok(None),
            Event::Login(LoginEvent::Failed { .. }) => Entry { project: None, outcome: "denied" },
            Event::Access(AccessEvent::Denied { project, .. }) => {
                Entry { project, outcome: "denied" }
            }
            Event::Access(AccessEvent::ConfigRevealed { project, .. }) => Entry::ok(Some(project)),
            Event::Call(event) => {
                self.call(recorded, event);
                return Ok(());
            }
        };
        self.audit.push(AuditRow::new(recorded, entry.project, entry.outcome));
        Ok(())
    }

    fn call(&mut self, recorded: &Recorded, event: CallEvent) {
        let (subject, outcome) = match &event {
            CallEvent::Started(started) => (&started.subject, "ok"),
            CallEvent::Finished(finished) => (&finished.subject, finished.outcome.as_str()),
        };
        let project = subject.project.clone();
        let row = CallRow::new(recorded, event);
        if !row.as_ref().is_some_and(CallRow::is_audited) {
            self.audit.push(AuditRow::new(recorded, Some(project), outcome));
        }
        let Some(row) = row else { return };
        if recorded.version > 1 {
            // Its start, or an end that was told for it, may be in this batch or in the table.
            let again = recorded.version > 2;
            self.ended.insert(row.id(), Ended { row: self.calls.len(), again });
        }
        self.calls.push(row);
    }

    /// Writes the collected rows.
    pub(super) async fn write(mut self, db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let ended = std::mem::take(&mut self.ended);
        let mut row = 0;
        self.calls.retain(|call| {
            let last = ended.get(&call.id()).is_none_or(|end| end.row == row);
            row += 1;
            last
        });
        write_calls(db, &self.calls, &ended).await?;
        write_audit(db, &self.audit).await
    }
}

/// Empties every table.
pub(super) async fn clear(db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for (table, _) in super::TABLES {
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut *db).await?;
    }
    Ok(())
}

async fn organization(
    db: &mut SqliteConnection,
    recorded: &Recorded,
    event: &OrganizationEvent,
) -> Result<Entry, ApplyError> {
    let tenant = recorded.stream.tenant.to_string();
    let joined = match event {
        OrganizationEvent::Created { name, owner } => {
            sqlx::query(
                "INSERT INTO organization (tenant, name, owner, created_at_us) \
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(&tenant)
            .bind(name)
            .bind(owner.to_string())
            .bind(recorded.recorded_at.as_micros())
            .execute(&mut *db)
            .await?;
            owner
        }
        OrganizationEvent::MemberAdded { user } => user,
    };
    sqlx::query(
        "INSERT INTO organization_member (tenant, user_id, joined_position) VALUES ($1, $2, $3)",
    )
    .bind(&tenant)
    .bind(joined.to_string())
    .bind(signed(recorded.position.as_u64()))
    .execute(db)
    .await?;
    Ok(Entry::ok(None))
}

async fn user(
    db: &mut SqliteConnection,
    recorded: &Recorded,
    event: &UserEvent,
) -> Result<Entry, ApplyError> {
    match event {
        UserEvent::Registered { email, display_name, credential } => {
            sqlx::query(
                "INSERT INTO user_account (user_id, email, display_name, credential_path, \
                 credential_version, created_at_us) VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&recorded.stream.id)
            .bind(email)
            .bind(display_name)
            .bind(&credential.path)
            .bind(i64::from(credential.version))
            .bind(recorded.recorded_at.as_micros())
            .execute(db)
            .await?;
        }
        UserEvent::PasswordChanged { credential } => {
            sqlx::query(
                "UPDATE user_account SET credential_path = $2, credential_version = $3 \
                 WHERE user_id = $1",
            )
            .bind(&recorded.stream.id)
            .bind(&credential.path)
            .bind(i64::from(credential.version))
            .execute(db)
            .await?;
        }
    }
    Ok(Entry::ok(None))
}

async fn project(
    db: &mut SqliteConnection,
    recorded: &Recorded,
    event: &ProjectEvent,
) -> Result<Entry, ApplyError> {
    let (id, tenant) = (&recorded.stream.id, recorded.stream.tenant.to_string());
    match event {
        ProjectEvent::Created { name, description, owner } => {
            let settings = domain::project::ProjectSettings::default();
            sqlx::query(
                "INSERT INTO project (project_id, tenant, name, description, audit_mode, \
                 naming, unified_enabled, body_retention_days, created_at_us, tool_pinning, \
                 retry_policy) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            )
            .bind(id)
            .bind(&tenant)
            .bind(name)
            .bind(description)
            .bind(settings.audit_mode.as_str())
            .bind(settings.naming.as_str())
            .bind(i64::from(settings.unified_enabled))
            .bind(i64::from(settings.body_retention_days))
            .bind(recorded.recorded_at.as_micros())
            .bind(settings.tool_pinning.as_str())
            .bind(settings.retry_policy.as_str())
            .execute(&mut *db)
            .await?;
            set_member(db, id, &tenant, &owner.to_string(), "owner").await?;
        }
        ProjectEvent::Changed { name, description, settings } => {
            sqlx::query(
                "UPDATE project SET name = COALESCE($2, name), \
                 description = COALESCE($3, description), \
                 audit_mode = COALESCE($4, audit_mode), naming = COALESCE($5, naming), \
                 unified_enabled = COALESCE($6, unified_enabled), \
                 body_retention_days = COALESCE($7, body_retention_days), \
                 tool_pinning = COALESCE($8, tool_pinning), \
                 retry_policy = COALESCE($9, retry_policy) WHERE project_id = $1",
            )
            .bind(id)
            .bind(name)
            .bind(description)
            .bind(settings.map(|settings| settings.audit_mode.as_str()))
            .bind(settings.map(|settings| settings.naming.as_str()))
            .bind(settings.map(|settings| i64::from(settings.unified_enabled)))
            .bind(settings.map(|settings| i64::from(settings.body_retention_days)))
            .bind(settings.map(|settings| settings.tool_pinning.as_str()))
            .bind(settings.map(|settings| settings.retry_policy.as_str()))
            .execute(db)
            .await?;
        }
        ProjectEvent::MemberAdded { user, role }
        | ProjectEvent::MemberRoleChanged { user, role } => {
            set_member(db, id, &tenant, &user.to_string(), role.as_str()).await?;
        }
        ProjectEvent::MemberRemoved { user } => {
            sqlx::query("DELETE FROM member WHERE project_id = $1 AND user_id = $2")
                .bind(id)
                .bind(user.to_string())
                .execute(db)
                .await?;
        }
        ProjectEvent::Deleted => delete_project(db, id).await?,
    }
    Ok(Entry::ok(id.parse().ok()))
}

async fn set_member(
    db: &mut SqliteConnection,
    project: &str,
    tenant: &str,
    user: &str,
    role: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO member (project_id, user_id, tenant, role) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role",
    )
    .bind(project)
    .bind(user)
    .bind(tenant)
    .bind(role)
    .execute(db)
    .await?;
    Ok(())
}

/// Keys and calls stay: keys so that they stay denied, calls for the record.
async fn delete_project(db: &mut SqliteConnection, id: &str) -> Result<(), sqlx::Error> {
    for statement in [
        "DELETE FROM disabled_tool WHERE server_id IN \
         (SELECT server_id FROM server WHERE project_id = $1)",
        "DELETE FROM tool_definition WHERE server_id IN \
         (SELECT server_id FROM server WHERE project_id = $1)",
        "DELETE FROM connection WHERE project_id = $1",
        "DELETE FROM server WHERE project_id = $1",
        "DELETE FROM member WHERE project_id = $1",
        "DELETE FROM project WHERE project_id = $1",
    ] {
        sqlx::query(statement).bind(id).execute(&mut *db).await?;
    }
    Ok(())
}

async fn server(
    db: &mut SqliteConnection,
    recorded: &Recorded,
    event: &ServerEvent,
) -> Result<Entry, ApplyError> {
    let id = &recorded.stream.id;
    if let ServerEvent::Registered { project, name, config, disabled } = event {
        let stored = stored_config(config);
        sqlx::query(
            "INSERT INTO server (server_id, project_id, tenant, name, config, config_schema, \
             disabled, created_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(id)
        .bind(project.as_str())
        .bind(recorded.stream.tenant.to_string())
        .bind(name.as_str())
        .bind(stored.payload.to_vec())
        .bind(i64::from(stored.schema_version))
        .bind(i64::from(*disabled))
        .bind(recorded.recorded_at.as_micros())
        .execute(db)
        .await?;
        return Ok(Entry::ok(Some(project.clone())));
    }
    let project = project_of(db, "SELECT project_id FROM server WHERE server_id = $1", id).await?;
    let query = match event {
        ServerEvent::Reconfigured { config } => {
            let stored = stored_config(config);
            sqlx::query("UPDATE server SET config = $2, config_schema = $3 WHERE server_id = $1")
                .bind(id)
                .bind(stored.payload.to_vec())
                .bind(i64::from(stored.schema_version))
        }
        ServerEvent::Renamed { name } => {
            sqlx::query("UPDATE server SET name = $2 WHERE server_id = $1")
                .bind(id)
                .bind(name.as_str().to_owned())
        }
        ServerEvent::Enabled => {
            sqlx::query("UPDATE server SET disabled = 0 WHERE server_id = $1").bind(id)
        }
        ServerEvent::Disabled => {
            sqlx::query("UPDATE server SET disabled = 1 WHERE server_id = $1").bind(id)
        }
        ServerEvent::ToolDisabled { tool } => sqlx::query(
            "INSERT INTO disabled_tool (server_id, tool) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(tool.clone()),
        ServerEvent::ToolEnabled { tool } => {
            sqlx::query("DELETE FROM disabled_tool WHERE server_id = $1 AND tool = $2")
                .bind(id)
                .bind(tool.clone())
        }
        ServerEvent::ToolApproved { tool, hash } => definitions::approve(id, tool, hash),
        ServerEvent::Deleted | ServerEvent::Registered { .. } => {
            for table in ["disabled_tool", "tool_definition", "connection"] {
                let delete = AssertSqlSafe(format!("DELETE FROM {table} WHERE server_id = $1"));
                sqlx::query(delete).bind(id).execute(&mut *db).await?;
            }
            sqlx::query("DELETE FROM server WHERE server_id = $1").bind(id)
        }
    };
    query.execute(db).await?;
    Ok(Entry::ok(project))
}

/// A configuration in its stored form: that of the event that carries nothing else.
fn stored_config(config: &domain::server::ServerConfig) -> events::Encoded {
    events::encode(&Event::Server(ServerEvent::Reconfigured { config: config.clone() }))
}

async fn connection(
    db: &mut SqliteConnection,
    recorded: &Recorded,
    event: &ConnectionEvent,
) -> Result<Entry, ApplyError> {
    let (ConnectionEvent::StateObserved { project, .. }
    | ConnectionEvent::CatalogueObserved { project, .. }) = event;
    // What is seen of a server that is gone changes nothing.
    sqlx::query(
        "INSERT INTO connection (server_id, project_id, tenant, state, cause, response_time_ms, \
         setup_time_ms, revision, observed_at_us, catalogue_hash, catalogue_event, tools, \
         resources, resource_templates, prompts) \
         SELECT server_id, project_id, tenant, 'starting', '', 0, 0, '', 0, '', '', 0, 0, 0, 0 \
         FROM server WHERE server_id = $1 AND tenant = $2 ON CONFLICT (server_id) DO NOTHING",
    )
    .bind(&recorded.stream.id)
    .bind(recorded.stream.tenant.to_string())
    .execute(&mut *db)
    .await?;
    let query = match event {
        ConnectionEvent::StateObserved { observation, .. } => sqlx::query(
            "UPDATE connection SET state = $2, cause = $3, response_time_ms = $4, \
             setup_time_ms = $5, revision = $6, observed_at_us = $7 WHERE server_id = $1",
        )
        .bind(&recorded.stream.id)
        .bind(observation.state.as_str())
        .bind(observation.cause.clone())
        .bind(i64::from(observation.response_time_ms))
        .bind(i64::from(observation.setup_time_ms))
        .bind(observation.revision.clone())
        .bind(recorded.occurred_at.as_micros()),
        ConnectionEvent::CatalogueObserved { summary, .. } => sqlx::query(
            "UPDATE connection SET catalogue_hash = $2, catalogue_event = $3, tools = $4, \
             resources = $5, resource_templates = $6, prompts = $7 WHERE server_id = $1",
        )
        .bind(&recorded.stream.id)
        .bind(summary.hash.clone())
        .bind(recorded.event_id.to_string())
        .bind(i64::from(summary.tools))
        .bind(i64::from(summary.resources))
        .bind(i64::from(summary.resource_templates))
        .bind(i64::from(summary.prompts)),
    };
    query.execute(&mut *db).await?;
    if let ConnectionEvent::CatalogueObserved { summary, .. } = event {
        definitions::observe(db, &recorded.stream.id, summary).await?;
    }
    Ok(Entry::ok(Some(project.clone())))
}

async fn api_key(
    db: &mut SqliteConnection,
    recorded: &Recorded,
    event: &ApiKeyEvent,
) -> Result<Entry, ApplyError> {
    let id = &recorded.stream.id;
    match event {
        ApiKeyEvent::Issued { project, name, hash, suffix, role, creator, expires_at } => {
            sqlx::query(
                "INSERT INTO api_key (key_id, project_id, tenant, name, hash, suffix, role, \
                 creator, created_at_us, expires_at_us, revoked) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)",
            )
            .bind(id)
            .bind(project.as_str())
            .bind(recorded.stream.tenant.to_string())
            .bind(name)
            .bind(hash.to_hex())
            .bind(suffix)
            .bind(role.as_str())
            .bind(creator.to_string())
            .bind(recorded.recorded_at.as_micros())
            .bind(expires_at.map(Timestamp::as_micros))
            .execute(db)
            .await?;
            Ok(Entry::ok(Some(project.clone())))
        }
        ApiKeyEvent::Revoked => {
            sqlx::query("UPDATE api_key SET revoked = 1 WHERE key_id = $1")
                .bind(id)
                .execute(&mut *db)
                .await?;
            let sql = "SELECT project_id FROM api_key WHERE key_id = $1";
            Ok(Entry::ok(project_of(db, sql, id).await?))
        }
    }
}

async fn project_of(
    db: &mut SqliteConnection,
    sql: &'static str,
    id: &str,
) -> Result<Option<ProjectId>, sqlx::Error> {
    let project: Option<String> = sqlx::query_scalar(sql).bind(id).fetch_optional(db).await?;
    Ok(project.and_then(|project| project.parse().ok()))
}

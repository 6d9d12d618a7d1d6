//! Servers, with what was last seen of them.

use std::sync::Arc;

use domain::connection::{CatalogueSummary, ConnectionState, Observation};
use domain::event::ServerEvent;
use domain::{Event, EventId, ProjectId, ServerId, TenantId, Timestamp};
use sqlx::FromRow;

use super::rows::Row;
use super::{ServerView, ViewError, Views, small};
use crate::ownership::placement::Wanted;

#[derive(FromRow)]
struct ServerRow {
    server_id: String,
    project_id: String,
    name: String,
    config: Vec<u8>,
    config_schema: i64,
    disabled: i64,
    created_at_us: i64,
    state: Option<String>,
    cause: Option<String>,
    response_time_ms: Option<i64>,
    setup_time_ms: Option<i64>,
    revision: Option<String>,
    observed_at_us: Option<i64>,
    catalogue_hash: Option<String>,
    catalogue_event: Option<String>,
    tools: Option<i64>,
    resources: Option<i64>,
    resource_templates: Option<i64>,
    prompts: Option<i64>,
    changed_tools: i64,
}

/// The columns of a [`ServerRow`], and which rows.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT s.server_id, s.project_id, s.name, s.config, s.config_schema, s.disabled, ",
            "s.created_at_us, c.state, c.cause, c.response_time_ms, c.setup_time_ms, ",
            "c.revision, c.observed_at_us, c.catalogue_hash, c.catalogue_event, c.tools, ",
            "c.resources, c.resource_templates, c.prompts, ",
            "(SELECT COUNT(*) FROM tool_definition d WHERE d.server_id = s.server_id ",
            "AND d.current_hash <> '' AND d.current_hash <> ",
            "COALESCE(NULLIF(d.approved_hash, ''), d.first_hash)) AS changed_tools ",
            "FROM server s ",
            "LEFT JOIN connection c ON c.server_id = s.server_id ",
            $which
        )
    };
}

impl Row for ServerRow {
    type View = ServerView;

    fn view(self) -> Result<ServerView, ViewError> {
        let disabled = self.disabled != 0;
        let event = self.catalogue_event.as_deref().filter(|event| !event.is_empty());
        Ok(ServerView {
            id: self.server_id.parse().map_err(ViewError::damaged)?,
            project: self.project_id.parse().map_err(ViewError::damaged)?,
            config: config(&self.config, self.config_schema)?,
            disabled,
            disabled_tools: Vec::new(),
            changed_tools: small(self.changed_tools),
            created_at: Timestamp::from_micros(self.created_at_us),
            observed_at: self.observed_at_us.filter(|at| *at != 0).map(Timestamp::from_micros),
            catalogue_event: event
                .map(str::parse::<EventId>)
                .transpose()
                .map_err(ViewError::damaged)?,
            catalogue: CatalogueSummary {
                hash: self.catalogue_hash.unwrap_or_default(),
                tools: small(self.tools.unwrap_or_default()),
                resources: small(self.resources.unwrap_or_default()),
                resource_templates: small(self.resource_templates.unwrap_or_default()),
                prompts: small(self.prompts.unwrap_or_default()),
                definitions: Arc::default(),
            },
            observation: Observation {
                state: state(disabled, self.state.as_deref())?,
                cause: if disabled { String::new() } else { self.cause.unwrap_or_default() },
                response_time_ms: small(self.response_time_ms.unwrap_or_default()),
                setup_time_ms: small(self.setup_time_ms.unwrap_or_default()),
                revision: self.revision.unwrap_or_default(),
            },
            name: self.name,
        })
    }
}

/// Disabled is what is configured, whatever was seen; the stop may not have been seen yet.
fn state(disabled: bool, seen: Option<&str>) -> Result<ConnectionState, ViewError> {
    if disabled {
        return Ok(ConnectionState::Disabled);
    }
    let Some(seen) = seen else { return Ok(ConnectionState::Starting) };
    let state = ConnectionState::ALL.into_iter().find(|state| state.as_str() == seen);
    match state.ok_or_else(|| ViewError::damaged("connection state"))? {
        // Enabled again, and not seen since.
        ConnectionState::Disabled => Ok(ConnectionState::Starting),
        state => Ok(state),
    }
}

fn config(payload: &[u8], schema: i64) -> Result<domain::server::ServerConfig, ViewError> {
    match events::decode("server.reconfigured", small(schema), payload) {
        Ok(Event::Server(ServerEvent::Reconfigured { config })) => Ok(config),
        Ok(_) => Err(ViewError::damaged("server configuration")),
        Err(error) => Err(ViewError::damaged(error)),
    }
}

/// What was last seen of a server, whosever it is.
pub(crate) struct Seen {
    /// Which.
    pub(crate) server: ServerId,
    /// Whose.
    pub(crate) tenant: TenantId,
    /// In which project.
    pub(crate) project: ProjectId,
    /// The name of its state; empty before anything was seen.
    pub(crate) state: String,
    /// Why.
    pub(crate) cause: String,
}

impl Views {
    /// The servers of a project, by name, and one more than `limit`.
    pub(crate) async fn servers(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ServerView>, ViewError> {
        let sql = select!(
            "WHERE s.project_id = $1 AND s.tenant = $2 AND s.name > $3 ORDER BY s.name LIMIT $4"
        );
        let servers = self.page::<ServerRow>(sql, (tenant, project), after, limit).await?;
        self.with_disabled_tools(project, servers).await
    }

    /// One server of the project.
    pub(crate) async fn server(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        server: ServerId,
    ) -> Result<Option<ServerView>, ViewError> {
        let sql = select!("WHERE s.project_id = $1 AND s.tenant = $2 AND s.server_id = $3");
        let found = self.one::<ServerRow>(sql, (tenant, project), server).await?;
        Ok(self.with_disabled_tools(project, found.into_iter().collect()).await?.pop())
    }

    /// The server of the project with that name.
    pub(crate) async fn server_named(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        name: &str,
    ) -> Result<Option<ServerView>, ViewError> {
        let sql = select!("WHERE s.project_id = $1 AND s.tenant = $2 AND s.name = $3");
        let found = self.one::<ServerRow>(sql, (tenant, project), name).await?;
        Ok(self.with_disabled_tools(project, found.into_iter().collect()).await?.pop())
    }

    /// All servers of a project.
    pub(crate) async fn server_ids(
        &self,
        tenant: TenantId,
        project: &ProjectId,
    ) -> Result<Vec<ServerId>, ViewError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT server_id FROM server WHERE project_id = $1 AND tenant = $2",
        )
        .bind(project.as_str())
        .bind(tenant.to_string())
        .fetch_all(&self.pool)
        .await?;
        ids.iter().map(|id| id.parse().map_err(ViewError::damaged)).collect()
    }

    /// The event that has the server's catalogue with that hash, if that is the last one.
    pub(crate) async fn catalogue_event(
        &self,
        tenant: TenantId,
        server: ServerId,
        hash: &str,
    ) -> Result<Option<EventId>, ViewError> {
        let event: Option<String> = sqlx::query_scalar(
            "SELECT catalogue_event FROM connection \
             WHERE server_id = $1 AND tenant = $2 AND catalogue_hash = $3",
        )
        .bind(server.to_string())
        .bind(tenant.to_string())
        .bind(hash)
        .fetch_optional(&self.pool)
        .await?;
        let event = event.filter(|event| !event.is_empty());
        event.map(|event| event.parse().map_err(ViewError::damaged)).transpose()
    }

    /// The event that has the server's catalogue.
    pub(crate) async fn last_catalogue_event(
        &self,
        tenant: TenantId,
        server: &str,
    ) -> Result<Option<EventId>, ViewError> {
        let event: Option<String> = sqlx::query_scalar(
            "SELECT catalogue_event FROM connection WHERE server_id = $1 AND tenant = $2",
        )
        .bind(server.to_owned())
        .bind(tenant.to_string())
        .fetch_optional(&self.pool)
        .await?;
        let event = event.filter(|event| !event.is_empty());
        event.map(|event| event.parse().map_err(ViewError::damaged)).transpose()
    }

    /// Every server that is to run, of all tenants, and what its worker must have. For the
    /// process's own work.
    pub(crate) async fn placeable_servers(&self) -> Result<Vec<Wanted>, ViewError> {
        let rows: Vec<(String, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT server_id, config, config_schema FROM server WHERE disabled = 0",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut wanted = Vec::with_capacity(rows.len());
        for (id, stored, schema) in rows {
            tokio::task::consume_budget().await;
            let labels = config(&stored, schema)?.placement_labels;
            wanted.push(Wanted { id: id.parse().map_err(ViewError::damaged)?, labels });
        }
        Ok(wanted)
    }

    /// What was last seen of these servers, of whatever tenant. For the process's own work.
    pub(crate) async fn seen_of(&self, servers: &[ServerId]) -> Result<Vec<Seen>, ViewError> {
        let ids: Vec<_> = servers.iter().map(|id| format!("\"{id}\"")).collect();
        let rows: Vec<(String, String, String, String, String)> = sqlx::query_as(
            "SELECT s.server_id, s.tenant, s.project_id, COALESCE(c.state, ''), \
             COALESCE(c.cause, '') FROM server s \
             LEFT JOIN connection c ON c.server_id = s.server_id \
             WHERE s.server_id IN (SELECT value FROM json_each($1))",
        )
        .bind(format!("[{}]", ids.join(",")))
        .fetch_all(&self.pool)
        .await?;
        let seen = rows.into_iter().map(|(server, tenant, project, state, cause)| {
            Ok(Seen {
                server: server.parse().map_err(ViewError::damaged)?,
                tenant: tenant.parse().map_err(ViewError::damaged)?,
                project: project.parse().map_err(ViewError::damaged)?,
                state,
                cause,
            })
        });
        seen.collect()
    }

    async fn with_disabled_tools(
        &self,
        project: &ProjectId,
        mut servers: Vec<ServerView>,
    ) -> Result<Vec<ServerView>, ViewError> {
        if servers.is_empty() {
            return Ok(servers);
        }
        let tools: Vec<(String, String)> = sqlx::query_as(
            "SELECT t.server_id, t.tool FROM disabled_tool t \
             JOIN server s ON s.server_id = t.server_id WHERE s.project_id = $1 \
             ORDER BY t.server_id, t.tool",
        )
        .bind(project.as_str())
        .fetch_all(&self.pool)
        .await?;
        for (server, tool) in tools {
            let id: ServerId = server.parse().map_err(ViewError::damaged)?;
            if let Some(view) = servers.iter_mut().find(|view| view.id == id) {
                view.disabled_tools.push(tool);
            }
        }
        Ok(servers)
    }
}

//! The record of calls, newest first.

use domain::{ApiKeyId, CallId, EventId, ProjectId, ServerId, TenantId, Timestamp};
use sqlx::{FromRow, QueryBuilder, Sqlite};
use uuid::Uuid;

use super::insert::blob;
use super::{CallView, ViewError, Views, one_more, signed, unsigned};
use crate::use_case::CallFilter;

const SELECT: &str = "SELECT call_id, tenant, project_id, position, event_id, server_id, \
    server_name, method, target, api_key_id, outcome, error_code, started_at_us, queue_us, \
    upstream_us, total_us, arguments_bytes, result_bytes, arguments_digest, result_digest, \
    body_truncated, body_masked, client, mcp_session FROM call ";

#[derive(FromRow)]
struct CallRow {
    call_id: Vec<u8>,
    tenant: Vec<u8>,
    project_id: String,
    position: i64,
    event_id: Vec<u8>,
    server_id: Vec<u8>,
    server_name: String,
    method: String,
    target: String,
    api_key_id: Option<Vec<u8>>,
    outcome: String,
    error_code: i64,
    started_at_us: i64,
    queue_us: i64,
    upstream_us: i64,
    total_us: i64,
    arguments_bytes: i64,
    result_bytes: i64,
    arguments_digest: String,
    result_digest: String,
    body_truncated: i64,
    body_masked: i64,
    client: String,
    mcp_session: String,
}

/// A stored id.
pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid, ViewError> {
    Uuid::from_slice(bytes).map_err(ViewError::damaged)
}

impl CallRow {
    fn view(self) -> Result<CallView, ViewError> {
        let api_key = self.api_key_id.as_deref().map(uuid).transpose()?;
        let outcome = (!self.outcome.is_empty()).then(|| self.outcome.parse());
        Ok(CallView {
            id: CallId::from_uuid(uuid(&self.call_id)?),
            project: self.project_id.parse().map_err(ViewError::damaged)?,
            server: ServerId::from_uuid(uuid(&self.server_id)?),
            server_name: self.server_name,
            method: self.method,
            target: self.target,
            api_key: api_key.map(ApiKeyId::from_uuid),
            outcome: outcome.transpose().map_err(ViewError::damaged)?,
            error_code: i32::try_from(self.error_code).unwrap_or_default(),
            started_at: Timestamp::from_micros(self.started_at_us),
            queue_us: unsigned(self.queue_us),
            upstream_us: unsigned(self.upstream_us),
            total_us: unsigned(self.total_us),
            arguments_bytes: unsigned(self.arguments_bytes),
            result_bytes: unsigned(self.result_bytes),
            arguments_digest: self.arguments_digest,
            result_digest: self.result_digest,
            body_truncated: self.body_truncated != 0,
            body_masked: self.body_masked != 0,
            client: self.client,
            mcp_session: self.mcp_session,
            position: unsigned(self.position),
            event: EventId::from_uuid(uuid(&self.event_id)?),
        })
    }
}

impl Views {
    /// The calls of a project below the position `before`, and one more than `limit`.
    pub(crate) async fn calls(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        filter: &CallFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<CallView>, ViewError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push("WHERE project_id = ").push_bind(project.as_str());
        query.push(" AND tenant = ").push_bind(blob(tenant.as_uuid()));
        if let Some(before) = before {
            query.push(" AND position < ").push_bind(signed(before));
        }
        push_filter(&mut query, filter);
        query.push(" ORDER BY position DESC LIMIT ").push_bind(one_more(limit));
        let rows: Vec<CallRow> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter().map(CallRow::view).collect()
    }

    /// One call of the project, which has its events at these positions of the log.
    pub(crate) async fn call(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        call: CallId,
        positions: &[u64],
    ) -> Result<Option<CallView>, ViewError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push("WHERE project_id = ").push_bind(project.as_str());
        query.push(" AND tenant = ").push_bind(blob(tenant.as_uuid()));
        query.push(" AND call_id = ").push_bind(blob(call.as_uuid()));
        query.push(" AND position IN (");
        let mut wanted = query.separated(", ");
        for position in positions {
            wanted.push_bind(signed(*position));
        }
        query.push(")");
        let row: Option<CallRow> = query.build_query_as().fetch_optional(&self.pool).await?;
        row.map(CallRow::view).transpose()
    }

    /// Calls of which only the start is recorded, after the position `after` and up to `until`,
    /// oldest first, and whose they are. For the process's own upkeep, so without a tenant.
    pub(crate) async fn open_calls(
        &self,
        after: u64,
        until: u64,
        limit: u32,
    ) -> Result<Vec<(TenantId, CallView)>, ViewError> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query
            .push("INDEXED BY call_open WHERE outcome = '' AND position <= ")
            .push_bind(signed(until));
        query.push(" AND position > ").push_bind(signed(after));
        query.push(" ORDER BY position LIMIT ").push_bind(i64::from(limit));
        let rows: Vec<CallRow> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter()
            .map(|row| {
                let tenant = TenantId::from_uuid(uuid(&row.tenant)?);
                Ok((tenant, row.view()?))
            })
            .collect()
    }
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &CallFilter) {
    if let Some(server) = filter.server {
        query.push(" AND server_id = ").push_bind(blob(server.as_uuid()));
    }
    if let Some(target) = &filter.target {
        query.push(" AND target = ").push_bind(target.clone());
    }
    if let Some(key) = filter.api_key {
        query.push(" AND api_key_id = ").push_bind(blob(key.as_uuid()));
    }
    if let Some(from) = filter.from {
        query.push(" AND started_at_us >= ").push_bind(from.as_micros());
    }
    if let Some(to) = filter.to {
        query.push(" AND started_at_us < ").push_bind(to.as_micros());
    }
    if filter.min_total_us > 0 {
        query.push(" AND total_us >= ").push_bind(signed(filter.min_total_us));
    }
    if let Some(session) = &filter.mcp_session {
        query.push(" AND mcp_session = ").push_bind(session.clone());
    }
    if !filter.outcomes.is_empty() {
        query.push(" AND outcome IN (");
        let mut outcomes = query.separated(", ");
        for outcome in &filter.outcomes {
            outcomes.push_bind(outcome.as_str());
        }
        query.push(")");
    }
}

//! The audit log, newest first.

use domain::{Actor, ApiKeyId, CallId, EventId, ServerId, StreamKind, TenantId, Timestamp};
use sqlx::{FromRow, QueryBuilder, Sqlite};

use super::calls::uuid;
use super::insert::blob;
use super::{AuditView, ViewError, Views, one_more, signed, unsigned};
use crate::use_case::AuditFilter;

#[derive(FromRow)]
struct AuditRow {
    position: i64,
    tenant: String,
    project_id: String,
    event_id: String,
    time_us: i64,
    actor_kind: String,
    actor_id: String,
    action: String,
    target_kind: String,
    target_id: String,
    outcome: String,
}

impl AuditRow {
    fn view(self) -> Result<AuditView, ViewError> {
        Ok(AuditView {
            position: unsigned(self.position),
            tenant: self.tenant.parse().map_err(ViewError::damaged)?,
            time: Timestamp::from_micros(self.time_us),
            actor_kind: self.actor_kind,
            actor_id: self.actor_id,
            action: self.action,
            target_kind: self.target_kind,
            target_id: self.target_id,
            outcome: self.outcome,
            project: self.project_id,
            event: self.event_id.parse::<EventId>().map_err(ViewError::damaged)?,
            event_json: String::new(),
        })
    }
}

impl Views {
    /// The entries of a tenant below the position `before`, and one more than `limit`. The ends
    /// of calls are read off the calls themselves.
    pub(crate) async fn audit(
        &self,
        tenant: TenantId,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditView>, ViewError> {
        let mut entries = self.audit_entries(tenant, filter, before, limit).await?;
        if let Some(calls) = CallEntries::of(filter) {
            entries.extend(self.audit_calls(tenant, filter, &calls, before, limit).await?);
            entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.position));
            entries.truncate(usize::try_from(one_more(limit)).unwrap_or(usize::MAX));
        }
        Ok(entries)
    }

    async fn audit_entries(
        &self,
        tenant: TenantId,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditView>, ViewError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT position, tenant, project_id, event_id, time_us, actor_kind, actor_id, \
             action, target_kind, target_id, outcome FROM audit_entry WHERE (tenant = ",
        );
        query.push_bind(tenant.to_string());
        if filter.project.is_none() {
            // People live in the system tenant; their logins are told to their organization.
            query.push(" OR (tenant = ").push_bind(TenantId::SYSTEM.to_string());
            query.push(
                " AND target_kind IN ('user', 'login') AND target_id IN \
                 (SELECT user_id FROM organization_member WHERE tenant = ",
            );
            query.push_bind(tenant.to_string()).push("))");
        }
        query.push(")");
        if let Some(before) = before {
            query.push(" AND position < ").push_bind(signed(before));
        }
        push_filter(&mut query, filter);
        query.push(" ORDER BY position DESC LIMIT ").push_bind(one_more(limit));
        let rows: Vec<AuditRow> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter().map(AuditRow::view).collect()
    }

    /// The newest of each project: rows of one project stand next to each other, in the order of
    /// positions.
    async fn audit_calls(
        &self,
        tenant: TenantId,
        filter: &AuditFilter,
        calls: &CallEntries,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditView>, ViewError> {
        let mut query = QueryBuilder::<Sqlite>::new("WITH RECURSIVE of (project) AS (");
        match &filter.project {
            Some(project) => {
                query.push("SELECT ").push_bind(project.as_str());
            }
            // Each project that has calls, also one that is gone: a jump from one to the next.
            None => {
                query.push(
                    "SELECT min(project_id) FROM call UNION ALL \
                     SELECT (SELECT min(project_id) FROM call WHERE project_id > of.project) \
                     FROM of WHERE of.project IS NOT NULL",
                );
            }
        }
        query.push(
            ") SELECT found.position, found.project_id, found.call_id, found.event_id, \
             found.audit_time_us, found.api_key_id, found.outcome \
             FROM of CROSS JOIN call AS found ON found.project_id = of.project \
             AND found.position IN (SELECT position FROM call \
             WHERE call.project_id = of.project AND audit_time_us IS NOT NULL AND tenant = ",
        );
        query.push_bind(blob(tenant.as_uuid()));
        if let Some(before) = before {
            query.push(" AND position < ").push_bind(signed(before));
        }
        calls.push(&mut query, filter);
        query.push(" ORDER BY position DESC LIMIT ").push_bind(one_more(limit));
        query.push(") ORDER BY found.position DESC LIMIT ").push_bind(one_more(limit));
        let rows: Vec<CallEntryRow> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter().map(|row| row.view(tenant)).collect()
    }
}

/// The audit entry of a call's end.
#[derive(FromRow)]
struct CallEntryRow {
    position: i64,
    project_id: String,
    call_id: Vec<u8>,
    event_id: Vec<u8>,
    audit_time_us: i64,
    api_key_id: Vec<u8>,
    outcome: String,
}

impl CallEntryRow {
    fn view(self, tenant: TenantId) -> Result<AuditView, ViewError> {
        let key = Actor::ApiKey(ApiKeyId::from_uuid(uuid(&self.api_key_id)?));
        Ok(AuditView {
            position: unsigned(self.position),
            tenant,
            time: Timestamp::from_micros(self.audit_time_us),
            actor_kind: key.kind().to_owned(),
            actor_id: key.id(),
            action: CALL_FINISHED.to_owned(),
            target_kind: StreamKind::Call.as_str().to_owned(),
            target_id: uuid(&self.call_id)?.to_string(),
            outcome: self.outcome,
            project: self.project_id,
            event: EventId::from_uuid(uuid(&self.event_id)?),
            event_json: String::new(),
        })
    }
}

/// The event whose entries stand with the calls.
const CALL_FINISHED: &str = "call.finished";

/// What a filter asks of the entries that stand with the calls.
struct CallEntries {
    key: Option<ApiKeyId>,
    call: Option<CallId>,
}

impl CallEntries {
    /// `None` when the filter lets none of them through.
    fn of(filter: &AuditFilter) -> Option<Self> {
        let wanted = filter.action.as_deref().is_none_or(|action| {
            action == CALL_FINISHED || (action.ends_with('.') && CALL_FINISHED.starts_with(action))
        });
        let kind = filter.target_kind.as_deref();
        if !wanted || kind.is_some_and(|kind| kind != StreamKind::Call.as_str()) {
            return None;
        }
        let key = filter.actor_id.as_deref().map(str::parse).transpose().ok()?;
        let call = filter.target_id.as_deref().map(str::parse).transpose().ok()?;
        Some(Self { key, call })
    }

    fn push(&self, query: &mut QueryBuilder<Sqlite>, filter: &AuditFilter) {
        if let Some(key) = self.key {
            query.push(" AND api_key_id = ").push_bind(blob(key.as_uuid()));
        }
        if let Some(call) = self.call {
            query.push(" AND call_id = ").push_bind(blob(call.as_uuid()));
        }
        if let Some(outcome) = &filter.outcome {
            query.push(" AND outcome = ").push_bind(outcome.clone());
        }
        if let Some(from) = filter.from {
            query.push(" AND audit_time_us >= ").push_bind(from.as_micros());
        }
        if let Some(to) = filter.to {
            query.push(" AND audit_time_us < ").push_bind(to.as_micros());
        }
    }
}

impl Views {
    /// Servers that were registered and are gone, the last ones first, and whose they were. For
    /// the process's own upkeep, so without a tenant.
    pub(crate) async fn gone_servers(
        &self,
        limit: u32,
    ) -> Result<Vec<(TenantId, ServerId)>, ViewError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT tenant, target_id FROM audit_entry WHERE action = 'server.registered' \
             AND target_id NOT IN (SELECT server_id FROM server) \
             ORDER BY position DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(tenant, server)| {
                let tenant = tenant.parse().map_err(ViewError::damaged)?;
                Ok((tenant, server.parse().map_err(ViewError::damaged)?))
            })
            .collect()
    }
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &AuditFilter) {
    if let Some(project) = &filter.project {
        query.push(" AND project_id = ").push_bind(project.as_str().to_owned());
    }
    match &filter.action {
        Some(prefix) if prefix.ends_with('.') => {
            // "server." up to, and without, "server/": the character after the dot.
            let end = format!("{}/", &prefix[..prefix.len() - 1]);
            query.push(" AND action >= ").push_bind(prefix.clone());
            query.push(" AND action < ").push_bind(end);
        }
        Some(action) => {
            query.push(" AND action = ").push_bind(action.clone());
        }
        None => {}
    }
    for (column, value) in [
        (" AND actor_id = ", &filter.actor_id),
        (" AND target_kind = ", &filter.target_kind),
        (" AND target_id = ", &filter.target_id),
        (" AND outcome = ", &filter.outcome),
    ] {
        if let Some(value) = value {
            query.push(column).push_bind(value.clone());
        }
    }
    if let Some(from) = filter.from {
        query.push(" AND time_us >= ").push_bind(from.as_micros());
    }
    if let Some(to) = filter.to {
        query.push(" AND time_us < ").push_bind(to.as_micros());
    }
}

//! The audit log, newest first.

use domain::{EventId, ServerId, TenantId, Timestamp};
use sqlx::{FromRow, QueryBuilder, Sqlite};

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
    /// The entries of a tenant below the position `before`, and one more than `limit`.
    pub(crate) async fn audit(
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

//! Rows that come in numbers, written as statements of many rows.

use domain::ProjectId;
use domain::call::CallSubject;
use domain::event::CallEvent;
use event_store::Recorded;
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::signed;

/// Rows in one statement: 24 columns of each stay below SQLite's 32,766 parameters.
const ROWS: usize = 250;

/// A row of `audit_entry`.
pub(super) struct AuditRow {
    position: i64,
    tenant: String,
    project: String,
    event: String,
    time_us: i64,
    actor_kind: String,
    actor_id: String,
    action: String,
    target_kind: &'static str,
    target_id: String,
    outcome: &'static str,
}

impl AuditRow {
    pub(super) fn new(
        recorded: &Recorded,
        project: Option<ProjectId>,
        outcome: &'static str,
    ) -> Self {
        Self {
            position: signed(recorded.position.as_u64()),
            tenant: recorded.stream.tenant.to_string(),
            project: project.map(String::from).unwrap_or_default(),
            event: recorded.event_id.to_string(),
            time_us: recorded.recorded_at.as_micros(),
            actor_kind: recorded.actor_type.clone().into_owned(),
            actor_id: recorded.actor_id.clone(),
            action: recorded.event_type.clone().into_owned(),
            target_kind: recorded.stream.kind.as_str(),
            target_id: recorded.stream.id.clone(),
            outcome,
        }
    }

    fn push(self, row: &mut Separated<'_, Sqlite, &'static str>) {
        row.push_bind(self.position)
            .push_bind(self.tenant)
            .push_bind(self.project)
            .push_bind(self.event)
            .push_bind(self.time_us)
            .push_bind(self.actor_kind)
            .push_bind(self.actor_id)
            .push_bind(self.action)
            .push_bind(self.target_kind)
            .push_bind(self.target_id)
            .push_bind(self.outcome);
    }
}

/// Writes entries of the audit log.
pub(super) async fn write_audit(
    db: &mut SqliteConnection,
    rows: Vec<AuditRow>,
) -> Result<(), sqlx::Error> {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO audit_entry (position, tenant, project_id, event_id, time_us, \
             actor_kind, actor_id, action, target_kind, target_id, outcome) ",
        );
        query.push_values(rows.by_ref().take(ROWS), |mut row, audit| audit.push(&mut row));
        query.build().execute(&mut *db).await?;
    }
    Ok(())
}

/// A row of `call`.
pub(super) struct CallRow {
    id: String,
    tenant: String,
    position: i64,
    event: String,
    call: CallEvent,
}

impl CallRow {
    pub(super) fn new(recorded: &Recorded, call: &CallEvent) -> Self {
        Self {
            id: recorded.stream.id.clone(),
            tenant: recorded.stream.tenant.to_string(),
            position: signed(recorded.position.as_u64()),
            event: recorded.event_id.to_string(),
            call: call.clone(),
        }
    }

    fn push(self, row: &mut Separated<'_, Sqlite, &'static str>) {
        row.push_bind(self.id).push_bind(self.tenant);
        match self.call {
            CallEvent::Started(started) => {
                push_subject(row, self.position, self.event, started.subject);
                row.push_bind("").push_bind(0_i64);
                for _ in 0..5 {
                    row.push_bind(0_i64);
                }
                row.push_bind("").push_bind("").push_bind(0_i64).push_bind(0_i64);
                row.push_bind("").push_bind("");
            }
            CallEvent::Finished(end) => {
                push_subject(row, self.position, self.event, end.subject);
                row.push_bind(end.outcome.as_str())
                    .push_bind(i64::from(end.error_code))
                    .push_bind(signed(end.queue_us))
                    .push_bind(signed(end.upstream_us))
                    .push_bind(signed(end.total_us))
                    .push_bind(signed(end.arguments_bytes))
                    .push_bind(signed(end.result_bytes))
                    .push_bind(end.arguments_digest)
                    .push_bind(end.result_digest)
                    .push_bind(i64::from(end.body_truncated))
                    .push_bind(i64::from(end.body_masked))
                    .push_bind(end.client)
                    .push_bind(end.mcp_session);
            }
        }
    }
}

fn push_subject(
    row: &mut Separated<'_, Sqlite, &'static str>,
    position: i64,
    event: String,
    subject: CallSubject,
) {
    row.push_bind(String::from(subject.project))
        .push_bind(position)
        .push_bind(event)
        .push_bind(subject.server.to_string())
        .push_bind(subject.server_name)
        .push_bind(subject.method)
        .push_bind(subject.target)
        .push_bind(subject.api_key.map(|key| key.to_string()).unwrap_or_default())
        .push_bind(subject.started_at.as_micros());
}

/// Writes calls; a later event of a call replaces its row.
pub(super) async fn write_calls(
    db: &mut SqliteConnection,
    rows: Vec<CallRow>,
) -> Result<(), sqlx::Error> {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO call (call_id, tenant, project_id, position, event_id, server_id, \
             server_name, method, target, api_key_id, started_at_us, outcome, error_code, \
             queue_us, upstream_us, total_us, arguments_bytes, result_bytes, arguments_digest, \
             result_digest, body_truncated, body_masked, client, mcp_session) ",
        );
        query.push_values(rows.by_ref().take(ROWS), |mut row, call| call.push(&mut row));
        query.push(
            " ON CONFLICT (call_id) DO UPDATE SET position = excluded.position, \
             event_id = excluded.event_id, outcome = excluded.outcome, \
             error_code = excluded.error_code, queue_us = excluded.queue_us, \
             upstream_us = excluded.upstream_us, total_us = excluded.total_us, \
             arguments_bytes = excluded.arguments_bytes, \
             result_bytes = excluded.result_bytes, \
             arguments_digest = excluded.arguments_digest, \
             result_digest = excluded.result_digest, \
             body_truncated = excluded.body_truncated, body_masked = excluded.body_masked, \
             client = excluded.client, mcp_session = excluded.mcp_session",
        );
        query.build().execute(&mut *db).await?;
    }
    Ok(())
}

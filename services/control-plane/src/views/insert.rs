//! Rows that come in numbers, written as statements of many rows.

use std::collections::HashMap;
use std::sync::LazyLock;

use domain::call::{CallFinished, CallStarted, CallSubject};
use domain::event::CallEvent;
use domain::{Actor, ApiKeyId, ProjectId};
use event_store::Recorded;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection};
use uuid::Uuid;

use super::bulk::Bulk;
use super::signed;

static AUDIT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert(
        "audit_entry (position, tenant, project_id, event_id, time_us, actor_kind, actor_id, \
         action, target_kind, target_id, outcome)",
        11,
    )
});

static CALLS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert(
        "call (project_id, position, tenant, call_id, event_id, audit_time_us, server_id, \
         server_name, method, target, api_key_id, started_at_us, outcome, error_code, queue_us, \
         upstream_us, total_us, arguments_bytes, result_bytes, arguments_digest, result_digest, \
         body_truncated, body_masked, client, mcp_session)",
        25,
    )
});

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

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

    fn bind<'q>(&'q self, query: Statement<'q>) -> Statement<'q> {
        query
            .bind(self.position)
            .bind(self.tenant.as_str())
            .bind(self.project.as_str())
            .bind(self.event.as_str())
            .bind(self.time_us)
            .bind(self.actor_kind.as_str())
            .bind(self.actor_id.as_str())
            .bind(self.action.as_str())
            .bind(self.target_kind)
            .bind(self.target_id.as_str())
            .bind(self.outcome)
    }
}

/// Writes entries of the audit log.
pub(super) async fn write_audit(
    db: &mut SqliteConnection,
    rows: &[AuditRow],
) -> Result<(), sqlx::Error> {
    for (sql, part) in AUDIT.over(rows) {
        let query = part.iter().fold(sqlx::query(sql), |query, row| row.bind(query));
        query.execute(&mut *db).await?;
    }
    Ok(())
}

/// A row of `call`.
pub(super) struct CallRow {
    position: i64,
    tenant: Uuid,
    id: Uuid,
    event: Uuid,
    audit_time_us: Option<i64>,
    call: CallEvent,
}

impl CallRow {
    /// `None` when the stream's name is no id of a call, which the journal lets nobody write.
    pub(super) fn new(recorded: &Recorded, call: CallEvent) -> Option<Self> {
        let audited = is_by_its_key(recorded, &call);
        Some(Self {
            position: signed(recorded.position.as_u64()),
            tenant: recorded.stream.tenant.as_uuid(),
            id: recorded.stream.id.parse().ok()?,
            event: recorded.event_id.as_uuid(),
            audit_time_us: audited.then_some(recorded.recorded_at.as_micros()),
            call,
        })
    }

    /// Whether the row is also the event's entry of the audit log.
    pub(super) const fn is_audited(&self) -> bool {
        self.audit_time_us.is_some()
    }

    /// The call.
    pub(super) const fn id(&self) -> Uuid {
        self.id
    }

    const fn subject(&self) -> &CallSubject {
        let (CallEvent::Started(CallStarted { subject, .. })
        | CallEvent::Finished(CallFinished { subject, .. })) = &self.call;
        subject
    }

    fn bind<'q>(&'q self, query: Statement<'q>) -> Statement<'q> {
        let subject = self.subject();
        let query = query
            .bind(subject.project.as_str())
            .bind(self.position)
            .bind(blob(self.tenant))
            .bind(blob(self.id))
            .bind(blob(self.event))
            .bind(self.audit_time_us);
        let query = bind_subject(query, subject);
        match &self.call {
            CallEvent::Started(_) => bind_no_end(query),
            CallEvent::Finished(end) => bind_end(query, end),
        }
    }
}

/// Whether a call's end was recorded by the key that made it: then its row says all that an entry
/// of the audit log says.
fn is_by_its_key(recorded: &Recorded, call: &CallEvent) -> bool {
    let CallEvent::Finished(end) = call else { return false };
    let key = end.subject.api_key.map(Actor::ApiKey);
    key.is_some_and(|key| recorded.actor_type == key.kind() && recorded.actor_id == key.id())
}

/// An id as it is stored in `call`.
pub(super) fn blob(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

fn bind_subject<'q>(query: Statement<'q>, subject: &'q CallSubject) -> Statement<'q> {
    query
        .bind(blob(subject.server.as_uuid()))
        .bind(subject.server_name.as_str())
        .bind(subject.method.as_str())
        .bind(subject.target.as_str())
        .bind(subject.api_key.map(ApiKeyId::as_uuid).map(blob))
        .bind(subject.started_at.as_micros())
}

fn bind_end<'q>(query: Statement<'q>, end: &'q CallFinished) -> Statement<'q> {
    query
        .bind(end.outcome.as_str())
        .bind(i64::from(end.error_code))
        .bind(signed(end.queue_us))
        .bind(signed(end.upstream_us))
        .bind(signed(end.total_us))
        .bind(signed(end.arguments_bytes))
        .bind(signed(end.result_bytes))
        .bind(end.arguments_digest.as_str())
        .bind(end.result_digest.as_str())
        .bind(i64::from(end.body_truncated))
        .bind(i64::from(end.body_masked))
        .bind(end.client.as_str())
        .bind(end.mcp_session.as_str())
}

/// What stands in the place of an end that is not recorded yet.
fn bind_no_end(query: Statement<'_>) -> Statement<'_> {
    let query = (0..6).fold(query.bind(""), |query, _| query.bind(0_i64));
    query.bind("").bind("").bind(0_i64).bind(0_i64).bind("").bind("")
}

/// A call that ended in a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The row of its last event among the rows of the batch.
    pub(super) row: usize,
    /// An end was told before: one that was given up for gone came back.
    pub(super) again: bool,
}

/// Writes calls. `ended` are those among them that may be in the table already: the new row
/// takes the place of the former one.
pub(super) async fn write_calls(
    db: &mut SqliteConnection,
    rows: &[CallRow],
    ended: &HashMap<Uuid, Ended>,
) -> Result<(), sqlx::Error> {
    if !ended.is_empty() {
        let ids: Vec<_> = ended.keys().map(|id| format!("\"{}\"", id.simple())).collect();
        sqlx::query(
            "DELETE FROM call WHERE outcome = '' \
             AND call_id IN (SELECT unhex(value) FROM json_each($1))",
        )
        .bind(format!("[{}]", ids.join(",")))
        .execute(&mut *db)
        .await?;
    }
    let again = |row: &&CallRow| ended.get(&row.id).is_some_and(|end| end.again);
    for row in rows.iter().filter(again) {
        // No entry leads to a finished call: its project is looked through, which is rare.
        sqlx::query("DELETE FROM call WHERE project_id = $1 AND call_id = $2")
            .bind(row.subject().project.as_str())
            .bind(blob(row.id))
            .execute(&mut *db)
            .await?;
    }
    for (sql, part) in CALLS.over(rows) {
        let query = part.iter().fold(sqlx::query(sql), |query, row| row.bind(query));
        query.execute(&mut *db).await?;
    }
    Ok(())
}

//! Projects and their members.

use domain::project::{AuditMode, Naming, ProjectSettings, RetryPolicy, ToolPinning};
use domain::{ProjectId, Role, TenantId, Timestamp, UserId};
use sqlx::FromRow;

use super::rows::Row;
use super::{MemberView, ProjectView, ViewError, Views, one_more, small};

#[derive(FromRow)]
struct ProjectRow {
    project_id: String,
    name: String,
    description: String,
    audit_mode: String,
    naming: String,
    unified_enabled: i64,
    body_retention_days: i64,
    tool_pinning: String,
    retry_policy: String,
    created_at_us: i64,
    servers: i64,
    members: i64,
    role: String,
}

impl ProjectRow {
    fn view(self) -> Result<ProjectView, ViewError> {
        let audit_mode = AuditMode::ALL.into_iter().find(|m| m.as_str() == self.audit_mode);
        let tool_pinning = ToolPinning::ALL.into_iter().find(|p| p.as_str() == self.tool_pinning);
        let retry_policy = RetryPolicy::ALL.into_iter().find(|p| p.as_str() == self.retry_policy);
        let naming = Naming::ALL.into_iter().find(|n| n.as_str() == self.naming);
        Ok(ProjectView {
            id: self.project_id.parse().map_err(ViewError::damaged)?,
            name: self.name,
            description: self.description,
            settings: ProjectSettings {
                audit_mode: audit_mode.ok_or_else(|| ViewError::damaged("audit mode"))?,
                naming: naming.ok_or_else(|| ViewError::damaged("naming"))?,
                unified_enabled: self.unified_enabled != 0,
                body_retention_days: small(self.body_retention_days),
                tool_pinning: tool_pinning.ok_or_else(|| ViewError::damaged("tool pinning"))?,
                retry_policy: retry_policy.ok_or_else(|| ViewError::damaged("retry policy"))?,
            },
            created_at: Timestamp::from_micros(self.created_at_us),
            server_count: small(self.servers),
            member_count: small(self.members),
            role: self.role.parse().map_err(ViewError::damaged)?,
        })
    }
}

#[derive(FromRow)]
struct MemberRow {
    user_id: String,
    email: String,
    display_name: String,
    role: String,
}

impl Row for MemberRow {
    type View = MemberView;

    fn view(self) -> Result<MemberView, ViewError> {
        Ok(MemberView {
            user: self.user_id.parse().map_err(ViewError::damaged)?,
            email: self.email,
            display_name: self.display_name,
            role: self.role.parse().map_err(ViewError::damaged)?,
        })
    }
}

impl Views {
    /// A member's role.
    pub(crate) async fn role(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        user: UserId,
    ) -> Result<Option<Role>, ViewError> {
        let role: Option<String> = sqlx::query_scalar(
            "SELECT role FROM member WHERE project_id = $1 AND user_id = $2 AND tenant = $3",
        )
        .bind(project.as_str())
        .bind(user.to_string())
        .bind(tenant.to_string())
        .fetch_optional(&self.pool)
        .await?;
        role.map(|role| role.parse().map_err(ViewError::damaged)).transpose()
    }

    /// Whether the tenant has the project.
    pub(crate) async fn project_exists(
        &self,
        tenant: TenantId,
        project: &ProjectId,
    ) -> Result<bool, ViewError> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM project WHERE project_id = $1 AND tenant = $2")
                .bind(project.as_str())
                .bind(tenant.to_string())
                .fetch_optional(&self.pool)
                .await?;
        Ok(found.is_some())
    }

    /// For how many days the project keeps bodies; none for an unknown project.
    pub(crate) async fn body_retention_days(
        &self,
        tenant: TenantId,
        project: &ProjectId,
    ) -> Result<Option<u32>, ViewError> {
        let days: Option<i64> = sqlx::query_scalar(
            "SELECT body_retention_days FROM project WHERE project_id = $1 AND tenant = $2",
        )
        .bind(project.as_str())
        .bind(tenant.to_string())
        .fetch_optional(&self.pool)
        .await?;
        Ok(days.map(small))
    }

    /// A project, shown to who has `role` in it.
    pub(crate) async fn project(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        role: Role,
    ) -> Result<Option<ProjectView>, ViewError> {
        let row: Option<ProjectRow> = sqlx::query_as(
            "SELECT p.project_id, p.name, p.description, p.audit_mode, p.naming, \
             p.unified_enabled, p.body_retention_days, p.tool_pinning, p.retry_policy, \
             p.created_at_us, \
             (SELECT COUNT(*) FROM server s WHERE s.project_id = p.project_id) AS servers, \
             (SELECT COUNT(*) FROM member m WHERE m.project_id = p.project_id) AS members, \
             $3 AS role FROM project p WHERE p.project_id = $1 AND p.tenant = $2",
        )
        .bind(project.as_str())
        .bind(tenant.to_string())
        .bind(role.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.map(ProjectRow::view).transpose()
    }

    /// The projects of a user, by id, and one more than `limit`.
    pub(crate) async fn projects_of(
        &self,
        tenant: TenantId,
        user: UserId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ProjectView>, ViewError> {
        let rows: Vec<ProjectRow> = sqlx::query_as(
            "SELECT p.project_id, p.name, p.description, p.audit_mode, p.naming, \
             p.unified_enabled, p.body_retention_days, p.tool_pinning, p.retry_policy, \
             p.created_at_us, \
             (SELECT COUNT(*) FROM server s WHERE s.project_id = p.project_id) AS servers, \
             (SELECT COUNT(*) FROM member m WHERE m.project_id = p.project_id) AS members, \
             own.role AS role FROM member own JOIN project p ON p.project_id = own.project_id \
             WHERE own.user_id = $1 AND own.tenant = $2 AND own.project_id > $3 \
             ORDER BY own.project_id LIMIT $4",
        )
        .bind(user.to_string())
        .bind(tenant.to_string())
        .bind(after.unwrap_or_default())
        .bind(one_more(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ProjectRow::view).collect()
    }

    /// The members of a project, by user id, and one more than `limit`.
    pub(crate) async fn members(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<MemberView>, ViewError> {
        let sql = "SELECT m.user_id, u.email, u.display_name, m.role FROM member m \
             JOIN user_account u ON u.user_id = m.user_id \
             WHERE m.project_id = $1 AND m.tenant = $2 AND m.user_id > $3 \
             ORDER BY m.user_id LIMIT $4";
        self.page::<MemberRow>(sql, (tenant, project), after, limit).await
    }

    /// One member.
    pub(crate) async fn member(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        user: UserId,
    ) -> Result<Option<MemberView>, ViewError> {
        let sql = "SELECT m.user_id, u.email, u.display_name, m.role FROM member m \
             JOIN user_account u ON u.user_id = m.user_id \
             WHERE m.project_id = $1 AND m.tenant = $2 AND m.user_id = $3";
        self.one::<MemberRow>(sql, (tenant, project), user).await
    }
}

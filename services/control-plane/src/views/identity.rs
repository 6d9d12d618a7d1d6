//! Users and organizations. These look-ups find the tenant, so they name none.

use domain::{ProjectId, SecretRef, TenantId, UserId};

use super::{UserView, ViewError, Views, small};

impl Views {
    /// The user with that address, which must be in lower case.
    pub(crate) async fn user_by_email(&self, email: &str) -> Result<Option<UserView>, ViewError> {
        let row: Option<(String, String, String, i64)> = sqlx::query_as(
            "SELECT user_id, display_name, credential_path, credential_version \
             FROM user_account WHERE email = $1",
        )
        .bind(email)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(id, display_name, path, version)| {
            Ok(UserView {
                id: id.parse().map_err(ViewError::damaged)?,
                email: email.to_owned(),
                display_name,
                credential: SecretRef { path, version: small(version) },
            })
        })
        .transpose()
    }

    /// The organization that the user joined first.
    pub(crate) async fn organization_of(
        &self,
        user: UserId,
    ) -> Result<Option<TenantId>, ViewError> {
        let tenant: Option<String> = sqlx::query_scalar(
            "SELECT tenant FROM organization_member WHERE user_id = $1 \
             ORDER BY joined_position LIMIT 1",
        )
        .bind(user.to_string())
        .fetch_optional(&self.pool)
        .await?;
        tenant.map(|tenant| tenant.parse().map_err(ViewError::damaged)).transpose()
    }

    /// Whether the user belongs to the organization.
    pub(crate) async fn in_organization(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<bool, ViewError> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM organization_member WHERE tenant = $1 AND user_id = $2",
        )
        .bind(tenant.to_string())
        .bind(user.to_string())
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.is_some())
    }

    /// Whether the user made the organization.
    pub(crate) async fn owns_organization(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<bool, ViewError> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM organization WHERE tenant = $1 AND owner = $2")
                .bind(tenant.to_string())
                .bind(user.to_string())
                .fetch_optional(&self.pool)
                .await?;
        Ok(found.is_some())
    }

    /// The organization of the first start and its first project that is left, if the first
    /// start was completed: its last step is the first key of all.
    pub(crate) async fn completed_bootstrap(
        &self,
    ) -> Result<Option<(TenantId, ProjectId)>, ViewError> {
        let first: Option<(String, String)> = sqlx::query_as(
            "SELECT k.tenant, COALESCE((SELECT p.project_id FROM project p \
             WHERE p.tenant = k.tenant ORDER BY p.created_at_us, p.project_id LIMIT 1), \
             k.project_id) FROM api_key k ORDER BY k.created_at_us, k.key_id LIMIT 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        first
            .map(|(tenant, project)| {
                Ok((
                    tenant.parse().map_err(ViewError::damaged)?,
                    project.parse().map_err(ViewError::damaged)?,
                ))
            })
            .transpose()
    }
}

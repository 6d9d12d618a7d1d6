//! API keys, by what they are known.

use domain::api_key::KeyHash;
use domain::{ApiKeyId, ProjectId, TenantId, Timestamp};
use sqlx::FromRow;

use super::rows::Row;
use super::{ApiKeyView, ViewError, Views};

#[derive(FromRow)]
struct KeyRow {
    key_id: String,
    project_id: String,
    tenant: String,
    name: String,
    suffix: String,
    role: String,
    creator: String,
    created_at_us: i64,
    expires_at_us: Option<i64>,
    revoked: i64,
}

/// The columns of a [`KeyRow`], and which rows.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT key_id, project_id, tenant, name, suffix, role, creator, created_at_us, ",
            "expires_at_us, revoked FROM api_key ",
            $which
        )
    };
}

impl Row for KeyRow {
    type View = ApiKeyView;

    fn view(self) -> Result<ApiKeyView, ViewError> {
        Ok(ApiKeyView {
            id: self.key_id.parse().map_err(ViewError::damaged)?,
            project: self.project_id.parse().map_err(ViewError::damaged)?,
            name: self.name,
            suffix: self.suffix,
            role: self.role.parse().map_err(ViewError::damaged)?,
            creator: self.creator.parse().map_err(ViewError::damaged)?,
            created_at: Timestamp::from_micros(self.created_at_us),
            expires_at: self.expires_at_us.map(Timestamp::from_micros),
            revoked: self.revoked != 0,
        })
    }
}

impl Views {
    /// The key with that hash, and whose it is. This look-up finds the tenant.
    pub(crate) async fn api_key_by_hash(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(TenantId, ApiKeyView)>, ViewError> {
        let row: Option<KeyRow> = sqlx::query_as(select!("WHERE hash = $1"))
            .bind(hash.to_hex())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let tenant = row.tenant.parse().map_err(ViewError::damaged)?;
        Ok(Some((tenant, row.view()?)))
    }

    /// The keys of a project, oldest first, and one more than `limit`.
    pub(crate) async fn api_keys(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiKeyView>, ViewError> {
        let sql = select!(
            "WHERE project_id = $1 AND tenant = $2 AND key_id > $3 ORDER BY key_id LIMIT $4"
        );
        self.page::<KeyRow>(sql, (tenant, project), after, limit).await
    }

    /// One key of the project.
    pub(crate) async fn api_key(
        &self,
        tenant: TenantId,
        project: &ProjectId,
        key: ApiKeyId,
    ) -> Result<Option<ApiKeyView>, ViewError> {
        let sql = select!("WHERE project_id = $1 AND tenant = $2 AND key_id = $3");
        self.one::<KeyRow>(sql, (tenant, project), key).await
    }
}

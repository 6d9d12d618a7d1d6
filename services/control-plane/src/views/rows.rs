//! The two shapes of queries on what belongs to a project: a page after a key, and one row.

use domain::{ProjectId, TenantId};
use sqlx::FromRow;
use sqlx::sqlite::SqliteRow;

use super::{ViewError, Views, one_more};

/// A row as it is read, and what it is then.
pub(super) trait Row: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {
    /// What is shown of it.
    type View;

    /// Reads the row's texts.
    fn view(self) -> Result<Self::View, ViewError>;
}

impl Views {
    /// A page, and one row more: `sql` takes the project, the tenant, the key after which the page
    /// begins and how many rows are wanted.
    pub(super) async fn page<R: Row>(
        &self,
        sql: &'static str,
        (tenant, project): (TenantId, &ProjectId),
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<R::View>, ViewError> {
        let rows: Vec<R> = sqlx::query_as(sql)
            .bind(project.as_str())
            .bind(tenant.to_string())
            .bind(after.unwrap_or_default())
            .bind(one_more(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(Row::view).collect()
    }

    /// One row: `sql` takes the project, the tenant and the row's key.
    pub(super) async fn one<R: Row>(
        &self,
        sql: &'static str,
        (tenant, project): (TenantId, &ProjectId),
        key: impl ToString,
    ) -> Result<Option<R::View>, ViewError> {
        let row: Option<R> = sqlx::query_as(sql)
            .bind(project.as_str())
            .bind(tenant.to_string())
            .bind(key.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.map(Row::view).transpose()
    }
}

//! `AuditService`.

use domain::Refusal;
use proto::control::v1 as pb;
use proto::control::v1::audit_service_server::AuditService;
use tonic::{Request, Response, Status, async_trait};

use super::{Services, read, show, status};
use crate::use_case::{AuditFilter, list_audit};

#[async_trait]
impl AuditService for Services {
    async fn list_audit_entries(
        &self,
        request: Request<pb::ListAuditEntriesRequest>,
    ) -> Result<Response<pb::ListAuditEntriesResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let paging = read::paging(request.page_size, &request.page_token).map_err(status)?;
        let filter = filter(request).map_err(status)?;
        let page = list_audit(&self.app, &ctx, &filter, &paging).await.map_err(status)?;
        let page = page.map(show::audit);
        Ok(Response::new(pb::ListAuditEntriesResponse {
            entries: page.items,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }
}

fn filter(request: pb::ListAuditEntriesRequest) -> Result<AuditFilter, Refusal> {
    let project = match request.project_id.as_str() {
        "" => None,
        id => Some(read::project(id)?),
    };
    Ok(AuditFilter {
        project,
        actor_id: read::filter_text("actor_id", request.actor_id)?,
        action: read::filter_text("action", request.action)?,
        target_kind: read::filter_text("target_kind", request.target_kind)?,
        target_id: read::filter_text("target_id", request.target_id)?,
        outcome: read::filter_text("outcome", request.outcome)?,
        from: read::time("time_from", request.time_from)?,
        to: read::time("time_to", request.time_to)?,
    })
}

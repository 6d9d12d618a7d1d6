//! `CallService`.

use domain::Refusal;
use proto::control::v1 as pb;
use proto::control::v1::call_service_server::CallService;
use tonic::{Request, Response, Status, async_trait};

use super::{Services, read, show, status};
use crate::use_case::{CallFilter, get_call, list_calls};

#[async_trait]
impl CallService for Services {
    async fn list_calls(
        &self,
        request: Request<pb::ListCallsRequest>,
    ) -> Result<Response<pb::ListCallsResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let project = read::project(&request.project_id).map_err(status)?;
        let paging = read::paging(request.page_size, &request.page_token).map_err(status)?;
        let filter = filter(request).map_err(status)?;
        let page = list_calls(&self.app, &ctx, &project, &filter, &paging).await;
        let page = page.map_err(status)?.map(show::call);
        Ok(Response::new(pb::ListCallsResponse {
            calls: page.items,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_call(
        &self,
        request: Request<pb::GetCallRequest>,
    ) -> Result<Response<pb::GetCallResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let project = read::project(&request.project_id).map_err(status)?;
        let id = read::call(&request.call_id).map_err(status)?;
        let call = get_call(&self.app, &ctx, &project, id).await.map_err(status)?;
        Ok(Response::new(pb::GetCallResponse { call: Some(show::call(call)) }))
    }
}

fn filter(request: pb::ListCallsRequest) -> Result<CallFilter, Refusal> {
    Ok(CallFilter {
        server: read::filter_id("server_id", &request.server_id)?,
        target: read::filter_text("target", request.target)?,
        api_key: read::filter_id("api_key_id", &request.api_key_id)?,
        outcomes: read::outcomes(&request.outcomes)?,
        from: read::time("start_time_from", request.start_time_from)?,
        to: read::time("start_time_to", request.start_time_to)?,
        min_total_us: request.min_total_us,
        mcp_session: read::filter_text("mcp_session", request.mcp_session)?,
        include_arguments: request.include_arguments,
    })
}

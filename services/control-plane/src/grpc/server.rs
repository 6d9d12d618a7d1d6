//! `ServerService`.

use domain::Refusal;
use proto::control::v1 as pb;
use proto::control::v1::server_service_server::ServerService;
use tonic::{Request, Response, Status, async_trait};

use super::{Services, read, show, status};
use crate::import::{ImportServers, import_servers};
use crate::use_case::{
    ApproveTool, Approving, CreateServer, DeleteServer, SetServerEnabled, SetToolEnabled,
    UpdateServer, approve_tool, create_server, delete_server, get_server, list_servers, list_tools,
    server_log, set_server_enabled, set_tool_enabled, test_server, update_server,
};

#[async_trait]
impl ServerService for Services {
    async fn create_server(
        &self,
        request: Request<pb::CreateServerRequest>,
    ) -> Result<Response<pb::CreateServerResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = CreateServer {
            project: read::project(&request.project_id).map_err(status)?,
            spec: spec(request.spec).map_err(status)?,
            idempotency_key: read::key(request.idempotency_key),
        };
        let server = create_server(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::CreateServerResponse { server: Some(show::server(server)) }))
    }

    async fn get_server(
        &self,
        request: Request<pb::GetServerRequest>,
    ) -> Result<Response<pb::GetServerResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let project = read::project(&request.project_id).map_err(status)?;
        let id = read::server(&request.server_id).map_err(status)?;
        let server = get_server(&self.app, &ctx, &project, id).await.map_err(status)?;
        Ok(Response::new(pb::GetServerResponse { server: Some(show::server(server)) }))
    }

    async fn list_servers(
        &self,
        request: Request<pb::ListServersRequest>,
    ) -> Result<Response<pb::ListServersResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let project = read::project(&request.project_id).map_err(status)?;
        let paging = read::paging(request.page_size, &request.page_token).map_err(status)?;
        let page = list_servers(&self.app, &ctx, &project, &paging).await.map_err(status)?;
        let page = page.map(show::server);
        Ok(Response::new(pb::ListServersResponse {
            servers: page.items,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn update_server(
        &self,
        request: Request<pb::UpdateServerRequest>,
    ) -> Result<Response<pb::UpdateServerResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = UpdateServer {
            project: read::project(&request.project_id).map_err(status)?,
            server: read::server(&request.server_id).map_err(status)?,
            spec: spec(request.spec).map_err(status)?,
            mask: read::mask(request.update_mask).map_err(status)?,
            idempotency_key: read::key(request.idempotency_key),
        };
        let server = update_server(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::UpdateServerResponse { server: Some(show::server(server)) }))
    }

    async fn delete_server(
        &self,
        request: Request<pb::DeleteServerRequest>,
    ) -> Result<Response<pb::DeleteServerResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = DeleteServer {
            project: read::project(&request.project_id).map_err(status)?,
            server: read::server(&request.server_id).map_err(status)?,
            idempotency_key: read::key(request.idempotency_key),
        };
        delete_server(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::DeleteServerResponse {}))
    }

    async fn set_server_enabled(
        &self,
        request: Request<pb::SetServerEnabledRequest>,
    ) -> Result<Response<pb::SetServerEnabledResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = SetServerEnabled {
            project: read::project(&request.project_id).map_err(status)?,
            server: read::server(&request.server_id).map_err(status)?,
            enabled: request.enabled,
            idempotency_key: read::key(request.idempotency_key),
        };
        let server = set_server_enabled(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::SetServerEnabledResponse { server: Some(show::server(server)) }))
    }

    async fn set_tool_enabled(
        &self,
        request: Request<pb::SetToolEnabledRequest>,
    ) -> Result<Response<pb::SetToolEnabledResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = SetToolEnabled {
            project: read::project(&request.project_id).map_err(status)?,
            server: read::server(&request.server_id).map_err(status)?,
            tool: request.tool,
            enabled: request.enabled,
            idempotency_key: read::key(request.idempotency_key),
        };
        let server = set_tool_enabled(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::SetToolEnabledResponse { server: Some(show::server(server)) }))
    }

    async fn approve_tool(
        &self,
        request: Request<pb::ApproveToolRequest>,
    ) -> Result<Response<pb::ApproveToolResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = ApproveTool {
            project: read::project(&request.project_id).map_err(status)?,
            server: read::server(&request.server_id).map_err(status)?,
            what: Approving::read(request.tool, request.hash, request.all).map_err(status)?,
            idempotency_key: read::key(request.idempotency_key),
        };
        let approved = approve_tool(&self.app, &ctx, command).await.map_err(status)?;
        let approved = approved.into_iter();
        let approved = approved.map(|one| pb::ApprovedTool { tool: one.tool, hash: one.hash });
        Ok(Response::new(pb::ApproveToolResponse { approved: approved.collect() }))
    }

    async fn list_tools(
        &self,
        request: Request<pb::ListToolsRequest>,
    ) -> Result<Response<pb::ListToolsResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let project = read::project(&request.project_id).map_err(status)?;
        let server = match request.server_id.as_str() {
            "" => None,
            id => Some(read::server(id).map_err(status)?),
        };
        let paging = read::paging(request.page_size, &request.page_token).map_err(status)?;
        let page = list_tools(&self.app, &ctx, &project, server, &paging).await;
        let page = page.map_err(status)?.map(show::tool);
        Ok(Response::new(pb::ListToolsResponse {
            tools: page.items,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn test_server(
        &self,
        request: Request<pb::TestServerRequest>,
    ) -> Result<Response<pb::TestServerResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let project = read::project(&request.project_id).map_err(status)?;
        let id = read::server(&request.server_id).map_err(status)?;
        let report = test_server(&self.app, &ctx, &project, id).await.map_err(status)?;
        Ok(Response::new(show::test(report)))
    }

    async fn get_server_log(
        &self,
        request: Request<pb::GetServerLogRequest>,
    ) -> Result<Response<pb::GetServerLogResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let project = read::project(&request.project_id).map_err(status)?;
        let id = read::server(&request.server_id).map_err(status)?;
        let lines = server_log(&self.app, &ctx, &project, id, request.max_lines).await;
        Ok(Response::new(pb::GetServerLogResponse { lines: lines.map_err(status)? }))
    }

    async fn import_servers(
        &self,
        request: Request<pb::ImportServersRequest>,
    ) -> Result<Response<pb::ImportServersResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = ImportServers {
            project: read::project(&request.project_id).map_err(status)?,
            config_json: request.config_json,
            dry_run: request.dry_run,
            prune: request.prune,
        };
        let servers = import_servers(&self.app, &ctx, command).await.map_err(status)?;
        let servers = servers.into_iter().map(show::imported).collect();
        Ok(Response::new(pb::ImportServersResponse { servers }))
    }
}

fn spec(spec: Option<pb::ServerSpec>) -> Result<pb::ServerSpec, Refusal> {
    spec.ok_or_else(|| Refusal::invalid("spec", "must be given"))
}

//! `ProjectService`.

use domain::Refusal;
use proto::control::v1 as pb;
use proto::control::v1::project_service_server::ProjectService;
use proto::control::v1::set_member_request::User;
use tonic::{Request, Response, Status, async_trait};

use super::{Services, read, show, status};
use crate::use_case::{
    CreateProject, DeleteProject, RemoveMember, SetMember, UpdateProject, UserRef, create_project,
    delete_project, get_project, list_members, list_projects, remove_member, set_member,
    update_project,
};

#[async_trait]
impl ProjectService for Services {
    async fn create_project(
        &self,
        request: Request<pb::CreateProjectRequest>,
    ) -> Result<Response<pb::CreateProjectResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = CreateProject {
            name: request.name,
            description: request.description,
            id: read::wanted_project(&request.project_id).map_err(status)?,
            idempotency_key: read::key(request.idempotency_key),
        };
        let project = create_project(&self.app, &ctx, command).await.map_err(status)?;
        let project = Some(show::project(&self.app, project));
        Ok(Response::new(pb::CreateProjectResponse { project }))
    }

    async fn get_project(
        &self,
        request: Request<pb::GetProjectRequest>,
    ) -> Result<Response<pb::GetProjectResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let id = read::project(&request.into_inner().project_id).map_err(status)?;
        let project = get_project(&self.app, &ctx, &id).await.map_err(status)?;
        let project = Some(show::project(&self.app, project));
        Ok(Response::new(pb::GetProjectResponse { project }))
    }

    async fn list_projects(
        &self,
        request: Request<pb::ListProjectsRequest>,
    ) -> Result<Response<pb::ListProjectsResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let paging = read::paging(request.page_size, &request.page_token).map_err(status)?;
        let page = list_projects(&self.app, &ctx, &paging).await.map_err(status)?;
        let page = page.map(|project| show::project(&self.app, project));
        Ok(Response::new(pb::ListProjectsResponse {
            projects: page.items,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn update_project(
        &self,
        request: Request<pb::UpdateProjectRequest>,
    ) -> Result<Response<pb::UpdateProjectResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let command = update(request.into_inner()).map_err(status)?;
        let project = update_project(&self.app, &ctx, command).await.map_err(status)?;
        let project = Some(show::project(&self.app, project));
        Ok(Response::new(pb::UpdateProjectResponse { project }))
    }

    async fn delete_project(
        &self,
        request: Request<pb::DeleteProjectRequest>,
    ) -> Result<Response<pb::DeleteProjectResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = DeleteProject {
            project: read::project(&request.project_id).map_err(status)?,
            idempotency_key: read::key(request.idempotency_key),
        };
        delete_project(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::DeleteProjectResponse {}))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let id = read::project(&request.project_id).map_err(status)?;
        let paging = read::paging(request.page_size, &request.page_token).map_err(status)?;
        let page = list_members(&self.app, &ctx, &id, &paging).await.map_err(status)?;
        let page = page.map(show::member);
        Ok(Response::new(pb::ListMembersResponse {
            members: page.items,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn set_member(
        &self,
        request: Request<pb::SetMemberRequest>,
    ) -> Result<Response<pb::SetMemberResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let command = set(request.into_inner()).map_err(status)?;
        let member = set_member(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::SetMemberResponse { member: Some(show::member(member)) }))
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Result<Response<pb::RemoveMemberResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = RemoveMember {
            project: read::project(&request.project_id).map_err(status)?,
            user: read::user(&request.user_id).map_err(status)?,
            idempotency_key: read::key(request.idempotency_key),
        };
        remove_member(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::RemoveMemberResponse {}))
    }
}

fn set(request: pb::SetMemberRequest) -> Result<SetMember, Refusal> {
    let user = match request.user {
        Some(User::UserId(id)) => UserRef::Id(read::user(&id)?),
        Some(User::Email(email)) => UserRef::Email(email),
        None => return Err(Refusal::invalid("user", "must be given by id or by e-mail")),
    };
    Ok(SetMember {
        project: read::project(&request.project_id)?,
        user,
        role: read::role(request.role)?,
        idempotency_key: read::key(request.idempotency_key),
    })
}

/// What the mask names; an empty mask is refused, since absent fields cannot be told from zeros.
fn update(request: pb::UpdateProjectRequest) -> Result<UpdateProject, Refusal> {
    let project = request.project.unwrap_or_default();
    let mask = read::mask(request.update_mask)?;
    if mask.is_empty() {
        return Err(Refusal::invalid("update_mask", "must name what is to change"));
    }
    let mut command = UpdateProject {
        project: read::project(&project.id)?,
        name: None,
        description: None,
        audit_mode: None,
        naming: None,
        unified_enabled: None,
        body_retention_days: None,
        tool_pinning: None,
        retry_policy: None,
        idempotency_key: read::key(request.idempotency_key),
    };
    for path in mask {
        match path.strip_prefix("project.").unwrap_or(&path) {
            "name" => command.name = Some(project.name.clone()),
            "description" => command.description = Some(project.description.clone()),
            "audit_mode" => command.audit_mode = Some(read::audit_mode(project.audit_mode)?),
            "naming" => command.naming = Some(read::naming(project.naming)?),
            "unified_enabled" => command.unified_enabled = Some(project.unified_enabled),
            "body_retention_days" => {
                command.body_retention_days = Some(project.body_retention_days);
            }
            "tool_pinning" => {
                command.tool_pinning = Some(read::tool_pinning(project.tool_pinning)?);
            }
            "retry_policy" => {
                command.retry_policy = Some(read::retry_policy(project.retry_policy)?);
            }
            other => {
                let message = format!("names no field that can be changed: {other:?}");
                return Err(Refusal::invalid("update_mask", message));
            }
        }
    }
    Ok(command)
}

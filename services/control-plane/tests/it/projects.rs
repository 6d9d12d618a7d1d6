//! Projects over gRPC.

use prost_types::FieldMask;
use proto::control::v1 as pb;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{World, refused};

fn create(name: &str, id: &str) -> pb::CreateProjectRequest {
    pb::CreateProjectRequest {
        name: name.to_owned(),
        project_id: id.to_owned(),
        ..Default::default()
    }
}

fn update(project: pb::Project, paths: &[&str]) -> pb::UpdateProjectRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdateProjectRequest {
        project: Some(project),
        update_mask: Some(FieldMask { paths }),
        idempotency_key: String::new(),
    }
}

#[tokio::test]
async fn a_project_is_made_read_changed_listed_and_ended() {
    let (_world, owner) = World::bootstrapped().await;
    let mut projects = owner.caller.projects();
    let made = projects.create_project(create(" My project ", "mine")).await.unwrap();
    let made = made.into_inner().project.unwrap();
    assert_eq!((made.id.as_str(), made.name.as_str()), ("mine", "My project"));
    assert_eq!(made.role(), pb::Role::Owner);
    assert_eq!(made.audit_mode(), pb::AuditMode::Acknowledged);
    assert_eq!(made.sse_url, "http://mcp.example.org/projects/mine/unified/sse");

    let changed = pb::Project {
        id: "mine".into(),
        name: "Other".into(),
        audit_mode: pb::AuditMode::Strict.into(),
        retry_policy: pb::RetryPolicy::Idempotent.into(),
        ..Default::default()
    };
    let mask = ["audit_mode", "retry_policy"];
    let changed = projects.update_project(update(changed, &mask)).await.unwrap();
    let changed = changed.into_inner().project.unwrap();
    assert_eq!(changed.audit_mode(), pb::AuditMode::Strict);
    assert_eq!(made.retry_policy(), pb::RetryPolicy::Never);
    assert_eq!(changed.retry_policy(), pb::RetryPolicy::Idempotent);
    assert_eq!(changed.name, "My project", "what the mask does not name stays");
    assert_eq!(changed.body_retention_days, 30);

    let listed = projects.list_projects(pb::ListProjectsRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().projects.len(), 2);

    let delete = pb::DeleteProjectRequest { project_id: "mine".into(), ..Default::default() };
    projects.delete_project(delete).await.unwrap();
    let get = pb::GetProjectRequest { project_id: "mine".into() };
    assert_eq!(refused(projects.get_project(get).await), (Code::NotFound, "NOT_FOUND".into()));
    let again = refused(projects.create_project(create("x", "mine")).await);
    assert_eq!(again, (Code::AlreadyExists, "ALREADY_EXISTS".into()), "the id stays taken");
}

#[tokio::test]
async fn lists_are_paged_and_a_token_fits_its_list_only() {
    let (_world, owner) = World::bootstrapped().await;
    let mut projects = owner.caller.projects();
    for index in 0..5 {
        projects.create_project(create("p", &format!("p{index}"))).await.unwrap();
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListProjectsRequest { page_size: 2, page_token: token };
        let page = projects.list_projects(request).await.unwrap().into_inner();
        assert!(page.projects.len() <= 2);
        seen.extend(page.projects.into_iter().map(|project| project.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let foreign = pb::ListMembersRequest {
            project_id: "p0".into(),
            page_token: token.clone(),
            ..Default::default()
        };
        assert_eq!(refused(projects.list_members(foreign).await).0, Code::InvalidArgument);
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.is_sorted());
    let too_large = pb::ListProjectsRequest { page_size: 501, ..Default::default() };
    assert_eq!(refused(projects.list_projects(too_large).await).0, Code::InvalidArgument);
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let (_world, owner) = World::bootstrapped().await;
    let mut projects = owner.caller.projects();
    let status = projects.create_project(create("", "")).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "name");
    assert_eq!(details.error_info().unwrap().domain, "mcp-orch");

    let id = owner.project.to_string();
    let project = pb::Project { id, body_retention_days: 3_651, ..Default::default() };
    for paths in [&["body_retention_days"][..], &["create_time"], &[]] {
        let result = projects.update_project(update(project.clone(), paths)).await;
        assert_eq!(refused(result).0, Code::InvalidArgument, "{paths:?}");
    }
    assert_eq!(refused(projects.create_project(create("x", "a/b")).await).0, Code::InvalidArgument);
}

#[tokio::test]
async fn a_project_id_is_unique_over_all_organizations() {
    let (world, owner) = World::bootstrapped().await;
    let (stranger, _) = world.other_organization("others").await;
    owner.caller.projects().create_project(create("a", "shared")).await.unwrap();
    let result = stranger.projects().create_project(create("b", "shared")).await;
    assert_eq!(refused(result).0, Code::AlreadyExists);
}

#[tokio::test]
async fn the_last_owner_stays() {
    let (world, owner) = World::bootstrapped().await;
    let second = world.member(&owner, "second", pb::Role::Developer).await;
    let project_id = owner.project.to_string();
    let mut projects = owner.caller.projects();
    let remove = |user: domain::UserId| pb::RemoveMemberRequest {
        project_id: project_id.clone(),
        user_id: user.to_string(),
        idempotency_key: String::new(),
    };
    let last = refused(projects.remove_member(remove(owner.caller.user)).await);
    assert_eq!(last, (Code::FailedPrecondition, "FAILED_PRECONDITION".into()));
    let promote = pb::SetMemberRequest {
        project_id: project_id.clone(),
        user: Some(pb::set_member_request::User::Email("Second@Example.org".into())),
        role: pb::Role::Owner.into(),
        idempotency_key: String::new(),
    };
    let member = projects.set_member(promote).await.unwrap().into_inner().member.unwrap();
    assert_eq!((member.role(), member.user_id), (pb::Role::Owner, second.user.to_string()));
    projects.remove_member(remove(owner.caller.user)).await.unwrap();
    let get = pb::GetProjectRequest { project_id: project_id.clone() };
    assert_eq!(refused(projects.get_project(get).await).0, Code::NotFound);
    let members = pb::ListMembersRequest { project_id, ..Default::default() };
    let members = second.projects().list_members(members).await.unwrap().into_inner().members;
    assert_eq!(members.len(), 1);
}

#[tokio::test]
async fn only_members_of_the_organization_become_members_of_a_project() {
    let (world, owner) = World::bootstrapped().await;
    let (stranger, _) = world.other_organization("others").await;
    for user in [stranger.user, domain::UserId::from_uuid(uuid::Uuid::from_u128(7))] {
        let request = pb::SetMemberRequest {
            project_id: owner.project.to_string(),
            user: Some(pb::set_member_request::User::UserId(user.to_string())),
            role: pb::Role::Reporter.into(),
            idempotency_key: String::new(),
        };
        let result = owner.caller.projects().set_member(request).await;
        assert_eq!(refused(result).0, Code::NotFound);
    }
}

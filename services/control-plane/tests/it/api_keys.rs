//! API keys: shown once, hashed, and no more than who made them.

use control_plane::Principal;
use control_plane::identity::{api_key, authenticate_api_key};
use control_plane::use_case::authorize::role_in;
use domain::{ErrorCode, Role};
use proto::control::v1 as pb;
use secrecy::ExposeSecret as _;
use tonic::Code;

use crate::support::{Caller, Owner, World, refused};

fn create(owner: &Owner, role: pb::Role) -> pb::CreateApiKeyRequest {
    pb::CreateApiKeyRequest {
        project_id: owner.project.to_string(),
        name: "key".into(),
        role: role.into(),
        ..Default::default()
    }
}

async fn make(caller: &Caller, request: pb::CreateApiKeyRequest) -> pb::CreateApiKeyResponse {
    caller.keys().create_api_key(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_key_is_shown_once_and_known_by_its_hash() {
    let (world, owner) = World::bootstrapped().await;
    let mut request = create(&owner, pb::Role::Unspecified);
    request.idempotency_key = "k".into();
    let made = make(&owner.caller, request.clone()).await;
    let key = made.api_key.unwrap();
    assert!(api_key::is_well_formed(&made.secret));
    assert!(made.secret.ends_with(&key.suffix));
    assert_eq!(key.role(), pb::Role::Developer, "at most Developer unless asked for");
    let again = make(&owner.caller, request).await;
    assert_eq!((again.api_key.unwrap().id, again.secret), (key.id, String::new()));

    let ctx = authenticate_api_key(&world.app, &made.secret).await.unwrap();
    assert_eq!(ctx.tenant, owner.tenant);
    assert!(
        matches!(ctx.principal, Principal::ApiKey { ref project, .. } if *project == owner.project)
    );
    let listed =
        pb::ListApiKeysRequest { project_id: owner.project.to_string(), ..Default::default() };
    let listed = owner.caller.keys().list_api_keys(listed).await.unwrap().into_inner();
    assert_eq!(listed.api_keys.len(), 2);
    assert!(!format!("{listed:?}").contains(&made.secret));
}

#[tokio::test]
async fn a_key_is_no_more_than_its_maker_now() {
    let (world, owner) = World::bootstrapped().await;
    let dave = world.member(&owner, "dave", pb::Role::Developer).await;
    let above = dave.keys().create_api_key(create(&owner, pb::Role::Owner)).await;
    assert_eq!(refused(above).0, Code::PermissionDenied);
    let made = make(&dave, create(&owner, pb::Role::Developer)).await;
    let ctx = authenticate_api_key(&world.app, &made.secret).await.unwrap();
    let role = || role_in(&world.app, &ctx, &owner.project);
    assert_eq!(role().await, Ok(Some(Role::Developer)));
    let demote = pb::SetMemberRequest {
        project_id: owner.project.to_string(),
        user: Some(pb::set_member_request::User::UserId(dave.user.to_string())),
        role: pb::Role::Reporter.into(),
        ..Default::default()
    };
    owner.caller.projects().set_member(demote).await.unwrap();
    assert_eq!(role().await, Ok(Some(Role::Reporter)));
    let remove = pb::RemoveMemberRequest {
        project_id: owner.project.to_string(),
        user_id: dave.user.to_string(),
        ..Default::default()
    };
    owner.caller.projects().remove_member(remove).await.unwrap();
    assert_eq!(role().await, Ok(None));
    let (_, elsewhere) = world.other_organization("others").await;
    assert_eq!(role_in(&world.app, &ctx, &elsewhere).await, Ok(None));
}

#[tokio::test]
async fn ended_keys_are_refused_like_unknown_ones() {
    let (world, owner) = World::bootstrapped().await;
    let dave = world.member(&owner, "dave", pb::Role::Developer).await;
    let own = make(&dave, create(&owner, pb::Role::Developer)).await;
    let mut brief = create(&owner, pb::Role::Developer);
    let end = world.clock.now().plus_seconds(60);
    brief.expire_time =
        Some(prost_types::Timestamp { seconds: end.as_micros() / 1_000_000, nanos: 0 });
    let brief = make(&owner.caller, brief).await;
    let revoke = |key: &pb::CreateApiKeyResponse| pb::RevokeApiKeyRequest {
        project_id: owner.project.to_string(),
        api_key_id: key.api_key.as_ref().unwrap().id.clone(),
        ..Default::default()
    };
    let foreign = dave.keys().revoke_api_key(revoke(&brief)).await;
    assert_eq!(refused(foreign).0, Code::PermissionDenied);
    dave.keys().revoke_api_key(revoke(&own)).await.unwrap();
    dave.keys().revoke_api_key(revoke(&own)).await.unwrap();
    assert!(authenticate_api_key(&world.app, &brief.secret).await.is_ok());
    world.clock.advance_seconds(61);
    for key in [&own.secret, &brief.secret, "api_key_unknown", "", "other"] {
        let refusal = authenticate_api_key(&world.app, key).await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Unauthenticated);
    }
    let mut past = create(&owner, pb::Role::Developer);
    past.expire_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    assert_eq!(refused(owner.caller.keys().create_api_key(past).await).0, Code::InvalidArgument);
    assert!(authenticate_api_key(&world.app, owner.first.api_key.expose_secret()).await.is_ok());
}

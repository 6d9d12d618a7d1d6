//! The first start of a data folder, and the ones after it.

use control_plane::identity::{authenticate_api_key, authenticate_session};
use control_plane::use_case::{Bootstrap, RegisterUser, bootstrap, create_user};
use domain::{ErrorCode, TenantId};
use event_store::EventStore as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::support::{PASSWORD, World};

#[tokio::test]
async fn the_first_start_makes_an_owner_a_project_and_a_key_and_the_next_one_nothing() {
    let (world, owner) = World::bootstrapped().await;
    let key = owner.first.api_key.expose_secret().to_owned();
    let ctx = authenticate_api_key(&world.app, &key).await.unwrap();
    assert_eq!(ctx.tenant, owner.tenant);
    let head = world.store.head().await.unwrap();
    let world = world.restart().await;
    let again = bootstrap(&world.app, Bootstrap::default()).await.unwrap();
    assert!(again.first.is_none());
    assert_eq!((again.tenant, again.project), (owner.tenant, owner.project));
    assert_eq!(world.store.head().await.unwrap(), head, "no event more");
    assert!(authenticate_api_key(&world.app, &key).await.is_ok());
    assert!(authenticate_session(&world.app, owner.caller.token()).await.is_ok());
}

#[tokio::test]
async fn project_id_and_key_can_be_fixed() {
    let world = World::empty().await;
    let fixed = "api_key_0123456789abcdef0123456789";
    let wanted = |key: &str, project: &str| Bootstrap {
        project_id: Some(project.parse().unwrap()),
        api_key: Some(SecretString::from(key.to_owned())),
        ..Bootstrap::default()
    };
    let short = bootstrap(&world.app, wanted("api_key_short", "fixed")).await;
    assert_eq!(short.err().unwrap().code, ErrorCode::InvalidArgument);
    let made = bootstrap(&world.app, wanted(fixed, "fixed")).await.unwrap();
    assert_eq!(made.project.as_str(), "fixed");
    assert!(authenticate_api_key(&world.app, fixed).await.is_ok());
    let again = bootstrap(&world.app, wanted(fixed, "fixed")).await.unwrap();
    assert!(again.first.is_none());
    let other = bootstrap(&world.app, wanted(fixed, "other")).await;
    assert_eq!(other.err().unwrap().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn an_interrupted_first_start_is_completed() {
    let world = World::empty().await;
    // As far as the first step of a start that was killed.
    let register = RegisterUser {
        email: Bootstrap::default().email,
        display_name: "Owner".into(),
        password: SecretString::from(PASSWORD.to_owned()),
    };
    let system = world.app.system(TenantId::SYSTEM);
    let user = create_user(&world.app, &system, &register).await.unwrap();
    let world = world.restart().await;
    let owner = world.bootstrap().await;
    assert_eq!(owner.first.user, user);
    assert_ne!(owner.first.password.expose_secret(), PASSWORD, "a new one-time password");
}

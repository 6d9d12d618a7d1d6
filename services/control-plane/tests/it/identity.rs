//! Logging in, and what a session token is good for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control_plane::use_case::{Login, login};
use domain::ErrorCode;
use proto::control::v1 as pb;
use secrecy::SecretString;
use tonic::Code;

use crate::support::{PASSWORD, World, refused};

async fn attempt(world: &World, email: &str, password: &str) -> Result<(), ErrorCode> {
    let attempt =
        Login { email: email.to_owned(), password: SecretString::from(password.to_owned()) };
    login(&world.app, attempt).await.map(|_| ()).map_err(|refusal| refusal.code)
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_look_the_same_and_attempts_are_limited() {
    let (world, owner) = World::bootstrapped().await;
    world.person(&owner, "ann").await;
    assert_eq!(attempt(&world, "ANN@example.org", PASSWORD).await, Ok(()));
    let wrong = attempt(&world, "ann@example.org", "wrong").await;
    let unknown = attempt(&world, "nobody@example.org", "wrong").await;
    assert_eq!(wrong, Err(ErrorCode::Unauthenticated));
    assert_eq!(wrong, unknown);
    for _ in 0..9 {
        assert_eq!(attempt(&world, "ann@example.org", "wrong").await, wrong);
    }
    let limited = attempt(&world, "ann@example.org", PASSWORD).await;
    assert_eq!(limited, Err(ErrorCode::ResourceExhausted));
    world.clock.advance_seconds(300);
    assert_eq!(attempt(&world, "ann@example.org", PASSWORD).await, Ok(()));
}

#[tokio::test]
async fn without_a_good_token_nothing_is_answered() {
    let (world, owner) = World::bootstrapped().await;
    let good = owner.caller.token().to_owned();
    let (_, payload) = good.split_once('.').unwrap();
    let (payload, _) = payload.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let key = secrecy::ExposeSecret::expose_secret(&owner.first.api_key).to_owned();
    let bad = [
        String::new(),
        "junk".to_owned(),
        format!("{good}x"),
        format!("{none}.{payload}."),
        // Keys open MCP endpoints, not this.
        key,
    ];
    for token in bad {
        let caller = owner.caller.with_token(&token);
        let result = caller.projects().list_projects(pb::ListProjectsRequest::default()).await;
        let expected = (Code::Unauthenticated, "UNAUTHENTICATED".to_owned());
        assert_eq!(refused(result), expected, "{token}");
    }
    world.clock.advance_seconds(3_601);
    let result = owner.caller.projects().list_projects(pb::ListProjectsRequest::default()).await;
    assert_eq!(refused(result).0, Code::Unauthenticated, "the session ended");
}

#[tokio::test]
async fn another_installations_token_is_refused() {
    let (_one, owner) = World::bootstrapped().await;
    let (_two, other) = World::bootstrapped().await;
    let stranger = other.caller.with_token(owner.caller.token());
    let result = stranger.projects().list_projects(pb::ListProjectsRequest::default()).await;
    assert_eq!(refused(result).0, Code::Unauthenticated);
}

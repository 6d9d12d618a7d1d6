//! Replicas that start, and make the first start, at the same time.

use control_plane::identity::authenticate_api_key;
use control_plane::use_case::{Bootstrap, bootstrap};
use secrecy::ExposeSecret as _;

use super::Cluster;

#[tokio::test]
async fn of_two_first_starts_at_the_same_time_one_is_made() {
    let cluster = Cluster::new();
    let (one, other) = tokio::join!(cluster.replica(), cluster.replica());
    let (first, second) = tokio::join!(
        bootstrap(&one.app, Bootstrap::default()),
        bootstrap(&other.app, Bootstrap::default()),
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.tenant, &first.project), (second.tenant, &second.project));
    let made: Vec<_> = [first.first, second.first].into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "one password and one key are shown");
    for replica in [&one, &other] {
        cluster.caught_up(replica).await;
        let key = made[0].api_key.expose_secret();
        assert!(authenticate_api_key(&replica.app, key).await.is_ok());
    }
}

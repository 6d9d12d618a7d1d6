//! The views of a replica are a fold of the log, on whatever store that is.

use std::sync::Arc;

use control_plane::verify::verify;

use super::Cluster;

#[tokio::test]
async fn the_views_of_every_replica_are_proven_against_the_shared_log() {
    let cluster = Cluster::new();
    let (one, other, owner) = cluster.two().await;
    owner.caller.register(&owner.project, "a").await;
    for replica in [&one, &other] {
        cluster.caught_up(replica).await;
        let report = verify(Arc::new(cluster.store.clone()), &replica.views).await.unwrap();
        assert!(report.is_clean() && report.events > 0, "{report:?}");
    }
}

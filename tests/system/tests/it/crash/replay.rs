//! `replay --verify` sees a projection that is not the fold of the log.

use serde_json::json;

use crate::harness::{Options, Orch, sql};

#[tokio::test(flavor = "multi_thread")]
async fn replay_is_clean_and_sees_one_row_that_was_altered_by_hand() {
    let mut orch = Orch::start(Options::demo()).await;
    orch.active(&["demo"]).await;
    let mcp = orch.mcp().await;
    for index in 0..5 {
        mcp.call("demo__echo", json!({ "message": index.to_string() })).await;
    }
    drop(mcp);
    orch.stop().await;
    let cli = orch.cli();
    let verify = async || cli.run(&["replay", "--verify", "--json"]).await;
    let clean = verify().await;
    assert!(clean.success, "{clean:?}");
    assert_eq!(clean.json()["clean"], true);

    let views = orch.data().join("views.db");
    let one_call = "WHERE position = (SELECT max(position) FROM call)";
    for (table, alter, restore) in [
        (
            "call",
            format!("UPDATE call SET total_us = total_us + 1 {one_call}"),
            format!("UPDATE call SET total_us = total_us - 1 {one_call}"),
        ),
        (
            "member",
            "UPDATE member SET role = role || 'x'".to_owned(),
            "UPDATE member SET role = rtrim(role, 'x')".to_owned(),
        ),
        (
            "server",
            "UPDATE server SET disabled = 1 - disabled".to_owned(),
            "UPDATE server SET disabled = 1 - disabled".to_owned(),
        ),
    ] {
        sql(&views, &alter).await;
        let altered = verify().await;
        assert!(!altered.success, "{alter} was not seen: {altered:?}");
        let report = altered.json();
        let named = report["tables"].as_array().unwrap().iter().any(|it| {
            it["table"] == table && it["differences"].as_array().is_some_and(|it| !it.is_empty())
        });
        assert!(named, "{table} is not named: {report}");
        sql(&views, &restore).await;
        let restored = verify().await;
        assert!(restored.success, "{restored:?}");
    }
    sql(&views, "DELETE FROM audit_entry WHERE position = 1").await;
    let missing = verify().await;
    assert!(!missing.success, "a missing row was not seen: {missing:?}");
}

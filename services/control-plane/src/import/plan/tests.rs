use domain::connection::{CatalogueSummary, Observation};
use domain::server::ServerConfig;
use domain::{SecretRef, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::import::parse;

fn project() -> ProjectId {
    "p".parse().unwrap()
}

/// What registering the only server of a file leaves.
fn existing(file: &str) -> Existing {
    let entry = parse(file).unwrap().entries.remove(0);
    let Ok(described) = entry.server else { panic!("not a server") };
    let (transport, bundle) = launch::split(&described.spec).unwrap();
    let launch = Some(SecretRef { path: "x".into(), version: 1 });
    let config = ServerConfig { launch, ..config_of(&described.spec, transport) };
    let view = ServerView {
        id: ServerId::from_uuid(Uuid::from_u128(7)),
        project: project(),
        name: entry.name,
        config,
        disabled: described.spec.disabled,
        disabled_tools: vec![],
        created_at: Timestamp::from_micros(0),
        observation: Observation::default(),
        observed_at: None,
        catalogue: CatalogueSummary::default(),
        catalogue_event: None,
        changed_tools: 0,
    };
    Existing { view, bundle }
}

fn file(server: &str) -> String {
    format!("{{\"mcpServers\":{{\"a\":{server}}}}}")
}

fn step(before: &str, after: &str) -> Step {
    let mut steps =
        plan(&project(), &[existing(&file(before))], parse(&file(after)).unwrap(), false);
    assert_eq!(steps.len(), 1);
    steps.remove(0)
}

const STDIO: &str =
    r#"{"command":"npx","args":["-y","pkg","--token=canary"],"env":{"K":"canary"}}"#;

#[test]
fn a_new_server_is_created() {
    let steps = plan(&project(), &[], parse(&file(STDIO)).unwrap(), true);
    assert_eq!(steps[0].action, ImportAction::Created);
    assert_eq!(steps[0].spec.env["K"], "canary");
}

#[test]
fn the_same_file_again_changes_nothing() {
    let step = step(STDIO, STDIO);
    assert_eq!((step.action, step.changes.len()), (ImportAction::Unchanged, 0));
}

#[test]
fn changes_are_named_without_values() {
    let after = r#"{"command":"uvx","args":["-y","pkg","--token=canary2"],
        "env":{"K":"canary3","NEW":"canary4"},"timeout":60}"#;
    let step = step(STDIO, after);
    assert_eq!(step.action, ImportAction::Updated);
    assert_eq!(
        step.changes,
        ["command: npx → uvx", "args", "env: K changed, NEW added", "timeout: 30 → 60"]
    );
    assert!(step.mask.contains(&"timeout_s".to_owned()));
    assert!(!step.mask.contains(&"disabled".to_owned()));
}

#[test]
fn a_stdio_server_becomes_an_sse_server_under_its_name() {
    let step = step(STDIO, r#"{"type":"sse","url":"http://h/mcp","headers":{"X":"canary"}}"#);
    assert_eq!(step.action, ImportAction::Updated);
    assert_eq!(step.changes[0], "type: stdio → sse");
    assert!(step.changes.contains(&"url: none → http://h/mcp".to_owned()));
    assert!(!step.changes.iter().any(|change| change.contains("canary")));
}

#[test]
fn a_partial_entry_disables_and_keeps_the_rest() {
    let step = step(STDIO, r#"{"type":"stdio","disabled":true}"#);
    assert_eq!(step.changes, ["disabled: false → true"]);
    assert_eq!(step.mask, ["disabled"]);
}

#[test]
fn what_the_file_does_not_name_stays() {
    let before = r#"{"command":"npx","timeout":77,"autoApprove":["a"],"disabled":true}"#;
    let step = step(before, r#"{"command":"npx"}"#);
    assert_eq!(step.action, ImportAction::Unchanged);
    assert_eq!(step.changes, ["stays disabled: the file does not say"]);
}

#[test]
fn a_file_that_we_showed_ourselves_changes_nothing() {
    let shown = r#"{"command":"npx","args":["-y","pkg","--token=…"],"env":{"K":"…"}}"#;
    assert_eq!(step(STDIO, shown).action, ImportAction::Unchanged);
    let before = r#"{"url":"https://u:canary@h/sse?k=canary","type":"sse"}"#;
    let after = r#"{"url":"https://h/sse","type":"sse"}"#;
    assert_eq!(step(before, after).action, ImportAction::Unchanged);
    let refused = step(STDIO, r#"{"command":"npx","env":{"OTHER":"…"}}"#);
    assert_eq!(refused.action, ImportAction::Refused);
}

#[test]
fn another_query_is_a_change_that_is_not_shown() {
    let before = r#"{"url":"https://h/sse?k=canary","type":"sse"}"#;
    let step = step(before, r#"{"url":"https://h/sse?k=canary2","type":"sse"}"#);
    assert_eq!(step.changes, ["url: another query or user"]);
}

#[test]
fn only_pruning_deletes_and_never_what_the_file_names() {
    let there = [existing(&file(STDIO))];
    let other = r#"{"mcpServers":{"b":{"command":"x"}}}"#;
    let steps = plan(&project(), &there, parse(other).unwrap(), false);
    assert_eq!(steps.len(), 1);
    let steps = plan(&project(), &there, parse(other).unwrap(), true);
    assert_eq!(steps[1].action, ImportAction::Deleted);
    let broken = plan(&project(), &there, parse(&file("{}")).unwrap(), true);
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].action, ImportAction::Refused);
}

#[test]
fn rules_of_the_domain_refuse_in_the_plan_already() {
    let step = step(STDIO, r#"{"command":"npx","timeout":3601}"#);
    assert_eq!(step.action, ImportAction::Refused);
    assert_eq!(step.changes, ["timeout must be 1 to 3600 seconds"]);
}

proptest! {
    /// Applying a plan leaves nothing to do, and no step shows a value.
    #[test]
    fn a_plan_that_was_applied_is_empty(
        env in prop::collection::btree_map("X_[A-Z]{1,4}", "canary[a-z0-9]{4,9}", 0..4),
        args in prop::collection::vec("(--[a-z]{2,6}=)?canary[a-z0-9]{4,9}", 0..4),
        http in any::<bool>(),
        timeout in prop::option::of(1..3_600_u32),
    ) {
        let mut server = if http {
            serde_json::json!({ "type": "sse", "url": "https://canary:x@h/sse?canary", "headers": env })
        } else {
            serde_json::json!({ "command": "npx", "args": args, "env": env })
        };
        if let Some(timeout) = timeout {
            server["timeout"] = timeout.into();
        }
        let after = file(&server.to_string());
        let wanted = |text: &str| parse(text).unwrap();
        let first = plan(&project(), &[existing(&file(STDIO))], wanted(&after), false);
        for step in &first {
            prop_assert!(!step.changes.iter().any(|c| c.contains("canary")), "{:?}", step.changes);
        }
        let again = plan(&project(), &[existing(&after)], wanted(&after), true);
        prop_assert!(again.iter().all(|step| step.action == ImportAction::Unchanged));
    }
}

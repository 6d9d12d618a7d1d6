//! Completions and tasks find their server.

use bytes::Bytes;

use super::*;
use crate::naming::Naming;

fn two_servers(policy: &MergePolicy) -> MergedCatalogue {
    let mut one = Catalogue::default();
    let prompt = Item::parse(ListKind::Prompts, Bytes::from_static(br#"{"name":"p.q"}"#)).unwrap();
    one.set_items(ListKind::Prompts, vec![prompt]);
    let entry = |name| ServerEntry { name, catalogue: &one, is_tool_enabled: &|_| true };
    let servers = if policy.naming.is_prefixed() { 2 } else { 1 };
    merge(&[entry("a"), entry("b")][..servers], policy)
}

fn params(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn a_completion_goes_to_the_server_of_its_prompt() {
    let merged = two_servers(&MergePolicy::default());
    let name = MergePolicy::default().naming.expose("b", "p.q");
    let said = |name: &str| {
        params(&format!(
            r#"{{"ref": {{"name":"{name}","type":"ref\/prompt"}},"argument":{{"name":"x"}} }}"#
        ))
    };
    let routed = merged.completion(&said(&name)).unwrap();
    assert_eq!((routed.server, routed.target.as_str()), (1, "p.q"));
    assert_eq!(routed.params, said("p.q"));
    let unknown = merged.completion(&said("b__nope"));
    assert_eq!(unknown, Err(RouteRefusal::UnknownPrompt("b__nope".into())));
}

#[test]
fn a_completion_goes_to_the_server_of_its_template() {
    let merged = two_servers(&MergePolicy::default());
    let said = |uri: &str| {
        params(&format!(r#"{{"ref":{{"type":"ref/resource","uri":"{uri}"}},"x":1.0}}"#))
    };
    let routed = merged.completion(&said("mcp+b+file:///{path}")).unwrap();
    assert_eq!((routed.server, routed.target.as_str()), (1, "file:///{path}"));
    assert_eq!(routed.params, said("file:///{path}"));
    let unknown = merged.completion(&said("file:///x"));
    assert_eq!(unknown, Err(RouteRefusal::UnknownResource("file:///x".into())));
}

#[test]
fn a_completion_without_a_legal_reference_goes_nowhere() {
    let merged = two_servers(&MergePolicy::default());
    let refused = |text: &str| merged.completion(&params(text)).unwrap_err();
    assert_eq!(refused("{}"), RouteRefusal::Missing("ref.type"));
    assert_eq!(
        refused(r#"{"ref":{"type":"ref/prompt","name":1}}"#),
        RouteRefusal::Missing("ref.name")
    );
    assert_eq!(refused(r#"{"ref":{"type":"ref/tool"}}"#), RouteRefusal::UnknownReference);
    let twice = refused(r#"{"ref":{"type":"ref/prompt","name":"a","name":"b"}}"#);
    assert!(matches!(twice, RouteRefusal::Unreadable(_)), "{twice:?}");
}

#[test]
fn a_task_goes_to_the_server_that_made_it() {
    let merged = two_servers(&MergePolicy::default());
    let exposed = merged.namespace(1).unwrap().expose_task("7\u{e9}").into_owned();
    assert_eq!(merged.task(&exposed), Some(TaskRoute { server: 1, id: "7\u{e9}".into() }));
    let said = |id: &str| params(&format!(r#"{{"taskId": "{id}","inputResponses":{{}}}}"#));
    let routed = merged.task_request(&said(&exposed)).unwrap();
    assert_eq!((routed.server, &routed.params), (1, &said("7\u{e9}")));
    assert_eq!(merged.task_request(&said("7")), Err(RouteRefusal::UnknownTask("7".into())));
    assert_eq!(merged.task_request(&params("{}")), Err(RouteRefusal::Missing("taskId")));
}

#[test]
fn a_single_server_without_prefixes_gets_what_the_client_said() {
    let policy = MergePolicy { naming: Naming::unprefixed(60), ..MergePolicy::default() };
    let merged = two_servers(&policy);
    let said = params(r#"{"taskId":"\u0037"}"#);
    assert_eq!(merged.task_request(&said).unwrap().params, said);
    let said = params(r#"{"ref":{"type":"ref/resource","uri":"x:\/\/1"}}"#);
    assert_eq!(merged.completion(&said).unwrap().params, said);
}

//! Catalogues stored, merged, looked up and paged.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::naming::Naming;

fn catalogue(tools: &[&str]) -> Catalogue {
    let mut catalogue = Catalogue::default();
    catalogue.protocol_version = "2025-11-25".into();
    catalogue.capabilities = Some(Bytes::from_static(br#"{"tools":{},"completions":{}}"#));
    let items = tools.iter().map(|name| {
        let raw = format!(
            r#"{{ "title":"name", "name":"{name}", "x":1.0, "inputSchema":{{"type":"object"}} }}"#
        );
        Item::parse(ListKind::Tools, raw.into()).unwrap()
    });
    catalogue.set_items(ListKind::Tools, items.collect());
    catalogue
}

fn item(kind: ListKind, raw: &'static str) -> Item {
    Item::parse(kind, Bytes::from_static(raw.as_bytes())).unwrap()
}

fn all(_: &str) -> bool {
    true
}

fn merged(servers: &[(&str, &Catalogue)], policy: &MergePolicy) -> MergedCatalogue {
    let entries: Vec<_> = servers
        .iter()
        .map(|(name, catalogue)| ServerEntry { name, catalogue, is_tool_enabled: &all })
        .collect();
    merge(&entries, policy)
}

fn names(page: &Bytes) -> Vec<String> {
    let page: Value = serde_json::from_slice(page).unwrap();
    let tools = page["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_stored_form_is_read_back_and_hashed_by_content() {
    let mut one = catalogue(&["a", "b"]);
    one.instructions = Some("say \"x\"".to_owned());
    one.server_info = Some(Bytes::from_static(br#"{"name":"s"}"#));
    let kind = ListKind::ResourceTemplates;
    one.set_items(kind, vec![item(kind, r#"{"uriTemplate":"a:{x}"}"#)]);
    let json = one.to_json();
    let back = Catalogue::from_json(&json).unwrap();
    assert_eq!(back, one);
    assert_eq!(back.hash(), one.hash());
    assert_eq!(one.hash().len(), 64);
    assert_ne!(catalogue(&["a"]).hash(), catalogue(&["b"]).hash());
    assert!(one.declares("tools") && !one.declares("prompts"));
    assert!(Catalogue::from_json(&Bytes::from_static(b"{}")).is_err());
    assert!(Catalogue::from_json(&Bytes::from_static(br#"{"protocolVersion":"1"}"#)).is_err());
}

#[test]
fn items_get_their_exposed_name_and_keep_all_other_bytes() {
    let one = catalogue(&["echo"]);
    let merged = merged(&[("time", &one)], &MergePolicy::default());
    let page = merged.page(ListKind::Tools, None).unwrap();
    let expected = r#"{"tools":[{ "title":"name", "name":"time__echo", "x":1.0, "inputSchema":{"type":"object"} }]}"#;
    assert_eq!(page, expected);
    let route = merged.tool("time__echo").unwrap();
    assert_eq!(route, Route { server: 0, name: "echo" });
    assert_eq!(merged.tool("time.echo"), Some(route));
    assert_eq!(merged.tool("echo"), None);
    assert_eq!(merged.tool("time.nope"), None);
}

#[test]
fn a_server_with_a_dot_in_its_name_is_found_by_dots_too() {
    let one = catalogue(&["c.d"]);
    let merged = merged(&[("a.b", &one)], &MergePolicy::default());
    assert_eq!(merged.tool("a.b.c.d"), Some(Route { server: 0, name: "c.d" }));
    assert_eq!(merged.tool("a.b.c"), None);
}

#[test]
fn a_disabled_tool_is_not_there() {
    let one = catalogue(&["on", "off"]);
    let enabled = |name: &str| name != "off";
    let entry = ServerEntry { name: "s", catalogue: &one, is_tool_enabled: &enabled };
    let merged = merge(&[entry], &MergePolicy::default());
    assert_eq!(names(merged.page(ListKind::Tools, None).unwrap()), ["s__on"]);
    assert_eq!(merged.tool("s__off"), None);
    assert_eq!(merged.tool("s.off"), None);
}

#[test]
fn resources_templates_and_prompts_are_led_back_to_their_server() {
    let mut one = Catalogue::default();
    let resources = vec![item(ListKind::Resources, r#"{"uri":"file:///a","name":"n"}"#)];
    one.set_items(ListKind::Resources, resources);
    let template =
        item(ListKind::ResourceTemplates, r#"{"uriTemplate":"file:///{path}","name":"n"}"#);
    one.set_items(ListKind::ResourceTemplates, vec![template]);
    one.set_items(ListKind::Prompts, vec![item(ListKind::Prompts, r#"{"name":"p"}"#)]);
    let other = Catalogue::default();
    let merged = merged(&[("other", &other), ("docs", &one)], &MergePolicy::default());

    let page = merged.page(ListKind::Resources, None).unwrap();
    assert_eq!(page, r#"{"resources":[{"uri":"mcp+docs+file:///a","name":"n"}]}"#);
    let page = merged.page(ListKind::ResourceTemplates, None).unwrap();
    assert_eq!(
        page,
        r#"{"resourceTemplates":[{"uriTemplate":"mcp+docs+file:///{path}","name":"n"}]}"#
    );
    assert_eq!(merged.prompt("docs__p"), Some(Route { server: 1, name: "p" }));
    assert_eq!(merged.tool("docs__p"), None);
    let route = merged.resource("mcp+docs+file:///expanded");
    assert_eq!(route, Some(UriRoute { server: 1, uri: "file:///expanded".into() }));
    assert_eq!(merged.resource("file:///a"), None);
}

#[test]
fn a_single_server_can_go_without_prefixes() {
    let mut one = catalogue(&["echo"]);
    one.instructions = Some("use it".to_owned());
    let policy = MergePolicy { naming: Naming::unprefixed(60), ..MergePolicy::default() };
    let merged = merged(&[("s", &one)], &policy);
    assert_eq!(names(merged.page(ListKind::Tools, None).unwrap()), ["echo"]);
    assert_eq!(merged.tool("echo"), Some(Route { server: 0, name: "echo" }));
    assert_eq!(merged.resource("a:b"), Some(UriRoute { server: 0, uri: "a:b".into() }));
    assert_eq!(merged.instructions(), Some("use it"));
}

#[test]
fn a_name_listed_twice_counts_once() {
    let one = catalogue(&["a", "a", "b"]);
    let merged = merged(&[("s", &one)], &MergePolicy::default());
    assert_eq!(merged.count(ListKind::Tools), 2);
    assert_eq!(merged.repeated(ListKind::Tools), 1);
    assert_eq!(names(merged.page(ListKind::Tools, None).unwrap()), ["s__a", "s__b"]);
}

#[test]
fn cursors_lead_through_every_page_and_die_with_the_list() {
    let one = catalogue(&["a", "b", "c", "d", "e"]);
    let policy = MergePolicy { page_items: 2, ..MergePolicy::default() };
    let before = merged(&[("s", &one)], &policy);
    let mut seen = Vec::new();
    let mut cursors = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = before.page(ListKind::Tools, cursor.as_deref()).unwrap();
        seen.extend(names(page));
        let page: Value = serde_json::from_slice(page).unwrap();
        let Some(next) = page["nextCursor"].as_str() else {
            break;
        };
        cursors.push(next.to_owned());
        cursor = Some(next.to_owned());
    }
    assert_eq!(seen, ["s__a", "s__b", "s__c", "s__d", "s__e"]);
    assert_eq!(cursors.len(), 2);

    let after = merged(&[("s", &catalogue(&["a", "b", "c"]))], &policy);
    for bad in [cursors[0].as_str(), "", "%%%", "MTIz", &"x".repeat(100)] {
        assert_eq!(after.page(ListKind::Tools, Some(bad)), Err(InvalidCursor), "{bad}");
    }
    assert_eq!(after.changed_since(&before).collect::<Vec<_>>(), [ListKind::Tools]);
    assert_eq!(before.changed_since(&before).count(), 0);
}

#[test]
fn large_items_make_small_pages() {
    let one = catalogue(&["a", "b", "c"]);
    let policy = MergePolicy { page_bytes: 10, ..MergePolicy::default() };
    let merged = merged(&[("s", &one)], &policy);
    assert_eq!(names(merged.page(ListKind::Tools, None).unwrap()), ["s__a"]);
}

#[test]
fn instructions_share_the_room_and_name_their_server() {
    let with = |text: &str| {
        let mut catalogue = Catalogue::default();
        catalogue.instructions = Some(text.to_owned());
        catalogue
    };
    let (short, long, none) = (with("short"), with(&"é".repeat(5000)), with(" "));
    let servers = [("a", &short), ("b", &long), ("c", &none), ("d", &long)];
    let merged = merged(&servers, &MergePolicy::default());
    let text = merged.instructions().unwrap();
    assert!(text.starts_with("[a]\nshort\n\n[b]\né"), "{text}");
    assert!(text.contains("\n\n[d]\né") && !text.contains("[c]"));
    let chars = text.chars().count();
    assert!((2000..=2048).contains(&chars), "{chars}");
    assert_eq!(merge(&[], &MergePolicy::default()).instructions(), None);
}

#[test]
fn the_link_from_a_tool_to_its_view_is_rewritten() {
    let mut one = Catalogue::default();
    let raw = r#"{"name":"t","_meta":{"ui":{"resourceUri":"ui://v"},"ui/resourceUri":"ui://v"},"inputSchema":{"type":"object"}}"#;
    one.set_items(ListKind::Tools, vec![item(ListKind::Tools, raw)]);
    let merged = merged(&[("s", &one)], &MergePolicy::default());
    assert_eq!(
        merged.page(ListKind::Tools, None).unwrap(),
        r#"{"tools":[{"name":"s__t","_meta":{"ui":{"resourceUri":"mcp+s+ui://v"},"ui/resourceUri":"mcp+s+ui://v"},"inputSchema":{"type":"object"}}]}"#
    );
}

proptest! {
    #[test]
    fn every_tool_is_listed_once_and_leads_back(
        servers in proptest::collection::btree_map("[a-c_.]{1,3}", proptest::collection::btree_set("[a-c_.]{1,3}", 0..6), 0..5),
        page_items in 1_usize..4,
    ) {
        let catalogues: Vec<_> = servers
            .iter()
            .map(|(name, tools)| {
                let tools: Vec<_> = tools.iter().map(String::as_str).collect();
                (name.as_str(), catalogue(&tools))
            })
            .collect();
        let entries: Vec<_> = catalogues.iter().map(|(name, catalogue)| (*name, catalogue)).collect();
        let policy = MergePolicy { page_items, ..MergePolicy::default() };
        let merged = merged(&entries, &policy);
        let mut listed = 0;
        let mut cursor: Option<String> = None;
        loop {
            let page = merged.page(ListKind::Tools, cursor.as_deref()).unwrap();
            for name in names(page) {
                let route = merged.tool(&name).unwrap();
                let (server, tools) = servers.iter().nth(route.server).unwrap();
                prop_assert!(tools.contains(route.name));
                prop_assert_eq!(policy.naming.expose(server, route.name), name);
                listed += 1;
            }
            let page: Value = serde_json::from_slice(page).unwrap();
            match page["nextCursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        prop_assert_eq!(listed, servers.values().map(std::collections::BTreeSet::len).sum::<usize>());
    }
}

//! What an upstream can do to the lists of others: nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::naming::Naming;
use crate::splice;

fn of_tools<T: AsRef<str>>(names: &[T]) -> Catalogue {
    let raw = |name: &T| format!(r#"{{"name":{}}}"#, json!(name.as_ref()));
    of_items(ListKind::Tools, names.iter().map(raw))
}

fn of_items(kind: ListKind, items: impl IntoIterator<Item = String>) -> Catalogue {
    let mut catalogue = Catalogue::default();
    let items = items.into_iter().filter_map(|raw| Item::parse(kind, raw.into()));
    catalogue.set_items(kind, items.collect());
    catalogue
}

fn merged(servers: &[(&str, &Catalogue)]) -> MergedCatalogue {
    let entries: Vec<_> = servers
        .iter()
        .map(|(name, catalogue)| ServerEntry { name, catalogue, is_tool_enabled: &|_| true })
        .collect();
    merge(&entries, &MergePolicy::default())
}

#[test]
fn the_definition_of_each_tool_has_a_hash_of_its_bytes() {
    let raw = [r#"{"name":"a","x":1}"#, r#"{"name":"b"}"#, r#"{"name":"a","x":2}"#];
    let catalogue = of_items(ListKind::Tools, raw.map(str::to_owned));
    let hash = |raw: &str| crate::digest::sha256_hex(raw.as_bytes());
    assert_eq!(catalogue.tool_definitions(), [("a", hash(raw[0])), ("b", hash(raw[1]))]);
    let spaced = of_items(ListKind::Tools, [r#"{"name":"a", "x":1}"#.to_owned()]);
    assert_ne!(spaced.tool_definitions()[0].1, hash(raw[0]));
    // The first in the list is the one that clients see, too.
    let page = merged(&[("s", &catalogue)]);
    let page: Value = serde_json::from_slice(page.page(ListKind::Tools, None).unwrap()).unwrap();
    assert_eq!(page["tools"][0]["x"], 1);
}

#[test]
fn a_name_made_to_look_like_another_servers_gives_way() {
    let naming = Naming::default();
    // A digest depends on names that anybody can know.
    let victim = naming.expose("a.b", "c");
    let forged = victim.strip_prefix("a_b__").unwrap();
    assert_eq!(naming.expose("a_b", forged), victim);
    let (good, evil) = (of_tools(&["c"]), of_tools(&[forged, "other"]));
    for servers in [[("a.b", &good), ("a_b", &evil)], [("a_b", &evil), ("a.b", &good)]] {
        let merged = merged(&servers);
        let place = servers.iter().position(|(name, _)| *name == "a.b").unwrap();
        assert_eq!(merged.tool(&victim), Some(Route { server: place, name: "c" }));
        assert_eq!((merged.count(ListKind::Tools), merged.repeated(ListKind::Tools)), (2, 1));
    }
}

#[test]
fn hostile_items_leave_a_list_that_everybody_can_read() {
    let long = "\u{202e}x".repeat(5_000);
    let items = [
        json!({"name": "", "description": "\u{0}\u{7}\n\u{2028}"}).to_string(),
        json!({"name": long, "description": long}).to_string(),
        json!({"name": "名前\u{0}"}).to_string(),
        r#"{"name":"halves","description":"\ud800","title":"\udc00\ud800","x":"\ud83d\ude00"}"#
            .into(),
        r#"{"name":"wrong","description":[],"inputSchema":{"type":"object"}}"#.into(),
        r#"{"name":"\ud800"}"#.into(),
        r#"{"name":"twice","name":"b"}"#.into(),
        r#"{"name":7}"#.into(),
        format!(r#"{{"name":"big","x":"{}"}}"#, "y".repeat(2 * 1024 * 1024)),
    ];
    let (evil, good) = (of_items(ListKind::Tools, items), of_tools(&["fine"]));
    let merged = merged(&[("evil", &evil), ("good", &good)]);
    let page = merged.page(ListKind::Tools, None).unwrap();
    // Strict about Unicode, unlike the scanner.
    let page: Value = serde_json::from_slice(page).unwrap();
    let tools = page["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 6);
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        assert!(name.len() <= 60 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        assert!(tool.get("description").is_none_or(Value::is_string), "{name}");
        assert_eq!(tool["inputSchema"]["type"], "object");
        assert!(merged.tool(name).is_some());
    }
    assert_eq!(tools[3]["description"], "\u{fffd}");
    assert_eq!(tools[3]["x"], "\u{1f600}");
    assert_eq!(tools[5]["name"], "good__fine");
    assert_eq!(merged.left_out(ListKind::Tools), 1);
}

#[test]
fn what_is_no_uri_becomes_one_that_leads_back() {
    let uris = ["", "no scheme", "a:\u{1}b", " x:y ", "http://a b/", "/etc/passwd", "é", "+:%"];
    let long = format!("x:{}", "ü".repeat(10_000));
    let uris: Vec<&str> = uris.into_iter().chain([long.as_str()]).collect();
    let item = |uri: &&str| json!({"uri": uri, "name": "n"}).to_string();
    let catalogue = of_items(ListKind::Resources, uris.iter().map(item));
    let merged = merged(&[("s", &catalogue)]);
    let page = merged.page(ListKind::Resources, None).unwrap();
    let page: Value = serde_json::from_slice(page).unwrap();
    let listed = page["resources"].as_array().unwrap();
    assert_eq!(listed.len(), uris.len());
    for (item, uri) in listed.iter().zip(uris) {
        let exposed = item["uri"].as_str().unwrap();
        let parsed = url::Url::parse(exposed).unwrap();
        assert!(parsed.scheme().starts_with("mcp+s"), "{exposed}");
        assert_eq!(merged.resource(exposed), Some(UriRoute { server: 0, uri: uri.to_owned() }));
        // As a client that keeps parsed URLs writes it.
        assert_eq!(merged.resource(parsed.as_str()).map(|to| to.server), Some(0));
        // A result names it in the same way.
        let result = json!({"contents": [{"uri": uri}]}).to_string().into();
        let space = merged.namespace(0).unwrap();
        let result = space.expose_result("resources/read", &result).unwrap();
        assert_eq!(splice::find_string(&result, &["contents"]), Ok(None));
        let result: Value = serde_json::from_slice(&result).unwrap();
        assert_eq!(result["contents"][0]["uri"], exposed);
    }
}

/// Names of servers and tools that are near each other: with separators, foreign characters, and
/// tails that imitate digests of other pairs.
fn servers() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let name = || "[ab_. é-]{1,4}";
    let forged = (name(), name()).prop_map(|(server, tool)| {
        let exposed = Naming::default().expose(&server, &tool);
        exposed.split_once("__").map_or(exposed.clone(), |(_, tail)| tail.to_owned())
    });
    let tool = prop_oneof![3 => "[ab_. é-]{0,4}", 2 => forged, 1 => "a{50,70}"];
    let tools = proptest::collection::vec(tool, 0..6);
    proptest::collection::btree_map(name(), tools, 1..6)
}

proptest! {
    #[test]
    fn no_name_changes_because_another_server_joins(
        all in servers(),
        first in 0_usize..6,
    ) {
        let catalogues: Vec<_> = all.iter().map(|(name, tools)| (name.as_str(), of_tools(tools))).collect();
        let everybody: Vec<_> = catalogues.iter().map(|(name, catalogue)| (*name, catalogue)).collect();
        let (alone, alone_catalogue) = everybody[first % everybody.len()];
        let after = merged(&everybody);
        let before = merged(&[(alone, alone_catalogue)]);
        let naming = Naming::default();
        for tool in alone_catalogue.items(ListKind::Tools) {
            let name = naming.expose(alone, tool.key());
            let route = before.tool(&name).unwrap();
            let there = after.tool(&name).unwrap();
            let (owner, _) = everybody[there.server];
            if owner == alone {
                prop_assert_eq!(route.name, there.name);
            } else {
                // Only one that imitates another server's digest gives way to it.
                prop_assert!(naming.keeps(alone, route.name));
                prop_assert!(!naming.keeps(owner, there.name));
            }
        }
    }

    #[test]
    fn order_decides_about_places_only(all in servers()) {
        let catalogues: Vec<_> = all.iter().map(|(name, tools)| (name.as_str(), of_tools(tools))).collect();
        let forwards: Vec<_> = catalogues.iter().map(|(name, catalogue)| (*name, catalogue)).collect();
        let backwards: Vec<_> = forwards.iter().rev().copied().collect();
        let (one, other) = (merged(&forwards), merged(&backwards));
        for (server, tools) in &all {
            for tool in tools {
                let name = Naming::default().expose(server, tool);
                let (a, b) = (one.tool(&name).unwrap(), other.tool(&name).unwrap());
                prop_assert_eq!(
                    (forwards[a.server].0, a.name),
                    (backwards[b.server].0, b.name)
                );
            }
        }
    }
}

//! What an upstream lists, merged with what a harmless one lists.

use bytes::Bytes;
use mcp::catalogue::{Catalogue, Item, MergePolicy, ServerEntry, merge};
use mcp::{ListKind, MergedCatalogue};
use serde_json::Value;

/// A stored catalogue. However hostile it is, the merged lists can be read by strict readers,
/// every item leads back to its server, and the other server's item is there.
pub fn catalogue(data: &[u8]) {
    // A message with other bytes does not come this far.
    if std::str::from_utf8(data).is_err() {
        return;
    }
    let Ok(hostile) = Catalogue::from_json(&Bytes::copy_from_slice(data)) else {
        return;
    };
    let again = Catalogue::from_json(&hostile.to_json()).expect("what is stored can be read");
    assert_eq!(again.hash(), hostile.hash());
    let mut harmless = Catalogue::default();
    let tool = Bytes::from_static(br#"{"name":"echo","inputSchema":{"type":"object"}}"#);
    harmless.set_items(ListKind::Tools, Item::parse(ListKind::Tools, tool).into_iter().collect());
    let entry = |name, catalogue| ServerEntry { name, catalogue, is_tool_enabled: &|_| true };
    let policy = MergePolicy { page_items: 3, ..MergePolicy::default() };
    let merged = merge(&[entry("hostile", &hostile), entry("harmless", &harmless)], &policy);
    for kind in ListKind::ALL {
        let listed = pages(&merged, kind);
        assert_eq!(listed.len(), merged.count(kind));
        for key in &listed {
            match kind {
                ListKind::Tools => assert!(merged.tool(key).is_some(), "{key:?}"),
                ListKind::Prompts => assert!(merged.prompt(key).is_some(), "{key:?}"),
                ListKind::Resources | ListKind::ResourceTemplates => {
                    assert_eq!(merged.resource(key).map(|to| to.server), Some(0), "{key:?}");
                }
            }
        }
        if kind == ListKind::Tools {
            assert_eq!(listed.last().map(String::as_str), Some("harmless__echo"));
        }
    }
    for capabilities in [merged.capabilities(), merged.discover_capabilities()] {
        let read = serde_json::from_slice::<Value>(capabilities);
        assert!(read.is_ok_and(|value| value.is_object()));
    }
}

/// The keys of all items of a list, page by page.
fn pages(merged: &MergedCatalogue, kind: ListKind) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = merged.page(kind, cursor.as_deref()).expect("a cursor of this list");
        let page: Value = serde_json::from_slice(page).expect("a page that everybody can read");
        let items = page[kind.member()].as_array().expect("a list");
        keys.extend(items.iter().map(|item| item[kind.key()].as_str().expect("a key").to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return keys,
        }
    }
}

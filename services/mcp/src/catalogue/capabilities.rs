//! What a server can do beyond its lists, and what many servers can do together.
//!
//! Lists are always offered, because a server may appear while a session lasts; everything else
//! only where a server has it. What is offered for all works for the servers that have it: the
//! others are left out when it is asked for.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Catalogue, MergePolicy, ServerEntry};
use crate::revision::Protocol;
use crate::server::stateless::TASKS_EXTENSION;
use crate::{scan, splice};

/// The extension for tools with a view of their own: tools and resources are all that it needs.
const UI_EXTENSION: &str = "io.modelcontextprotocol/ui";

/// Something that a server may be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// `completion/complete`.
    Completions,
    /// `logging/setLevel` and log messages.
    Logging,
    /// News of single resources.
    Subscriptions,
    /// Calls of tools as tasks (2025-11-25).
    Tasks,
    /// `tasks/list` (2025-11-25).
    TaskList,
    /// `tasks/cancel` (2025-11-25).
    TaskCancel,
    /// Tasks as the extension of the stateless era has them.
    TasksExtension,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 7] = [
        Self::Completions,
        Self::Logging,
        Self::Subscriptions,
        Self::Tasks,
        Self::TaskList,
        Self::TaskCancel,
        Self::TasksExtension,
    ];

    /// Where the server's capabilities say so.
    const fn path(self) -> &'static [&'static str] {
        match self {
            Self::Completions => &["completions"],
            Self::Logging => &["logging"],
            Self::Subscriptions => &["resources", "subscribe"],
            Self::Tasks => &["tasks", "requests", "tools", "call"],
            Self::TaskList => &["tasks", "list"],
            Self::TaskCancel => &["tasks", "cancel"],
            Self::TasksExtension => &["extensions", TASKS_EXTENSION],
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The features that one server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Features(u8);

impl Features {
    fn of(catalogue: &Catalogue) -> Self {
        let offered = Feature::ALL.into_iter().filter(|feature| catalogue.offers(*feature));
        Self(offered.fold(0, |bits, feature| bits | feature.bit()))
    }

    pub(super) fn has(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }
}

impl Catalogue {
    /// Whether the server says that it can do this.
    #[must_use]
    pub fn offers(&self, feature: Feature) -> bool {
        self.capabilities.as_ref().is_some_and(|capabilities| {
            splice::find(capabilities, feature.path()).is_ok_and(|span| {
                span.is_some_and(|span| !matches!(&capabilities[span], b"null" | b"false"))
            })
        })
    }

    /// Whether the server speaks the stateless revision.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        self.protocol_version == Protocol::STATELESS
    }
}

/// The features of each server.
pub(super) fn features(servers: &[ServerEntry<'_>]) -> Vec<Features> {
    servers.iter().map(|server| Features::of(server.catalogue)).collect()
}

/// Which era a client is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Sessions,
    Stateless,
}

/// The raw capabilities that clients are told of.
pub(super) fn capabilities(
    servers: &[ServerEntry<'_>],
    policy: &MergePolicy,
    audience: Audience,
) -> Bytes {
    let features = features(servers);
    let any = |feature| features.iter().any(|server| server.has(feature));
    let mut out = BytesMut::new();
    out.put_slice(b"{");
    if any(Feature::Completions) {
        out.put_slice(b"\"completions\":{},");
    }
    let extensions = extensions(servers, policy, audience);
    if !extensions.is_empty() {
        out.put_slice(b"\"extensions\":{");
        for (index, (key, value)) in extensions.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(&splice::quote(key));
            out.put_u8(b':');
            out.put_slice(value);
        }
        out.put_slice(b"},");
    }
    if policy.offer_logging && any(Feature::Logging) {
        out.put_slice(b"\"logging\":{},");
    }
    out.put_slice(b"\"prompts\":{\"listChanged\":true},\"resources\":{\"listChanged\":true");
    if any(Feature::Subscriptions) {
        out.put_slice(b",\"subscribe\":true");
    }
    out.put_slice(b"},");
    if audience == Audience::Sessions && any(Feature::Tasks) {
        out.put_slice(b"\"tasks\":{");
        for (feature, text) in [(Feature::TaskCancel, "cancel"), (Feature::TaskList, "list")] {
            if any(feature) {
                out.put_slice(format!("\"{text}\":{{}},").as_bytes());
            }
        }
        out.put_slice(b"\"requests\":{\"tools\":{\"call\":{}}}},");
    }
    out.put_slice(b"\"tools\":{\"listChanged\":true}}");
    out.freeze()
}

/// The extensions that pass through, each with the settings of the first server that has it.
///
/// A single server's all do. Of many servers' only those that need nothing but what is routed
/// here: an extension may come with methods of its own, or with fixed URIs.
fn extensions(
    servers: &[ServerEntry<'_>],
    policy: &MergePolicy,
    audience: Audience,
) -> Vec<(String, Bytes)> {
    let passes = |key: &str| match key {
        TASKS_EXTENSION => audience == Audience::Stateless,
        UI_EXTENSION => true,
        _ => !policy.naming.is_prefixed(),
    };
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for server in servers {
        let declared = server.catalogue.capabilities.as_ref();
        let Some(all) = declared.and_then(|all| splice::slice(all, &["extensions"]).ok().flatten())
        else {
            continue;
        };
        let mut each = |key: String, value: Bytes| {
            if passes(&key) && value.starts_with(b"{") && known.insert(key.clone()) {
                found.push((key, value));
            }
        };
        // What cannot be read has no extensions.
        let _ = scan::members(&all, 0, |member| {
            if let Some(key) = splice::unquote(&all[member.key]) {
                // One server's half a character would make the whole unreadable for many.
                each(key.into_owned(), splice::mend(&all.slice(member.value)));
            }
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::merge;
    use super::*;
    use crate::naming::Naming;

    fn catalogue(revision: &str, capabilities: Value) -> Catalogue {
        let mut catalogue = Catalogue::default();
        catalogue.protocol_version = revision.to_owned();
        catalogue.capabilities = Some(capabilities.to_string().into());
        catalogue
    }

    fn old(capabilities: Value) -> Catalogue {
        catalogue("2025-11-25", capabilities)
    }

    fn entries(catalogues: &[Catalogue]) -> Vec<ServerEntry<'_>> {
        let entry = |catalogue| ServerEntry { name: "s", catalogue, is_tool_enabled: &|_| true };
        catalogues.iter().map(entry).collect()
    }

    fn told(catalogues: &[Catalogue], policy: &MergePolicy) -> (Value, Value) {
        let merged = merge(&entries(catalogues), policy);
        let read = |bytes: &Bytes| serde_json::from_slice(bytes).unwrap();
        (read(merged.capabilities()), read(merged.discover_capabilities()))
    }

    #[test]
    fn what_a_server_says_of_an_extension_can_be_read_by_all() {
        let mut hostile = old(json!({}));
        let half = br#"{"extensions":{"io.modelcontextprotocol/ui":{"title":"\ud800"}}}"#;
        hostile.capabilities = Some(Bytes::from_static(half));
        let (sessions, _) = told(&[hostile], &MergePolicy::default());
        assert_eq!(sessions["extensions"][UI_EXTENSION]["title"], "\u{fffd}");
    }

    #[test]
    fn nothing_is_offered_that_nobody_has() {
        let changed = json!({"listChanged": true});
        let expected = json!({"prompts": changed, "resources": changed, "tools": changed});
        let nobody = [old(json!({"resources": {"subscribe": false}, "logging": null}))];
        for catalogues in [&nobody[..], &[]] {
            let (session, discover) = told(catalogues, &MergePolicy::default());
            assert_eq!((&session, &discover), (&expected, &expected));
        }
    }

    #[test]
    fn what_one_server_has_is_offered_and_it_is_known_which() {
        let catalogues = [
            old(json!({"logging": {}, "tools": {}})),
            old(json!({"resources": {"subscribe": true}, "completions": {},
                "tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}})),
        ];
        let (session, discover) = told(&catalogues, &MergePolicy::default());
        let changed = json!({"listChanged": true});
        let resources = json!({"listChanged": true, "subscribe": true});
        let mut expected = json!({"completions": {}, "logging": {}, "prompts": changed,
            "resources": resources, "tools": changed});
        assert_eq!(discover, expected);
        expected["tasks"] = json!({"cancel": {}, "requests": {"tools": {"call": {}}}});
        assert_eq!(session, expected);

        let merged = merge(&entries(&catalogues), &MergePolicy::default());
        assert_eq!(merged.servers_offering(Feature::Logging).collect::<Vec<_>>(), [0]);
        assert_eq!(merged.servers_offering(Feature::Tasks).collect::<Vec<_>>(), [1]);
        assert!(merged.offers(1, Feature::Subscriptions) && !merged.offers(0, Feature::TaskCancel));
        assert!(!merged.offers(1, Feature::TaskList) && !merged.offers(7, Feature::Logging));
        let policy = MergePolicy { offer_logging: false, ..MergePolicy::default() };
        assert_eq!(told(&catalogues, &policy).0.get("logging"), None);
    }

    #[test]
    fn extensions_go_to_those_who_can_use_them() {
        let extensions = json!({TASKS_EXTENSION: {}, UI_EXTENSION: {"mimeTypes": ["a/b"]},
            "com.example/x": {"y": 1}, "bad": 1});
        let stateless = [catalogue("2026-07-28", json!({"extensions": extensions}))];
        assert!(stateless[0].is_stateless() && stateless[0].offers(Feature::TasksExtension));
        let (session, discover) = told(&stateless, &MergePolicy::default());
        let ui = json!({"mimeTypes": ["a/b"]});
        assert_eq!(session["extensions"], json!({UI_EXTENSION: ui}));
        assert_eq!(discover["extensions"], json!({TASKS_EXTENSION: {}, UI_EXTENSION: ui}));
        let alone = MergePolicy { naming: Naming::unprefixed(60), ..MergePolicy::default() };
        let (_, discover) = told(&stateless, &alone);
        assert_eq!(discover["extensions"]["com.example/x"], json!({"y": 1}));
        assert_eq!(discover["extensions"].get("bad"), None);
    }
}

//! Putting the catalogues of several upstreams together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::{BufMut, Bytes, BytesMut};

use super::capabilities::{Audience, capabilities, features};
use super::mend::mended;
use super::merged::{MergedList, MergedParts, Target};
use super::observed::put_array;
use super::{Catalogue, Item, ListKind, MergedCatalogue, cursor};
use crate::digest;
use crate::naming::Naming;
use crate::splice;
use crate::uri::Namespace;

/// One server that takes part in a merge.
pub struct ServerEntry<'a> {
    /// The server's name, unique within its project.
    pub name: &'a str,
    /// What it offers.
    pub catalogue: &'a Catalogue,
    /// Whether a tool, by the name its server gave it, is offered. A tool that is not is the same
    /// as one that does not exist.
    pub is_tool_enabled: &'a dyn Fn(&str) -> bool,
}

/// How catalogues are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergePolicy {
    /// How tools and prompts are named. Without prefixes URIs stay as they are, too.
    pub naming: Naming,
    /// The most items of one page; at least 1.
    pub page_items: usize,
    /// The most bytes of one page, as long as it has more than one item.
    pub page_bytes: usize,
    /// The longest combined instructions, in characters.
    pub max_instruction_chars: usize,
    /// The largest item, in bytes; a larger one is left out, lest it keep a client from the
    /// others.
    pub max_item_bytes: usize,
    /// Whether the `logging` capability is offered where an upstream has it.
    pub offer_logging: bool,
}

impl Default for MergePolicy {
    /// Prefixed names; pages of 1,000 items and 4 MiB, since many clients read the first page
    /// only; items of 1 MiB; 2,048 characters of instructions, where a widespread client cuts;
    /// logging.
    fn default() -> Self {
        Self {
            naming: Naming::default(),
            page_items: 1000,
            page_bytes: 4 * 1024 * 1024,
            max_instruction_chars: 2048,
            max_item_bytes: 1024 * 1024,
            offer_logging: true,
        }
    }
}

/// Merges the servers' catalogues, in the order given.
///
/// Where two items meet under one exposed name, the first one counts: an upstream lists a name
/// twice. An upstream can also choose a name that looks like one with a digest: that one gives
/// way, so that no server takes a name from another.
#[must_use]
pub fn merge(servers: &[ServerEntry<'_>], policy: &MergePolicy) -> MergedCatalogue {
    let spaces: Vec<Namespace> = servers
        .iter()
        .map(|server| {
            if policy.naming.is_prefixed() {
                Namespace::of_server(server.name)
            } else {
                Namespace::identity()
            }
        })
        .collect();
    MergedCatalogue::from_parts(MergedParts {
        lists: ListKind::ALL.map(|kind| merge_list(kind, servers, &spaces, policy)),
        capabilities: capabilities(servers, policy, Audience::Sessions),
        discover_capabilities: capabilities(servers, policy, Audience::Stateless),
        features: features(servers),
        instructions: instructions(servers, policy),
        servers: servers.iter().map(|server| server.name.to_owned()).collect(),
        naming: policy.naming,
        spaces,
    })
}

fn merge_list(
    kind: ListKind,
    servers: &[ServerEntry<'_>],
    spaces: &[Namespace],
    policy: &MergePolicy,
) -> MergedList {
    let mut targets: HashMap<String, Target> = HashMap::new();
    let mut items: Vec<Bytes> = Vec::new();
    let (mut repeated, mut left_out) = (0, 0);
    for (index, (server, space)) in servers.iter().zip(spaces).enumerate() {
        for item in server.catalogue.items(kind) {
            if kind == ListKind::Tools && !(server.is_tool_enabled)(item.key()) {
                continue;
            }
            let exposed = exposed_key(kind, server.name, item.key(), policy.naming, space);
            let raw = exposed_item(kind, item, &exposed, space).and_then(|raw| {
                if policy.naming.is_prefixed() { mended(kind, item.key(), raw) } else { Some(raw) }
            });
            let Some(raw) = raw.filter(|raw| raw.len() <= policy.max_item_bytes) else {
                left_out += 1;
                continue;
            };
            let is_plain = policy.naming.keeps(server.name, item.key());
            let key = item.key().to_owned();
            match targets.entry(exposed) {
                Entry::Vacant(place) => {
                    place.insert(Target { server: index, key, item: items.len(), is_plain });
                    items.push(raw);
                }
                Entry::Occupied(mut place) => {
                    repeated += 1;
                    let before = place.get_mut();
                    if before.is_plain && !is_plain {
                        items[before.item] = raw;
                        *before = Target { server: index, key, item: before.item, is_plain };
                    }
                }
            }
        }
    }
    let mut all = BytesMut::new();
    put_array(&mut all, items.iter().map(|item| &item[..]));
    let hash = digest::sha256_hex(&all);
    let pages = pages(kind, &items, &hash, policy);
    MergedList { pages, hash, targets, repeated, left_out, items: items.len() }
}

fn exposed_key(
    kind: ListKind,
    server: &str,
    key: &str,
    naming: Naming,
    space: &Namespace,
) -> String {
    match kind {
        ListKind::Tools | ListKind::Prompts => naming.expose(server, key),
        ListKind::Resources => space.expose(key).into_owned(),
        ListKind::ResourceTemplates => space.expose_template(key).into_owned(),
    }
}

/// The item under its exposed name; the rest of its bytes as the upstream wrote them, but for
/// what is no Unicode text: strict readers refuse a whole list for it.
fn exposed_item(kind: ListKind, item: &Item, exposed: &str, space: &Namespace) -> Option<Bytes> {
    let raw = splice::mend(item.raw());
    let mut raw = if exposed == item.key() {
        raw
    } else {
        splice::replace(&raw, &[kind.key()], &splice::quote(exposed)).ok()??
    };
    if kind == ListKind::Tools && memchr::memmem::find(&raw, b"resourceUri").is_some() {
        for path in [["_meta", "ui", "resourceUri"].as_slice(), &["_meta", "ui/resourceUri"]] {
            raw = space.expose_at(&raw, path).ok()?;
        }
    }
    Some(raw)
}

fn pages(kind: ListKind, items: &[Bytes], hash: &str, policy: &MergePolicy) -> Vec<Bytes> {
    let mut chunks: Vec<&[Bytes]> = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (index, item) in items.iter().enumerate() {
        let full =
            index - start >= policy.page_items.max(1) || bytes + item.len() > policy.page_bytes;
        if full && index > start {
            chunks.push(&items[start..index]);
            start = index;
            bytes = 0;
        }
        bytes += item.len() + 1;
    }
    chunks.push(&items[start..]);
    let last = chunks.len() - 1;
    chunks
        .iter()
        .enumerate()
        .map(|(page, chunk)| {
            let size = chunk.iter().map(|item| item.len() + 1).sum::<usize>();
            let mut out = BytesMut::with_capacity(size + 96);
            out.put_slice(b"{\"");
            out.put_slice(kind.member().as_bytes());
            out.put_slice(b"\":");
            put_array(&mut out, chunk.iter().map(|item| &item[..]));
            if page < last {
                out.put_slice(b",\"nextCursor\":\"");
                out.put_slice(cursor::encode(hash, page + 1).as_bytes());
                out.put_u8(b'"');
            }
            out.put_u8(b'}');
            out.freeze()
        })
        .collect()
}

fn instructions(servers: &[ServerEntry<'_>], policy: &MergePolicy) -> Option<String> {
    let texts: Vec<(&str, &str)> = servers
        .iter()
        .filter_map(|server| {
            let text = server.catalogue.instructions.as_deref()?.trim();
            (!text.is_empty()).then_some((server.name, text))
        })
        .collect();
    let heads = policy.naming.is_prefixed();
    let frame = |name: &str| {
        if heads { name.chars().count() + "[]\n\n\n".len() } else { 2 }
    };
    let frames: usize = texts.iter().map(|(name, _)| frame(name)).sum();
    let lengths: Vec<usize> = texts.iter().map(|(_, text)| text.chars().count()).collect();
    let share = fair_share(&lengths, policy.max_instruction_chars.saturating_sub(frames));
    let mut out = String::new();
    for (name, text) in texts {
        let room = policy.max_instruction_chars.saturating_sub(out.chars().count());
        if frame(name) > room || share == 0 {
            break;
        }
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        if heads {
            out.push_str(&format!("[{name}]\n"));
        }
        out.extend(text.chars().take(share));
    }
    (!out.is_empty()).then_some(out)
}

/// The most characters each text may keep so that all of them fit into `room`: short texts stay
/// whole and leave their rest to the long ones.
fn fair_share(lengths: &[usize], room: usize) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let mut left = room;
    for (index, length) in sorted.iter().enumerate() {
        let share = left / (sorted.len() - index);
        if *length > share {
            return share;
        }
        left -= length;
    }
    usize::MAX
}

//! Putting the catalogues of several upstreams together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::{BufMut, Bytes, BytesMut};

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
    /// Whether the `logging` capability is offered where an upstream has it.
    pub offer_logging: bool,
}

impl Default for MergePolicy {
    /// Prefixed names; pages of 1,000 items and 4 MiB, since many clients read the first page
    /// only; 2,048 characters of instructions, where a widespread client cuts; no logging.
    fn default() -> Self {
        Self {
            naming: Naming::default(),
            page_items: 1000,
            page_bytes: 4 * 1024 * 1024,
            max_instruction_chars: 2048,
            offer_logging: false,
        }
    }
}

/// Merges the servers' catalogues, in the order given. Where two items meet under one exposed name
/// (an upstream that lists a name twice), the first one counts.
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
        capabilities: capabilities(servers, policy),
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
    let mut targets = HashMap::new();
    let mut items = Vec::new();
    let mut repeated = 0;
    for (index, (server, space)) in servers.iter().zip(spaces).enumerate() {
        for item in server.catalogue.items(kind) {
            if kind == ListKind::Tools && !(server.is_tool_enabled)(item.key()) {
                continue;
            }
            let exposed = match kind {
                ListKind::Tools | ListKind::Prompts => {
                    policy.naming.expose(server.name, item.key())
                }
                ListKind::Resources | ListKind::ResourceTemplates => {
                    space.expose(item.key()).into_owned()
                }
            };
            let Some(raw) = exposed_item(kind, item, &exposed, space) else {
                continue;
            };
            match targets.entry(exposed) {
                Entry::Occupied(_) => repeated += 1,
                Entry::Vacant(place) => {
                    place.insert(Target { server: index, key: item.key().to_owned() });
                    items.push(raw);
                }
            }
        }
    }
    let mut all = BytesMut::new();
    put_array(&mut all, items.iter().map(|item| &item[..]));
    let hash = digest::sha256_hex(&all);
    let pages = pages(kind, &items, &hash, policy);
    MergedList { pages, hash, targets, repeated, items: items.len() }
}

/// The item under its exposed name; the rest of its bytes as the upstream wrote them.
fn exposed_item(kind: ListKind, item: &Item, exposed: &str, space: &Namespace) -> Option<Bytes> {
    let raw = item.raw();
    let mut raw = if exposed == item.key() {
        raw.clone()
    } else {
        splice::replace(raw, &[kind.key()], &splice::quote(exposed)).ok()??
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

/// Lists are always offered, because a server may appear while a session lasts; the others only
/// where an upstream has them.
fn capabilities(servers: &[ServerEntry<'_>], policy: &MergePolicy) -> Bytes {
    let any = |name: &str| servers.iter().any(|server| server.catalogue.declares(name));
    let mut out = BytesMut::new();
    out.put_slice(b"{");
    if any("completions") {
        out.put_slice(b"\"completions\":{},");
    }
    if policy.offer_logging && any("logging") {
        out.put_slice(b"\"logging\":{},");
    }
    out.put_slice(
        b"\"prompts\":{\"listChanged\":true},\"resources\":{\"listChanged\":true},\
          \"tools\":{\"listChanged\":true}}",
    );
    out.freeze()
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

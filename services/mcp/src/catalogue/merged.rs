//! The merged catalogue: look-ups and pages.

use std::collections::HashMap;

use bytes::Bytes;

use super::{InvalidCursor, ListKind, cursor};
use crate::naming::Naming;
use crate::uri::Namespace;

/// Where a tool or prompt lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The server's place in the list that was merged.
    pub server: usize,
    /// The name its server gave it.
    pub name: &'a str,
}

/// Where a resource lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UriRoute<'a> {
    /// The server's place in the list that was merged.
    pub server: usize,
    /// The URI as its server knows it.
    pub uri: &'a str,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) server: usize,
    pub(super) key: String,
}

#[derive(Debug)]
pub(super) struct MergedList {
    /// Complete results, each with the cursor of the next; at least one.
    pub(super) pages: Vec<Bytes>,
    pub(super) hash: String,
    pub(super) targets: HashMap<String, Target>,
    pub(super) items: usize,
    pub(super) repeated: usize,
}

#[derive(Debug)]
pub(super) struct MergedParts {
    pub(super) lists: [MergedList; 4],
    pub(super) capabilities: Bytes,
    pub(super) instructions: Option<String>,
    pub(super) servers: Vec<String>,
    pub(super) spaces: Vec<Namespace>,
    pub(super) naming: Naming,
}

/// What the clients of several servers see.
#[derive(Debug)]
pub struct MergedCatalogue(MergedParts);

impl MergedCatalogue {
    pub(super) fn from_parts(parts: MergedParts) -> Self {
        Self(parts)
    }

    fn list(&self, kind: ListKind) -> &MergedList {
        &self.0.lists[kind.index()]
    }

    /// The tool that clients call by `name`: its exposed name, or `{server}.{tool}`.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<Route<'_>> {
        self.named(ListKind::Tools, name)
    }

    /// The prompt that clients ask for by `name`: its exposed name, or `{server}.{prompt}`.
    #[must_use]
    pub fn prompt(&self, name: &str) -> Option<Route<'_>> {
        self.named(ListKind::Prompts, name)
    }

    fn named(&self, kind: ListKind, name: &str) -> Option<Route<'_>> {
        let targets = &self.list(kind).targets;
        if let Some(target) = targets.get(name) {
            return Some(Route { server: target.server, name: &target.key });
        }
        // A server's name may hold a dot, too: each one is tried.
        name.match_indices('.').find_map(|(dot, _)| {
            let (server, item) = (&name[..dot], &name[dot + 1..]);
            let index = self.0.servers.iter().position(|known| known == server)?;
            let target = targets.get(&self.0.naming.expose(server, item))?;
            (target.server == index && target.key == item)
                .then_some(Route { server: index, name: &target.key })
        })
    }

    /// The server that a URI leads to, listed or made from a template or neither: the namespace
    /// alone decides, and whether the resource exists is for the server to say.
    #[must_use]
    pub fn resource<'u>(&self, uri: &'u str) -> Option<UriRoute<'u>> {
        self.0
            .spaces
            .iter()
            .enumerate()
            .find_map(|(server, space)| space.original(uri).map(|uri| UriRoute { server, uri }))
    }

    /// The namespace of a server's URIs, for rewriting its results.
    #[must_use]
    pub fn namespace(&self, server: usize) -> Option<&Namespace> {
        self.0.spaces.get(server)
    }

    /// A page of a list as a complete raw result.
    ///
    /// # Errors
    /// [`InvalidCursor`] for a cursor that is not of this list as it is now.
    pub fn page(&self, kind: ListKind, cursor: Option<&str>) -> Result<&Bytes, InvalidCursor> {
        let list = self.list(kind);
        let page = cursor.map_or(Ok(0), |cursor| cursor::decode(cursor, &list.hash))?;
        list.pages.get(page).ok_or(InvalidCursor)
    }

    /// SHA-256 over a list's items, as lowercase hexadecimal: it changes when what clients see
    /// does.
    #[must_use]
    pub fn hash(&self, kind: ListKind) -> &str {
        &self.list(kind).hash
    }

    /// The lists that clients see differently than in `before`.
    pub fn changed_since(&self, before: &Self) -> impl Iterator<Item = ListKind> {
        ListKind::ALL.into_iter().filter(move |kind| self.hash(*kind) != before.hash(*kind))
    }

    /// How many items a list has.
    #[must_use]
    pub fn count(&self, kind: ListKind) -> usize {
        self.list(kind).items
    }

    /// How many items of a list were left out because their exposed name was taken.
    #[must_use]
    pub fn repeated(&self, kind: ListKind) -> usize {
        self.list(kind).repeated
    }

    /// The raw capabilities that are offered to clients.
    #[must_use]
    pub fn capabilities(&self) -> &Bytes {
        &self.0.capabilities
    }

    /// The instructions of all servers, each under its name in brackets.
    #[must_use]
    pub fn instructions(&self) -> Option<&str> {
        self.0.instructions.as_deref()
    }
}

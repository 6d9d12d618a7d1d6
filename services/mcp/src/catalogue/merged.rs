//! The merged catalogue: look-ups and pages.

use std::collections::HashMap;

use bytes::Bytes;

use super::capabilities::Features;
use super::{Feature, InvalidCursor, ListKind, Route, cursor};
use crate::naming::Naming;
use crate::uri::Namespace;

#[derive(Debug)]
pub(super) struct Target {
    pub(super) server: usize,
    pub(super) key: String,
    /// The item's place in the list.
    pub(super) item: usize,
    /// Whether the name is the server's own, without a digest.
    pub(super) is_plain: bool,
}

#[derive(Debug)]
pub(super) struct MergedList {
    /// Complete results, each with the cursor of the next; at least one.
    pub(super) pages: Vec<Bytes>,
    pub(super) hash: String,
    pub(super) targets: HashMap<String, Target>,
    pub(super) items: usize,
    pub(super) repeated: usize,
    pub(super) left_out: usize,
}

#[derive(Debug)]
pub(super) struct MergedParts {
    pub(super) lists: [MergedList; 4],
    pub(super) capabilities: Bytes,
    pub(super) discover_capabilities: Bytes,
    pub(super) features: Vec<Features>,
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

    pub(super) fn named(&self, kind: ListKind, name: &str) -> Option<Route<'_>> {
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

    pub(super) fn spaces(&self) -> &[Namespace] {
        &self.0.spaces
    }

    /// The namespace of a server's URIs and tasks, for rewriting what it says.
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

    /// How many items of a list were left out because no client could use them.
    #[must_use]
    pub fn left_out(&self, kind: ListKind) -> usize {
        self.list(kind).left_out
    }

    /// The raw capabilities that are offered to clients which open a session.
    #[must_use]
    pub fn capabilities(&self) -> &Bytes {
        &self.0.capabilities
    }

    /// The raw capabilities that `server/discover` tells of in the stateless era.
    #[must_use]
    pub fn discover_capabilities(&self) -> &Bytes {
        &self.0.discover_capabilities
    }

    /// Whether a server, by its place in the list that was merged, can do this.
    #[must_use]
    pub fn offers(&self, server: usize, feature: Feature) -> bool {
        self.0.features.get(server).is_some_and(|features| features.has(feature))
    }

    /// The servers that can do this, by their places in the list that was merged.
    pub fn servers_offering(&self, feature: Feature) -> impl Iterator<Item = usize> {
        let features = self.0.features.iter().enumerate();
        features.filter(move |(_, features)| features.has(feature)).map(|(server, _)| server)
    }

    /// The instructions of all servers, each under its name in brackets.
    #[must_use]
    pub fn instructions(&self) -> Option<&str> {
        self.0.instructions.as_deref()
    }
}

//! What is owned at a moment, and what is to become of it.

use std::collections::{BTreeMap, BTreeSet};

use domain::ServerId;

/// What a worker owns, as it was told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    pub(super) is_everything: bool,
    /// With the epochs under which they are owned.
    pub(super) servers: BTreeMap<ServerId, u64>,
    /// Of these.
    pub(super) let_go: BTreeSet<ServerId>,
    /// Of others.
    pub(super) prepare: BTreeSet<ServerId>,
}

impl Owned {
    /// Every server there is.
    pub(super) fn everything() -> Self {
        Self { is_everything: true, ..Self::default() }
    }

    /// Whether the server is owned.
    pub fn holds(&self, server: ServerId) -> bool {
        self.is_everything || self.servers.contains_key(&server)
    }

    /// Whether an owned server is to be given up as soon as possible: somebody else is ready for
    /// it.
    pub fn is_to_let_go(&self, server: ServerId) -> bool {
        self.let_go.contains(&server)
    }

    /// All of these.
    pub fn to_let_go(&self) -> impl Iterator<Item = ServerId> {
        self.let_go.iter().copied()
    }

    /// Whether a server that is not owned is to be connected without being served: it will come.
    pub fn is_to_prepare(&self, server: ServerId) -> bool {
        self.prepare.contains(&server)
    }

    /// Whether everything is owned without asking: there is one worker.
    pub const fn is_everything(&self) -> bool {
        self.is_everything
    }

    /// How many servers are owned by lease.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether nothing is owned.
    pub fn is_empty(&self) -> bool {
        !self.is_everything && self.servers.is_empty()
    }
}

//! What the clients of a scope see: its servers' catalogues, merged.
//!
//! A scope is merged when it is first asked for and again after something of its project changed.
//! Nothing here ever asks an upstream.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use backplane::ReplicaHandle;
use bus::Bus;
use domain::call::CallOutcome;
use domain::project::{Naming, ToolPinning};
use domain::server::Isolation;
use domain::{ProjectId, ServerId, TenantId};
use events::Configuration;
use futures::future::join_all;
use mcp::catalogue::{MergePolicy, ServerEntry, merge};
use mcp::naming::Naming as NamePolicy;
use mcp::{Catalogue, ListKind, MergedCatalogue};
use metrics::Counter;
use tokio::time::Instant;

use crate::bodies::Bodies;
use crate::facts::Facts;
use crate::scope::Scope;

/// How often a scope is merged for one reader while it keeps changing.
const MAX_ATTEMPTS: usize = 3;

/// A scope as its clients see it.
pub(crate) struct Merged {
    pub(crate) catalogue: MergedCatalogue,
    /// The servers, in the order in which routes number them.
    pub(crate) servers: Vec<MergedServer>,
    /// Servers whose catalogue was never seen.
    pub(crate) unseen: Vec<ServerId>,
    /// Whether a catalogue could not be fetched.
    is_missing: bool,
    /// What it was merged from, in the order of the servers.
    sources: Vec<Source>,
    naming: NamePolicy,
    has_own: bool,
}

/// One server's part in a merge.
#[derive(Clone)]
struct Source {
    catalogue: Arc<Catalogue>,
    /// The tools that are not offered, by the server's own names.
    withheld: Arc<BTreeSet<String>>,
}

impl Merged {
    /// Whether a session has connections of its own to any of the servers.
    pub(crate) fn has_own(&self) -> bool {
        self.has_own
    }

    /// The servers to which each session has a connection of its own.
    pub(crate) fn own_servers(&self) -> impl Iterator<Item = &MergedServer> {
        self.servers.iter().filter(|server| server.isolation == Isolation::Session)
    }

    /// The scope as a session sees it whose own connections offer this, each at its server's
    /// place.
    pub(crate) fn with_own(
        &self,
        own: &[(usize, Arc<Catalogue>)],
        configuration: &Configuration,
    ) -> Self {
        let (mut servers, mut sources) = (self.servers.clone(), self.sources.clone());
        for (place, catalogue) in own {
            let (Some(server), Some(source)) = (servers.get_mut(*place), sources.get_mut(*place))
            else {
                continue;
            };
            source.withheld = Arc::new(withheld(configuration, server.id, catalogue));
            source.catalogue = Arc::clone(catalogue);
            *server = server.clone().with_catalogue(catalogue);
        }
        let catalogue = merge_sources(&servers, &sources, self.naming);
        let (unseen, is_missing, naming) = (self.unseen.clone(), self.is_missing, self.naming);
        Self { catalogue, servers, unseen, is_missing, sources, naming, has_own: self.has_own }
    }
}

/// The tools of a catalogue that clients do not see: those that are switched off, and where the
/// project wants to approve definitions first, those that are not approved.
fn withheld(
    configuration: &Configuration,
    server: ServerId,
    catalogue: &Catalogue,
) -> BTreeSet<String> {
    let Some(entry) = configuration.server(&server) else {
        return BTreeSet::new();
    };
    let mut withheld = entry.server.disabled_tools.clone();
    if configuration.tool_pinning(&entry.server.project) == ToolPinning::Block {
        let definitions = catalogue.tool_definitions().into_iter();
        let changed = definitions
            .filter(|(tool, hash)| !configuration.is_approved(&server, tool, hash))
            .map(|(tool, _)| tool.to_owned());
        withheld.extend(changed);
    }
    withheld
}

fn merge_sources(
    servers: &[MergedServer],
    sources: &[Source],
    naming: NamePolicy,
) -> MergedCatalogue {
    let enabled: Vec<_> =
        sources.iter().map(|source| |tool: &str| !source.withheld.contains(tool)).collect();
    let entries: Vec<ServerEntry<'_>> = servers
        .iter()
        .zip(sources)
        .zip(&enabled)
        .map(|((server, source), enabled)| ServerEntry {
            name: &server.name,
            catalogue: &source.catalogue,
            is_tool_enabled: enabled,
        })
        .collect();
    merge(&entries, &MergePolicy { naming, ..MergePolicy::default() })
}

/// A server of a scope.
#[derive(Clone)]
pub(crate) struct MergedServer {
    pub(crate) tenant: TenantId,
    pub(crate) id: ServerId,
    pub(crate) name: String,
    /// One for each outcome, looked up once.
    calls: Arc<[Counter]>,
    /// What its catalogue says beside its lists.
    pub(crate) facts: Arc<Facts>,
    /// Whose connection a client's requests take.
    pub(crate) isolation: Isolation,
}

impl MergedServer {
    fn new(project: &ProjectId, tenant: TenantId, id: ServerId, name: String) -> Self {
        let counter = |outcome: CallOutcome| {
            metrics::counter!(
                "mcp_orch_calls_total",
                "project" => project.to_string(),
                "server" => name.clone(),
                "outcome" => outcome.as_str(),
            )
        };
        let calls = CallOutcome::ALL.map(counter).into();
        Self { tenant, id, name, calls, facts: Arc::default(), isolation: Isolation::default() }
    }

    fn with_catalogue(self, catalogue: &Catalogue) -> Self {
        Self { facts: Arc::new(Facts::of(catalogue)), ..self }
    }

    /// Counts a call.
    pub(crate) fn count(&self, outcome: CallOutcome) {
        let place = CallOutcome::ALL.iter().position(|known| *known == outcome);
        if let Some(counter) = place.and_then(|place| self.calls.get(place)) {
            counter.increment(1);
        }
    }
}

/// What is known of a server when a merge begins.
struct Part {
    server: MergedServer,
    catalogue_hash: Option<String>,
}

#[derive(Default)]
struct Slot {
    current: RwLock<Option<Arc<Merged>>>,
    /// What was last shown, to tell what changed.
    shown: Mutex<Option<Arc<Merged>>>,
    building: tokio::sync::Mutex<()>,
    /// Goes up whenever what was merged became old.
    generation: AtomicU64,
}

impl Slot {
    fn current(&self) -> Option<Arc<Merged>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn invalidate(&self) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        *current = None;
    }

    /// Puts it in, unless something changed since `generation`.
    fn put(&self, merged: &Arc<Merged>, generation: u64) -> bool {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_current = self.generation.load(Ordering::Acquire) == generation;
        if is_current {
            *current = Some(Arc::clone(merged));
        }
        is_current
    }
}

/// All scopes that were asked for.
pub(crate) struct Catalogues {
    replica: ReplicaHandle,
    slots: RwLock<HashMap<Scope, Arc<Slot>>>,
    bodies: Bodies,
    /// When servers without a catalogue were first asked for.
    first_asked: Mutex<HashMap<ServerId, Instant>>,
}

impl Catalogues {
    pub(crate) fn new(bus: Arc<dyn Bus>, replica: ReplicaHandle) -> Self {
        let (slots, first_asked) = (RwLock::default(), Mutex::default());
        Self { replica, slots, bodies: Bodies::new(bus), first_asked }
    }

    /// The scope as it is now.
    pub(crate) async fn get(&self, scope: &Scope) -> Arc<Merged> {
        let slot = self.slot(scope);
        if let Some(merged) = slot.current() {
            return merged;
        }
        let _building = slot.building.lock().await;
        if let Some(merged) = slot.current() {
            return merged;
        }
        let mut attempts = 0;
        loop {
            let generation = slot.generation.load(Ordering::Acquire);
            let merged = Arc::new(self.build(scope).await);
            attempts += 1;
            // What changes while the parts are fetched makes the outcome old before it is put
            // in. It is still younger than the question.
            if slot.put(&merged, generation) || attempts == MAX_ATTEMPTS {
                return merged;
            }
        }
    }

    fn slot(&self, scope: &Scope) -> Arc<Slot> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(scope) {
            return Arc::clone(slot);
        }
        drop(slots);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(scope.clone()).or_default())
    }

    /// Forgets what was merged of a project, or of all: the next look merges again.
    pub(crate) fn invalidate(&self, project: Option<&ProjectId>) {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        for (scope, slot) in slots.iter() {
            if project.is_none_or(|project| project == scope.project()) {
                slot.invalidate();
            }
        }
    }

    /// As [`invalidate`](Self::invalidate), for one scope.
    pub(crate) fn invalidate_scope(&self, scope: &Scope) {
        self.slot(scope).invalidate();
    }

    /// Forgets all that belongs to servers and projects that are gone.
    pub(crate) fn forget_gone(&self) {
        let configuration = self.replica.read();
        let is_there = |id: &ServerId| configuration.server(id).is_some();
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|scope, _| match scope {
            Scope::Unified(project) => configuration.project(project).is_some(),
            Scope::Server(_, server) => is_there(server),
        });
        drop(slots);
        self.bodies.retain(|_, server| is_there(server));
        self.first_asked().retain(|server, _| is_there(server));
    }

    /// Until when a list waits for servers that were never seen: each is waited for once.
    pub(crate) fn wait_until(&self, unseen: &[ServerId], wait: Duration) -> Option<Instant> {
        let (mut first_asked, now) = (self.first_asked(), Instant::now());
        unseen.iter().map(|server| *first_asked.entry(*server).or_insert(now) + wait).max()
    }

    fn first_asked(&self) -> MutexGuard<'_, HashMap<ServerId, Instant>> {
        self.first_asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scopes for which a catalogue could not be fetched.
    pub(crate) fn missing(&self) -> Vec<Scope> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let is_missing = |slot: &Slot| slot.current().is_some_and(|merged| merged.is_missing);
        let missing = slots.iter().filter(|(_, slot)| is_missing(slot));
        missing.map(|(scope, _)| scope.clone()).collect()
    }

    /// Merges a scope again while its readers still see what there is.
    pub(crate) async fn refresh(&self, scope: &Scope) {
        let slot = self.slot(scope);
        let generation = slot.generation.load(Ordering::Acquire);
        let merged = Arc::new(self.build(scope).await);
        slot.put(&merged, generation);
    }

    /// The lists of a scope that differ from what was shown when this was last asked.
    pub(crate) async fn changed_lists(&self, scope: &Scope) -> Vec<ListKind> {
        let merged = self.get(scope).await;
        let slot = self.slot(scope);
        let mut shown = slot.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.replace(Arc::clone(&merged));
        match before {
            Some(before) => merged.catalogue.changed_since(&before.catalogue).collect(),
            None => Vec::new(),
        }
    }

    /// Notes that a client of the scope has seen it as it is.
    pub(crate) fn note_shown(&self, scope: &Scope, merged: &Arc<Merged>) {
        let slot = self.slot(scope);
        let mut shown = slot.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_none() {
            *shown = Some(Arc::clone(merged));
        }
    }

    fn parts(&self, scope: &Scope) -> (Vec<Part>, NamePolicy) {
        let configuration = self.replica.read();
        let project = configuration.project(scope.project());
        let servers: Vec<_> = configuration
            .servers_of(scope.project())
            .into_iter()
            .filter(|entry| !entry.server.disabled)
            .collect();
        let plain = match scope {
            Scope::Server(..) => true,
            Scope::Unified(_) => {
                servers.len() == 1
                    && project.is_some_and(|p| p.project.settings.naming == Naming::PlainWhenSingle)
            }
        };
        let policy = if plain {
            NamePolicy::unprefixed(*NamePolicy::MAX_CHARS_RANGE.end())
        } else {
            NamePolicy::default()
        };
        let in_scope = |id: &ServerId| match scope {
            Scope::Unified(_) => true,
            Scope::Server(_, only) => id == only,
        };
        let parts = servers.into_iter().filter(|entry| in_scope(&entry.id)).map(|entry| {
            let name = entry.server.name.to_string();
            let view = configuration.connection(&entry.id);
            let server = MergedServer::new(scope.project(), entry.tenant, entry.id, name);
            Part {
                server: MergedServer { isolation: entry.server.config.isolation, ..server },
                catalogue_hash: view.catalogue.as_ref().map(|summary| summary.hash.clone()),
            }
        });
        (parts.collect(), policy)
    }

    async fn build(&self, scope: &Scope) -> Merged {
        let (parts, naming) = self.parts(scope);
        let found = join_all(parts.iter().map(async |part| match &part.catalogue_hash {
            Some(hash) => {
                let server = (part.server.tenant, part.server.id);
                self.bodies.get(scope.project(), server, hash).await
            }
            None => crate::bodies::Found::default(),
        }));
        let found = found.await;
        let is_missing = found.iter().any(|found| found.is_missing);
        let unseen = parts.iter().filter(|part| part.catalogue_hash.is_none());
        let unseen = unseen.map(|part| part.server.id).collect();
        let configuration = self.replica.read();
        let sources: Vec<_> = parts
            .iter()
            .zip(found)
            .map(|(part, found)| {
                let catalogue = found.catalogue.unwrap_or_default();
                let withheld = withheld(&configuration, part.server.id, &catalogue);
                Source { catalogue, withheld: Arc::new(withheld) }
            })
            .collect();
        drop(configuration);
        let servers = parts.into_iter().zip(&sources);
        let servers: Vec<_> =
            servers.map(|(part, source)| part.server.with_catalogue(&source.catalogue)).collect();
        let catalogue = merge_sources(&servers, &sources, naming);
        let has_own = servers.iter().any(|server| server.isolation == Isolation::Session);
        Merged { catalogue, servers, unseen, is_missing, sources, naming, has_own }
    }
}

//! The subscriptions that are open: what each wants to hear, and where it is told.
//!
//! What always holds: nothing is told before the acknowledgement, and nothing that it does not
//! name.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use domain::{ApiKeyId, ServerId};
use mcp::server::sse_message;
use mcp::server::stateless::{ListenFilter, acknowledged, listen_ended, with_subscription};
use mcp::{Id, ListKind, LogLevel, splice};
use proto::internal::v1::Notification;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::attachments::{Attachment, Hearer};
use crate::outbox::{Outbox, Undelivered};
use crate::scope::Scope;

use super::limits::StatelessLimits;

/// What a resource is called by its server, and who that is.
pub(super) type Resource = (ServerId, String);

/// Who listens.
pub(super) struct Listener {
    pub(super) name: Uuid,
    key: ApiKeyId,
    scope: Scope,
    /// The id of its request, under which everything is said.
    id: Id,
    outbox: Outbox,
    /// Cancelled when it ends.
    ended: CancellationToken,
    /// The resources that it asks for, whether they can be had or not.
    asked: Vec<Resource>,
    /// What it was told that it will hear; until then it hears nothing.
    accepted: OnceLock<Accepted>,
}

struct Accepted {
    filter: ListenFilter,
    resources: Vec<Resource>,
}

impl Listener {
    pub(super) fn new(
        (key, scope): (ApiKeyId, Scope),
        id: Id,
        (outbox, ended): (Outbox, CancellationToken),
        asked: Vec<Resource>,
    ) -> Self {
        let (name, accepted) = (Uuid::now_v7(), OnceLock::new());
        Self { name, key, scope, id, outbox, ended, asked, accepted }
    }

    /// Says what is heard from now on.
    fn acknowledge(
        &self,
        filter: ListenFilter,
        resources: Vec<Resource>,
    ) -> Result<(), Undelivered> {
        let message = sse_message(&acknowledged(&self.id, &filter));
        self.outbox.try_send(message)?;
        // It is acknowledged once.
        let _ = self.accepted.set(Accepted { filter, resources });
        Ok(())
    }

    fn wants_list(&self, kind: ListKind) -> bool {
        self.accepted.get().is_some_and(|accepted| accepted.filter.wants(kind))
    }

    fn tell(&self, method: &str, params: &[u8]) {
        let Ok(message) = with_subscription(method, params, &self.id) else {
            // What cannot be put under an id is not said.
            return;
        };
        if self.outbox.try_send(sse_message(&message)) == Err(Undelivered::Stalled) {
            tracing::info!("a subscription's client does not read: it ends");
            self.ended.cancel();
        }
    }
}

impl Hearer for Listener {
    fn key(&self) -> ApiKeyId {
        self.key
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn log_level(&self) -> Option<LogLevel> {
        None
    }

    fn subscriptions(&self, server: ServerId) -> Vec<String> {
        let resources = self.accepted.get().map_or(&self.asked, |accepted| &accepted.resources);
        let of_server = resources.iter().filter(|(of, _)| *of == server);
        of_server.map(|(_, uri)| uri.clone()).collect()
    }

    fn wants(&self, server: ServerId, said: &Notification) -> bool {
        if said.method != "notifications/resources/updated" {
            return false;
        }
        let Ok(Some(updated)) = splice::find_string(&said.params, &["uri"]) else { return false };
        let resources = self.accepted.get().map(|accepted| accepted.resources.iter());
        resources.into_iter().flatten().any(|(of, uri)| {
            // Servers may name a part of what was asked for.
            *of == server
                && updated.strip_prefix(uri.as_str()).is_some_and(|rest| {
                    rest.is_empty() || uri.ends_with('/') || rest.starts_with(['/', '#', '?'])
                })
        })
    }

    fn take(&self, said: &Notification) {
        self.tell(&said.method, &said.params);
    }
}

/// All subscriptions of this edge.
pub(crate) struct Listeners {
    all: usize,
    per_key: usize,
    table: Mutex<HashMap<Uuid, Arc<Listener>>>,
}

/// Ends its subscription when it is dropped.
pub(super) struct Listening {
    listeners: Arc<Listeners>,
    listener: Arc<Listener>,
    attachments: Vec<Arc<Attachment>>,
}

impl Listening {
    /// Hears a server over that attachment, too.
    pub(super) fn hear(&mut self, attachment: Arc<Attachment>) {
        self.attachments.push(attachment);
    }

    /// Says what of its filter is heard from now on.
    pub(super) fn acknowledge(
        &self,
        filter: ListenFilter,
        resources: Vec<Resource>,
    ) -> Result<(), Undelivered> {
        self.listener.acknowledge(filter, resources)
    }

    /// Waits until it ends, by its client not reading or its key being revoked.
    pub(super) async fn ended(&self) {
        self.listener.ended.cancelled().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.listeners.end(|listener| listener.name == self.listener.name);
        for attachment in &self.attachments {
            attachment.leave(self.listener.name);
        }
    }
}

impl Listeners {
    pub(super) fn new(limits: &StatelessLimits) -> Self {
        Self {
            all: limits.subscriptions,
            per_key: limits.subscriptions_per_key,
            table: Mutex::default(),
        }
    }

    /// Opens a subscription; `None` at a limit.
    pub(super) fn add(self: &Arc<Self>, listener: &Arc<Listener>) -> Option<Listening> {
        let mut table = self.table();
        let of_key = table.values().filter(|known| known.key == listener.key).count();
        if table.len() >= self.all || of_key >= self.per_key {
            return None;
        }
        table.insert(listener.name, Arc::clone(listener));
        metrics::gauge!("mcp_orch_subscriptions").set(table.len() as f64);
        drop(table);
        let listener = Arc::clone(listener);
        Some(Listening { listeners: Arc::clone(self), listener, attachments: Vec::new() })
    }

    /// The scopes that somebody listens to.
    pub(crate) fn scopes(&self) -> HashSet<Scope> {
        self.table().values().map(|listener| listener.scope.clone()).collect()
    }

    /// Tells that a list of a scope changed.
    pub(crate) fn list_changed(&self, scope: &Scope, kind: ListKind) {
        let table = self.table();
        let all = table.values().filter(|listener| listener.scope == *scope);
        let concerned: Vec<_> = all.filter(|listener| listener.wants_list(kind)).cloned().collect();
        drop(table);
        for listener in concerned {
            listener.tell(kind.changed_method(), b"");
        }
    }

    /// Ends the subscriptions of keys that may do nothing any more.
    pub(super) fn retain(&self, is_allowed: &impl Fn(ApiKeyId, &Scope) -> bool) {
        self.end(|listener| !is_allowed(listener.key, &listener.scope));
    }

    /// Ends all, and says so.
    pub(super) fn close(&self, server_info: &Bytes) {
        let all: Vec<_> = self.table().values().cloned().collect();
        for listener in &all {
            let message = sse_message(&listen_ended(&listener.id, server_info));
            // Who does not read is not told.
            let _ = listener.outbox.try_send(message);
        }
        self.end(|_| true);
    }

    fn end(&self, which: impl Fn(&Listener) -> bool) {
        let mut table = self.table();
        let ended: Vec<_> = table.extract_if(|_, listener| which(listener)).collect();
        metrics::gauge!("mcp_orch_subscriptions").set(table.len() as f64);
        drop(table);
        for (_, listener) in ended {
            listener.ended.cancel();
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Listener>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

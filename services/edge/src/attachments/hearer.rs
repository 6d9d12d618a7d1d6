//! Who hears what a server says outside of requests, and what of it.

use std::sync::Arc;

use authz::Action;
use domain::{ApiKeyId, ServerId};
use mcp::uri::Namespace;
use mcp::{LogLevel, splice};
use proto::internal::v1::Notification;

use crate::call::notification_message;
use crate::edge::Shared;
use crate::scope::Scope;
use crate::session::Session;

/// Somebody who hears what a server says outside of requests.
pub(crate) trait Hearer: Send + Sync {
    /// By whose right it hears.
    fn key(&self) -> ApiKeyId;

    /// What it sees: servers have other names in other scopes.
    fn scope(&self) -> &Scope;

    /// The least severe log message that it wants; `None` where it does not say.
    fn log_level(&self) -> Option<LogLevel>;

    /// The resources of a server that it wants updates of, by the URIs that the server knows.
    fn subscriptions(&self, server: ServerId) -> Vec<String>;

    /// Whether it wants a notification as the server said it.
    fn wants(&self, server: ServerId, said: &Notification) -> bool;

    /// Takes a notification that it wants, under the names of its scope.
    fn take(&self, said: &Notification);
}

/// Whether a key may hear what servers say unasked: it is about calls, so only who may call does,
/// with the role that the key has now.
pub(super) fn may_hear(shared: &Shared, key: ApiKeyId) -> bool {
    let configuration = shared.replica.read();
    let entry = configuration.key_by_id(&key);
    let role = entry.and_then(|entry| configuration.effective_role(entry));
    role.is_some_and(|role| shared.authorizer.allows(role, Action::McpCall))
}

/// Tells everybody who wants it, and still may hear it.
pub(crate) async fn hear(
    shared: &Shared,
    server: ServerId,
    hearers: Vec<Arc<dyn Hearer>>,
    said: &Notification,
) {
    if said.method == "notifications/tasks/status"
        && let Ok(Some(id)) = splice::find_string(&said.params, &["taskId"])
    {
        // Another edge may have seen who made it.
        shared.sessions.tasks.learn(server, &id).await;
    }
    for hearer in hearers {
        if !hearer.wants(server, said) || !may_hear(shared, hearer.key()) {
            continue;
        }
        let merged = shared.catalogues.get(hearer.scope()).await;
        let place = merged.servers.iter().position(|known| known.id == server);
        let Some(space) = place.and_then(|place| merged.catalogue.namespace(place)) else {
            continue;
        };
        hearer.take(&exposed(space, said));
    }
}

/// A notification under the names of a scope; what cannot be read stays as it is.
fn exposed(space: &Namespace, said: &Notification) -> Notification {
    let params = match said.params.is_empty() {
        true => said.params.clone(),
        false => space
            .expose_notification(&said.method, &said.params)
            .unwrap_or_else(|_| said.params.clone()),
    };
    Notification { method: said.method.clone(), params }
}

impl Hearer for Session {
    fn key(&self) -> ApiKeyId {
        self.key
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn log_level(&self) -> Option<LogLevel> {
        self.hearing.level()
    }

    fn subscriptions(&self, server: ServerId) -> Vec<String> {
        self.hearing.subscriptions(server)
    }

    fn wants(&self, server: ServerId, said: &Notification) -> bool {
        match said.method.as_str() {
            "notifications/message" => {
                self.hearing.hears_unasked(LogLevel::of_params(&said.params))
            }
            "notifications/resources/updated" => {
                let uri = splice::find_string(&said.params, &["uri"]).ok().flatten();
                uri.is_some_and(|uri| self.hearing.is_subscribed(server, &uri))
            }
            "notifications/tasks/status" => {
                let id = splice::find_string(&said.params, &["taskId"]).ok().flatten();
                let is_own = self.hearing.attachment(server).is_some_and(|to| to.is_own());
                is_own || id.is_some_and(|id| self.tasks.is_of(server, &id, self.key))
            }
            // Only who was sent away to do it waits for it to be done.
            "notifications/elicitation/complete" => {
                let id = splice::find_string(&said.params, &["elicitationId"]).ok().flatten();
                let is_own = self.hearing.attachment(server).is_some_and(|to| to.is_own());
                is_own || id.is_some_and(|id| self.hearing.has_elicited(server, &id))
            }
            // Only over a connection of its own it is known to be for this client.
            method => {
                let is_own = self.hearing.attachment(server).is_some_and(|to| to.is_own());
                // Lists are told of when what is merged of them changed.
                is_own && !method.ends_with("/list_changed")
            }
        }
    }

    fn take(&self, said: &Notification) {
        self.tell(&notification_message(said));
    }
}

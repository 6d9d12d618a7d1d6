//! Who hears what a server says outside of requests, and what of it.

use std::sync::Arc;

use domain::ServerId;
use mcp::uri::Namespace;
use mcp::{LogLevel, splice};
use proto::internal::v1::Notification;

use crate::call::notification_message;
use crate::edge::Shared;
use crate::scope::Scope;
use crate::session::Session;

/// Somebody who hears what a server says outside of requests.
pub(crate) trait Hearer: Send + Sync {
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

/// Tells everybody who wants it.
pub(crate) async fn hear(
    shared: &Shared,
    server: ServerId,
    hearers: Vec<Arc<dyn Hearer>>,
    said: &Notification,
) {
    for hearer in hearers {
        if !hearer.wants(server, said) {
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
            "notifications/elicitation/complete" => true,
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

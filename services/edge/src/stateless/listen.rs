//! `subscriptions/listen`: what of a filter can be had, and the stream that tells it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use authz::Action;
use bytes::Bytes;
use domain::ErrorCode;
use domain::server::Isolation;
use futures::future::join_all;
use mcp::Id;
use mcp::catalogue::Feature;
use mcp::server::Method;
use mcp::server::stateless::{ListenFilter, Refusal};
use mcp::splice;
use tokio_util::sync::CancellationToken;

use crate::attachments::Hearer;
use crate::auth::Grant;
use crate::call::{self, Placed, failure};
use crate::edge::Shared;
use crate::merged::Merged;
use crate::outbox::Outbox;

use super::dispatch::Asked;
use super::listeners::{Listener, Listening, Resource};

/// How long servers may take to subscribe: what is not done by then is not accepted.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(3);

/// What a request wants to hear.
pub(crate) struct Wanted {
    filter: ListenFilter,
    /// Its resources that lead to a server that can tell of them, each with what the client
    /// calls it.
    resources: Vec<(String, Placed)>,
}

/// Reads a request's filter. An error is the raw error.
pub(super) async fn wanted(asked: &Asked<'_>) -> Result<Wanted, Bytes> {
    let mut filter = ListenFilter::parse(&asked.params).map_err(|refusal| refusal.error())?;
    let Asked { shared, grant, .. } = asked;
    // From here on, changes are told against what is there now.
    let merged = shared.catalogues.get(&grant.scope).await;
    shared.catalogues.note_shown(&grant.scope, &merged);
    let uris = std::mem::take(&mut filter.uris);
    // No server tells of its tasks over a connection that others use, too: clients ask for them.
    filter.tasks.clear();
    let mut resources = Vec::new();
    // What servers say unasked is about calls: only who may call hears it.
    if shared.authorizer.allows(grant.role, Action::McpCall) {
        for uri in uris {
            if let Some(placed) = place(shared, &merged, &uri) {
                resources.push((uri, placed));
            }
        }
    }
    Ok(Wanted { filter, resources })
}

/// The server that can tell of a resource. A connection of its own, which belongs to one request,
/// tells of nothing later.
fn place(shared: &Shared, merged: &Arc<Merged>, uri: &str) -> Option<Placed> {
    let params = [b"{\"uri\":".as_slice(), &splice::quote(uri), b"}"].concat();
    let placed = call::place(shared, merged, Method::Subscribe, Some(params.into())).ok()?;
    let place = merged.servers.iter().position(|server| server.id == placed.server().id)?;
    let tells = placed.isolation == Isolation::Shared
        && merged.catalogue.offers(place, Feature::Subscriptions);
    tells.then_some(placed)
}

/// Opens a subscription: the acknowledgement is the first that goes into `outbox`. An error is
/// the raw error.
pub(super) async fn open(
    shared: &Arc<Shared>,
    grant: &Grant,
    id: &Id,
    wanted: Wanted,
    to: (Outbox, CancellationToken),
) -> Result<Listening, Bytes> {
    let Wanted { mut filter, resources } = wanted;
    let asked = resources.iter().map(|(_, placed)| resource(placed)).collect();
    let who = (grant.key, grant.scope.clone());
    let listener = Arc::new(Listener::new(who, id.clone(), to, asked));
    let listening = shared.stateless.listeners.add(&listener).ok_or_else(|| {
        let message = "too many subscriptions are open: end one";
        failure(ErrorCode::ResourceExhausted.reason(), message)
    });
    let mut listening = listening?;
    let hearer: Arc<dyn Hearer> = Arc::<Listener>::clone(&listener);
    let hearer: Weak<dyn Hearer> = Arc::downgrade(&hearer);
    let subscribing = resources.iter().map(|(exposed, placed)| {
        let (project, server) = (grant.scope.project(), placed.server());
        let attachment =
            shared.attachments.join(shared, project, server, listener.name, Weak::clone(&hearer));
        listening.hear(Arc::clone(&attachment));
        async move {
            let subscribed = attachment.subscribe(placed.target());
            let is_done = tokio::time::timeout(SUBSCRIBE_WAIT, subscribed).await;
            matches!(is_done, Ok(Ok(()))).then(|| (exposed.clone(), resource(placed)))
        }
    });
    let subscribing: Vec<_> = subscribing.collect();
    let subscribed = join_all(subscribing).await.into_iter().flatten();
    let (uris, accepted) = subscribed.unzip();
    filter.uris = uris;
    listening.acknowledge(filter, accepted).map_err(|_| {
        Refusal::Parameters("the subscription cannot be opened: nobody reads").error()
    })?;
    Ok(listening)
}

fn resource(placed: &Placed) -> Resource {
    (placed.server().id, placed.target().to_owned())
}

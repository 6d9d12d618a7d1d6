//! The attachments of one session: to its own connections, and to what it shares with others.

use std::sync::{Arc, Weak};

use domain::server::Isolation;
use mcp::Catalogue;
use mcp::catalogue::Feature;

use super::hearer::may_hear;
use super::{Attachment, Hearer, Own, Target};
use crate::edge::Shared;
use crate::merged::{Merged, MergedServer};
use crate::session::Session;

/// Opens what the session has no connection of its own to yet.
pub(crate) fn attach_own(shared: &Arc<Shared>, session: &Arc<Session>, merged: &Merged) {
    for server in merged.own_servers() {
        if session.ended.is_cancelled() {
            break;
        }
        let before = session.hearing.attach_or(server.id, Attachment::is_own, || {
            let target = Target {
                tenant: server.tenant,
                project: session.scope.project().clone(),
                server: server.id,
                peer: session.peer(Isolation::Session),
                owner: Some(Arc::downgrade(session)),
            };
            let attachment = Attachment::open(shared, target);
            attachment.join(session.name(), weak(session));
            attachment
        });
        if let Some(before) = before {
            before.leave(session.name());
        }
    }
    if session.ended.is_cancelled() {
        // It ended meanwhile: nobody else gives them up.
        for attachment in session.hearing.end() {
            attachment.leave(session.name());
        }
    }
}

/// What the session's own connections offer, each with its server's place.
pub(crate) fn own_catalogues(session: &Session, merged: &Merged) -> Vec<(usize, Arc<Catalogue>)> {
    let places = merged.servers.iter().enumerate();
    let own = places.filter(|(_, server)| server.isolation == Isolation::Session);
    own.filter_map(|(place, server)| {
        let attachment = session.hearing.attachment(server.id)?;
        match &*attachment.own().borrow() {
            Own::Catalogue(catalogue) => Some((place, Arc::clone(catalogue))),
            Own::Awaited | Own::Failed => None,
        }
    })
    .collect()
}

/// The attachment over which the session hears a server from now on.
pub(crate) fn attach(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    merged: &Merged,
    server: &MergedServer,
) -> Option<Arc<Attachment>> {
    if server.isolation == Isolation::Session {
        attach_own(shared, session, merged);
        return session.hearing.attachment(server.id);
    }
    if let Some(attachment) = session.hearing.attachment(server.id).filter(|to| !to.is_own()) {
        return Some(attachment);
    }
    let (project, name) = (session.scope.project(), session.name());
    let attachment = shared.attachments.join(shared, project, server, name, weak(session));
    let before = session.hearing.attach(Arc::clone(&attachment));
    if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, &attachment)) {
        before.leave(name);
    }
    if session.ended.is_cancelled() {
        // It ended meanwhile: nobody else gives it up.
        attachment.leave(name);
    }
    Some(attachment)
}

/// Lets a session hear what its servers say unasked, as far as its key may use them.
pub(crate) fn attach_all(shared: &Arc<Shared>, session: &Arc<Session>, merged: &Merged) {
    if !may_hear(shared, session.key) {
        return;
    }
    for (place, server) in merged.servers.iter().enumerate() {
        let speaks = [Feature::Logging, Feature::Tasks];
        let speaks = speaks.into_iter().any(|feature| merged.catalogue.offers(place, feature));
        if speaks && server.isolation == Isolation::Shared {
            attach(shared, session, merged, server);
        }
    }
}

fn weak(session: &Arc<Session>) -> Weak<dyn Hearer> {
    let session: Arc<dyn Hearer> = Arc::clone(session) as Arc<dyn Hearer>;
    Arc::downgrade(&session)
}

//! What a session sees: the scope as all see it, unless servers keep a connection for each session;
//! then what the session's own connections offer is in its place.
//!
//! What always holds: for a scope without such servers nothing here costs anything; a list waits
//! for the session's connections a little, once, and changes of them are told to that session
//! alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcp::Catalogue;
use mcp::server::list_changed;
use tokio::time::Instant;

use crate::attachments::{Own, attach_own, own_catalogues};
use crate::edge::Shared;
use crate::merged::Merged;
use crate::session::Session;

/// What one of a session's own connections offers, with its server's place.
type Offer = (usize, Arc<Catalogue>);

/// A session's own view, if it has one.
#[derive(Default)]
pub(crate) struct OwnView(Mutex<State>);

#[derive(Default)]
struct State {
    built: Option<Built>,
    /// What the client was last shown.
    shown: Option<Arc<Merged>>,
}

/// A view with what it was made from.
struct Built {
    base: Arc<Merged>,
    own: Vec<Offer>,
    merged: Arc<Merged>,
}

impl Built {
    fn is_of(&self, base: &Arc<Merged>, own: &[Offer]) -> bool {
        let same =
            |(mine, other): (&Offer, &Offer)| mine.0 == other.0 && Arc::ptr_eq(&mine.1, &other.1);
        Arc::ptr_eq(&self.base, base)
            && self.own.len() == own.len()
            && self.own.iter().zip(own).all(same)
    }
}

impl OwnView {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clear(&self) {
        *self.state() = State::default();
    }

    /// Whether the client was ever shown a view of its own.
    pub(crate) fn was_shown(&self) -> bool {
        self.state().shown.is_some()
    }

    fn show(&self, merged: &Arc<Merged>) -> Option<Arc<Merged>> {
        self.state().shown.replace(Arc::clone(merged))
    }

    fn get(&self, shared: &Shared, base: Arc<Merged>, own: Vec<Offer>) -> Arc<Merged> {
        if own.is_empty() {
            return base;
        }
        if let Some(built) = self.state().built.as_ref().filter(|built| built.is_of(&base, &own)) {
            return Arc::clone(&built.merged);
        }
        let merged = Arc::new(base.with_own(&own, &shared.replica.read()));
        self.state().built = Some(Built { base, own, merged: Arc::clone(&merged) });
        merged
    }
}

/// What the session sees now.
pub(crate) async fn view(shared: &Arc<Shared>, session: &Arc<Session>) -> Arc<Merged> {
    let base = shared.catalogues.get(&session.scope).await;
    if !base.has_own() {
        return base;
    }
    attach_own(shared, session, &base);
    let own = own_catalogues(session, &base);
    session.hearing.own.get(shared, base, own)
}

/// What the session's client is shown: after a little wait for its own connections.
pub(crate) async fn shown_view(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    base: Arc<Merged>,
) -> Arc<Merged> {
    if !base.has_own() {
        return base;
    }
    attach_own(shared, session, &base);
    let until = Instant::now() + shared.config.limits.first_list_wait;
    for server in base.own_servers() {
        let Some(attachment) = session.hearing.attachment(server.id) else { continue };
        let mut own = attachment.own();
        let known = own.wait_for(|own| !matches!(own, Own::Awaited));
        // What does not come in time is told of as a change.
        let _ = tokio::time::timeout_at(until, known).await;
    }
    let own = own_catalogues(session, &base);
    let merged = session.hearing.own.get(shared, base, own);
    session.hearing.own.show(&merged);
    merged
}

/// Tells the session's client which of its lists are others than it was shown.
pub(crate) async fn tell_changes(shared: &Arc<Shared>, session: &Arc<Session>) {
    if !session.hearing.own.was_shown() {
        return;
    }
    let merged = view(shared, session).await;
    let Some(before) = session.hearing.own.show(&merged) else { return };
    let changed = merged.catalogue.changed_since(&before.catalogue);
    // Resources and templates share a notification.
    let mut told = BTreeSet::new();
    for kind in changed {
        if told.insert(kind.changed_method()) {
            session.tell(&list_changed(kind));
        }
    }
}

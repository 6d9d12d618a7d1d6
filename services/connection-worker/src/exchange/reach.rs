//! The connection that an exchange takes.

use std::sync::Arc;

use mcp::client::Transport;
use proto::internal::v1::{ExchangeOpen, Peer};

use super::Served;
use super::answer::Ended;
use crate::connection::{Link, Seat, Switchboard, Unavailable};
use crate::session::{Denied, Lease, Pool};

/// A connection to send over.
pub(super) enum Reached {
    /// The one that clients share.
    Shared(Arc<Link>),
    /// One of the client's own.
    Own(Lease),
}

impl Reached {
    /// The connection.
    pub(super) fn link(&self) -> &Arc<Link> {
        match self {
            Self::Shared(link) => link,
            Self::Own(lease) => lease.link(),
        }
    }

    /// Who listens to it.
    pub(super) fn board<'a>(&'a self, served: &'a Served) -> &'a Arc<Switchboard> {
        match self {
            Self::Shared(_) => &served.slot.board,
            Self::Own(lease) => lease.board(),
        }
    }

    /// A place to listen from, where what the connection says outside of answers may belong to
    /// this request: all of it on a connection of the client's own, on one that all share the log
    /// messages of an upstream that sends none without being asked to.
    pub(super) fn seat(&self, served: &Served, peer: Option<&Peer>) -> Option<Seat> {
        let listens = match self {
            Self::Own(_) => true,
            Self::Shared(link) => {
                link.is_stateless()
                    && link.connection.transport() != Transport::StreamableHttp
                    && peer.is_some_and(|peer| !peer.log_level.is_empty())
            }
        };
        listens.then(|| self.board(served).seat())
    }
}

impl Served {
    /// Whether the request is for this server as it is owned: its tenant's and its project's.
    pub(super) fn is_meant(&self, open: &ExchangeOpen) -> bool {
        let spec = &self.slot.spec;
        open.project == spec.project.as_str()
            && open.server.parse() == Ok(spec.server)
            && open.tenant.parse() == Ok(spec.tenant)
    }

    /// Whether it is certain at this moment that this worker owns the server.
    pub(super) fn is_owned(&self) -> bool {
        self.deps.lease.epoch(self.slot.spec.server).is_some()
    }

    /// Where the client has connections of its own, and what is known of it.
    pub(super) fn own<'a>(&'a self, peer: Option<&'a Peer>) -> Option<(&'a Arc<Pool>, &'a Peer)> {
        self.pool.as_ref().zip(peer.filter(|peer| !peer.session.is_empty()))
    }

    /// The connection for a request, set up if it has to be.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) async fn reach(&self, peer: Option<&Peer>) -> Result<Reached, Denied> {
        match (self.own(peer), &self.pool) {
            (Some((pool, peer)), _) => pool.for_call(peer).await.map(Reached::Own),
            // The connection that is there belongs to nobody: what one client does on it, another
            // one would find.
            (None, Some(_)) => Err(Denied::Invalid(
                "the server keeps a connection for each client session, and the request names none",
            )),
            (None, None) => {
                let link = self.slot.link().await;
                link.map(Reached::Shared).map_err(|Unavailable(cause)| Denied::Unavailable(cause))
            }
        }
    }
}

impl From<Denied> for Ended {
    fn from(denied: Denied) -> Self {
        let reason = match &denied {
            Denied::Full(_) => "RESOURCE_EXHAUSTED",
            Denied::Invalid(_) => "INVALID_ARGUMENT",
            Denied::Unavailable(_) => "UPSTREAM_UNAVAILABLE",
        };
        Self::refused(reason, &denied.to_string())
    }
}

//! What another edge must know of a session to go on with it, and going on.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use domain::server::Isolation;
use mcp::server::SessionId;
use mcp::{Id, LogLevel, Revision};
use proto::internal::v1::{McpSession, SessionElicitation, SessionOpening, SessionSubscription};
use uuid::Uuid;

use super::streams::Streams;
use super::{Opening, Session, locked};
use crate::call::Caller;
use crate::replay::StreamLog;
use crate::roaming::Kept;
use crate::scope::Scope;

/// The numbers that each home of a session may give out.
const NUMBERS: u64 = 1 << 32;

/// A session that another edge had.
pub(crate) struct Restored<'a> {
    pub(crate) id: SessionId,
    pub(crate) record: &'a McpSession,
    pub(crate) kept: Arc<Kept>,
}

impl Session {
    /// The record of the session as it is now.
    pub(crate) fn record(&self, kept: &Kept) -> McpSession {
        let opening = self.opening.get().map(|opening| SessionOpening {
            revision: opening.revision.to_string(),
            client: opening.client.clone(),
            capabilities: opening.capabilities.clone().unwrap_or_default(),
            client_info: opening.client_info.clone().unwrap_or_default(),
        });
        let server = match &self.scope {
            Scope::Unified(_) => String::new(),
            Scope::Server(_, server) => server.to_string(),
        };
        let subscriptions = self.hearing.all_subscriptions().into_iter();
        let subscriptions = subscriptions.map(|(server, uri, exposed)| SessionSubscription {
            server: server.to_string(),
            uri,
            exposed,
        });
        let elicitations = self.hearing.all_elicited().into_iter();
        let elicitations =
            elicitations.map(|(server, id)| SessionElicitation { server: server.to_string(), id });
        McpSession {
            home: kept.home().to_owned(),
            generation: kept.generation(),
            api_key: self.key.to_string(),
            project: self.scope.project().to_string(),
            server,
            ends_with_stream: kept.ends_with_stream(),
            opening,
            log_level: self.hearing.level().map(LogLevel::as_str).unwrap_or_default().to_owned(),
            subscriptions: subscriptions.collect(),
            peer_name: self.peer_name.to_string(),
            calls: kept.streamed(),
            elicitations: elicitations.collect(),
            seen_at_ms: 0,
        }
    }

    /// The same session as in the record. What cannot be read of it is as if it was not there.
    pub(super) fn restored(mut self, record: &McpSession) -> Self {
        if let Some(opening) = &record.opening
            && let Some(revision) = Revision::parse(&opening.revision)
        {
            let raw = |raw: &Bytes| (!raw.is_empty()).then(|| raw.clone());
            self.open(Opening {
                revision,
                client: opening.client.clone(),
                capabilities: raw(&opening.capabilities),
                client_info: raw(&opening.client_info),
            });
        }
        if let Some(level) = LogLevel::parse(&record.log_level) {
            self.hearing.set_level(level);
        }
        for wanted in &record.subscriptions {
            if let Ok(server) = wanted.server.parse() {
                let (uri, exposed) = (wanted.uri.clone(), wanted.exposed.clone());
                let _ = self.hearing.subscribe(server, uri, exposed, self.limits.subscriptions);
            }
        }
        for elicited in &record.elicitations {
            if let Ok(server) = elicited.server.parse() {
                self.hearing.note_elicitation(server, &elicited.id);
            }
        }
        if let Ok(name) = record.peer_name.parse::<Uuid>() {
            self.peer_name = name;
        }
        self.streams = Mutex::new(Streams::after(self.numbers_begin()));
        self
    }

    /// More than any number that an earlier home of the session gave out.
    pub(super) fn numbers_begin(&self) -> u64 {
        let generation = self.kept.as_ref().map_or(0, |kept| kept.generation());
        u64::from(generation) * NUMBERS
    }

    /// A stream for an answer that another edge began.
    pub(crate) fn reopen_stream(&self, number: u64) -> Arc<StreamLog> {
        locked(&self.streams).reopen(number, &self.replay)
    }

    /// Puts what another edge said unasked where its client comes back for it, unless a stream is
    /// open already.
    pub(crate) fn recall(&self, said: &[(u64, Bytes)]) {
        if !said.is_empty() {
            locked(&self.streams).recall(&self.replay, said);
        }
    }

    /// The session as the caller of a request that another edge sent, which can be cancelled by
    /// its id from now on. Its limits were seen to there.
    pub(crate) fn adopter(self: &Arc<Self>, id: &Id) -> Caller {
        self.caller(id, Isolation::Shared)
    }
}

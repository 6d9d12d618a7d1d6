//! The servers' catalogues, fetched by their hash and kept as long as a server has them.
//!
//! A catalogue that cannot be fetched leaves the one before in its place: what was listed stays
//! listed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use domain::{ProjectId, ServerId, TenantId};
use mcp::Catalogue;

/// How long a merge waits for one catalogue. It is asked for again later.
const FETCH_WAIT: Duration = Duration::from_secs(2);

/// All catalogues that are kept: one for each server.
pub(crate) struct Bodies {
    bus: Arc<dyn Bus>,
    kept: Mutex<HashMap<ServerId, Kept>>,
}

#[derive(Clone)]
struct Kept {
    project: ProjectId,
    hash: String,
    catalogue: Arc<Catalogue>,
}

/// What was found of a server's catalogue.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The newest that there is.
    pub(crate) catalogue: Option<Arc<Catalogue>>,
    /// Whether a newer one could not be fetched, and should be asked for again.
    pub(crate) is_missing: bool,
}

impl Bodies {
    pub(crate) fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus, kept: Mutex::default() }
    }

    /// The catalogue of that hash.
    pub(crate) async fn get(
        &self,
        project: &ProjectId,
        (tenant, server): (TenantId, ServerId),
        hash: &str,
    ) -> Found {
        let before = self.kept().get(&server).cloned();
        if let Some(kept) = before.as_ref().filter(|kept| kept.hash == hash) {
            return Found { catalogue: Some(Arc::clone(&kept.catalogue)), is_missing: false };
        }
        let last = before.map(|kept| kept.catalogue);
        let fetching = backplane::fetch_catalogue(self.bus.as_ref(), tenant, server, hash);
        let bytes = match tokio::time::timeout(FETCH_WAIT, fetching).await {
            Ok(Ok(Some(bytes))) => bytes,
            // It was replaced, of which an event tells, or it is not readable yet.
            Ok(Ok(None)) => {
                return Found { catalogue: last, is_missing: true };
            }
            Ok(Err(error)) => {
                tracing::warn!(%server, %error, "a catalogue cannot be fetched");
                return Found { catalogue: last, is_missing: true };
            }
            Err(_) => {
                tracing::warn!(%server, "a catalogue was not fetched in time");
                return Found { catalogue: last, is_missing: true };
            }
        };
        let Some(catalogue) = parse(server, &bytes) else {
            return Found { catalogue: last, is_missing: false };
        };
        let kept = Kept {
            project: project.clone(),
            hash: hash.to_owned(),
            catalogue: Arc::clone(&catalogue),
        };
        self.kept().insert(server, kept);
        Found { catalogue: Some(catalogue), is_missing: false }
    }

    /// Forgets the catalogues of servers that are gone.
    pub(crate) fn retain(&self, keep: impl Fn(&ProjectId, &ServerId) -> bool) {
        self.kept().retain(|server, kept| keep(&kept.project, server));
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<ServerId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(server: ServerId, bytes: &Bytes) -> Option<Arc<Catalogue>> {
    match Catalogue::from_json(bytes) {
        Ok(catalogue) => Some(Arc::new(catalogue)),
        Err(error) => {
            tracing::warn!(%server, %error, "a catalogue cannot be read");
            None
        }
    }
}

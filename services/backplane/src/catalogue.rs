//! The body of a catalogue, by its hash.

use std::time::Duration;

use bus::{Bus, BusError};
use bytes::Bytes;
use domain::{ServerId, TenantId};
use prost::Message;
use proto::internal::v1::{CatalogueReply, CatalogueRequest};

use crate::hedge::{self, Patience};
use crate::subject;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// When another control-plane is asked.
const PATIENCE: Patience = Patience { first: Duration::from_millis(500), growth: 1.5 };

/// Why a catalogue could not be asked for. Reading is harmless: ask again later.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FetchError {
    /// The bus, or nobody serves catalogues.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The answer cannot be read.
    #[error("the answer cannot be read")]
    Malformed(#[from] prost::DecodeError),
}

/// The catalogue of `server` whose SHA-256 is `hash` (lower-case hexadecimal). `None` when it is
/// not kept: it was replaced by a newer one, of which an event tells.
///
/// # Errors
/// [`FetchError`]
pub async fn fetch_catalogue(
    bus: &dyn Bus,
    tenant: TenantId,
    server: ServerId,
    hash: &str,
) -> Result<Option<Bytes>, FetchError> {
    let request = CatalogueRequest {
        tenant: tenant.to_string(),
        server: server.to_string(),
        hash: hash.to_owned(),
    };
    let payload = Bytes::from(request.encode_to_vec());
    let asked = hedge::request(bus, &subject::catalogue(), &payload, TIMEOUT, PATIENCE).await;
    let (answer, _) = asked?;
    let reply = CatalogueReply::decode(answer)?;
    Ok(reply.found.then_some(reply.catalogue))
}

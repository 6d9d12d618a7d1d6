//! Calls of stateless clients that wait for input, as other edges know them.

use std::sync::Arc;

use bus::MemoryError;
use bytes::Bytes;
use prost::Message as _;
use proto::internal::v1::ParkedCall;

use super::{MEMORY_WAIT, Roaming, digest_of, parked_key};

/// Where a call waits that is not here.
pub(crate) enum Waiting {
    /// At another edge, which is there.
    At(String),
    /// Nowhere any more but in this record, which nobody else has now.
    Taken(Box<ParkedCall>),
    /// Nobody knows of it.
    Unknown,
}

/// Tells other edges of a call that waits here. Whether they were told.
pub(crate) async fn share_parked(
    roaming: &Roaming,
    number: &[u8; 16],
    mut parked: ParkedCall,
) -> bool {
    roaming.instance.clone_into(&mut parked.home);
    write(roaming, number, &parked).await
}

/// The call is nobody's yet: it is for whoever is asked for it.
pub(crate) async fn give_up_parked(roaming: &Roaming, number: &[u8; 16], parked: ParkedCall) {
    let parked = ParkedCall { home: String::new(), ..parked };
    if !write(roaming, number, &parked).await {
        tracing::warn!("a call that waits was not given up");
    }
}

async fn write(roaming: &Roaming, number: &[u8; 16], parked: &ParkedCall) -> bool {
    let key = parked_key(&digest_of(number));
    let value = Bytes::from(parked.encode_to_vec());
    let writing = async {
        let before = roaming.memory.read(&key).await?.map(|(revision, _)| revision);
        roaming.memory.write(&key, value, before).await
    };
    match tokio::time::timeout(MEMORY_WAIT, writing).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a call that waits was not shared");
            false
        }
        Err(_) => false,
    }
}

/// The call was taken up here: nobody else finds it.
pub(crate) fn unshare_parked(roaming: &Arc<Roaming>, number: &[u8; 16]) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let (roaming, key) = (Arc::clone(roaming), parked_key(&digest_of(number)));
    runtime.spawn(async move {
        let Ok(_permit) = roaming.beside.acquire().await else { return };
        let _ = tokio::time::timeout(MEMORY_WAIT, roaming.memory.remove(&key)).await;
    });
}

/// Finds a call that does not wait here, and takes it if its edge is gone.
pub(crate) async fn take_parked(
    roaming: &Roaming,
    number: &[u8; 16],
) -> Result<Waiting, MemoryError> {
    let taking = take(roaming, number);
    let late = |_| MemoryError::Unavailable { detail: "timed out".to_owned() };
    tokio::time::timeout(2 * MEMORY_WAIT, taking).await.map_err(late)?
}

async fn take(roaming: &Roaming, number: &[u8; 16]) -> Result<Waiting, MemoryError> {
    let key = parked_key(&digest_of(number));
    let Some((revision, value)) = roaming.memory.read(&key).await? else {
        return Ok(Waiting::Unknown);
    };
    let Ok(parked) = ParkedCall::decode(value) else { return Ok(Waiting::Unknown) };
    if parked.home == roaming.instance {
        // It was taken up here just now.
        return Ok(Waiting::Unknown);
    }
    if !parked.home.is_empty() {
        match roaming.is_there(&parked.home).await {
            Some(true) => return Ok(Waiting::At(parked.home)),
            Some(false) => {}
            None => {
                let detail = "it cannot be seen which edges are there".to_owned();
                return Err(MemoryError::Unavailable { detail });
            }
        }
    }
    let mine = ParkedCall { home: roaming.instance.clone(), ..parked };
    let value = Bytes::from(mine.encode_to_vec());
    match roaming.memory.write(&key, value, Some(revision)).await {
        Ok(_) => Ok(Waiting::Taken(Box::new(mine))),
        // Somebody else was quicker.
        Err(MemoryError::Changed) => Ok(Waiting::Unknown),
        Err(error) => Err(error),
    }
}

//! Whose tasks are that keys made on servers which clients share, as all edges know it.

use std::sync::Arc;

use bus::Subject;
use bytes::Bytes;
use domain::{ApiKeyId, ServerId};
use uuid::Uuid;

use super::{MEMORY_WAIT, Roaming, digest_of, key};

/// How often a write is tried when another one came between.
const ATTEMPTS: usize = 3;

/// Tells other edges that `owner` made a task; they may not hear of it.
pub(crate) fn share_task(roaming: &Arc<Roaming>, server: ServerId, id: &str, owner: ApiKeyId) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let (roaming, key) = (Arc::clone(roaming), task_key(server, id));
    let value = Bytes::copy_from_slice(owner.as_uuid().as_bytes());
    runtime.spawn(async move {
        let Ok(_permit) = roaming.beside.acquire().await else { return };
        let sharing = async {
            for _ in 0..ATTEMPTS {
                let before = roaming.memory.read(&key).await.ok()?.map(|(revision, _)| revision);
                if roaming.memory.write(&key, value.clone(), before).await.is_ok() {
                    break;
                }
            }
            Some(())
        };
        let _ = tokio::time::timeout(MEMORY_WAIT, sharing).await;
    });
}

/// Who made a task, as far as edges know.
pub(crate) async fn shared_task(roaming: &Roaming, server: ServerId, id: &str) -> Option<ApiKeyId> {
    let key = task_key(server, id);
    let read = tokio::time::timeout(MEMORY_WAIT, roaming.memory.read(&key)).await;
    let (_, value) = read.ok()?.ok()??;
    Some(ApiKeyId::from_uuid(Uuid::from_slice(&value).ok()?))
}

fn task_key(server: ServerId, id: &str) -> Subject {
    let named = [server.as_uuid().as_bytes().as_slice(), id.as_bytes()].concat();
    key("task_owner", &digest_of(&named))
}

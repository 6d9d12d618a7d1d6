//! The key of the states that edges sign: one for all edges, so that a client may come back to
//! any of them. The control-plane makes it, edges read it.

use anyhow::{Context, Result};
use domain::TenantId;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::SecretBox;
use secrets::{SecretError, SecretPath, SecretStore, SecretValue};

/// Where it is, in the system's own tenant.
const PATH: &str = "edge/state-key";

/// Makes the key if there is none.
///
/// # Errors
/// When the store of secrets refuses.
pub(crate) async fn make_state_key(secrets: &dyn SecretStore) -> Result<()> {
    let mut bytes = vec![0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    // Of two control-planes that make it at the same time, both get the one that came first.
    secrets.create_once(&path()?, SecretValue::from(bytes)).await?;
    Ok(())
}

/// The key.
///
/// # Errors
/// When it was not made yet, the store of secrets refuses, or something else is there.
pub(crate) async fn state_key(secrets: &dyn SecretStore) -> Result<SecretBox<[u8; 32]>> {
    let value = match secrets.latest(&path()?).await {
        Ok((_, value)) => value,
        Err(SecretError::NotFound) => anyhow::bail!("no control-plane has made it yet"),
        Err(error) => return Err(error.into()),
    };
    let key = value.expose().try_into().context("it has another length")?;
    Ok(SecretBox::new(Box::new(key)))
}

fn path() -> Result<SecretPath> {
    Ok(SecretPath::new(TenantId::SYSTEM, PATH)?)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use secrets::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn all_edges_read_the_one_key_that_was_made_first() {
        let secrets = MemoryStore::new();
        assert!(state_key(&secrets).await.is_err());
        make_state_key(&secrets).await.unwrap();
        let key = async || *state_key(&secrets).await.unwrap().expose_secret();
        let first = key().await;
        // As the slower of two control-planes does.
        make_state_key(&secrets).await.unwrap();
        assert_eq!(key().await, first);
        // Who rotates it by hand gets the new one everywhere.
        secrets.put(&path().unwrap(), SecretValue::from(vec![1; 32])).await.unwrap();
        assert_eq!(key().await, [1; 32]);
    }
}

//! Values sealed by Vault's transit engine, with one key for each tenant.
//!
//! What is sealed opens only in its own place: tenant, path and version are authenticated with
//! it. Whoever deletes the tenant's key has erased all of its values, copies and backups too.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::TenantId;
use secrecy::zeroize::Zeroizing;
use vaultrs::api::transit::requests::{
    DecryptDataRequest, EncryptDataRequest, UpdateKeyConfigurationRequest,
};
use vaultrs::transit::{data, key};

use super::config::{TransitConfig, of_tenant};
use super::failure::Failure;
use super::sessions::Sessions;
use crate::SecretPath;

/// What the server says of a key that is not there.
const NO_KEY: &str = "encryption key not found";

/// One tenant's key.
struct Key {
    mount: String,
    name: String,
}

impl Key {
    fn of(config: &TransitConfig, tenant: TenantId) -> Self {
        Self {
            mount: of_tenant(&config.mount, tenant),
            name: format!("{}-{tenant}", config.key_prefix),
        }
    }
}

/// Seals base64 text. The server makes the tenant's key with the first value.
pub(super) async fn seal(
    sessions: &Sessions,
    config: &TransitConfig,
    path: &SecretPath,
    version: u32,
    value: Zeroizing<String>,
) -> Result<String, Failure> {
    let key = Arc::new((Key::of(config, path.tenant()), place(path, version), value));
    let request = move |session: Arc<super::login::Session>| {
        let key = Arc::clone(&key);
        async move {
            let (Key { mount, name }, place, value) = &*key;
            let mut options = EncryptDataRequest::builder();
            options.associated_data(place.as_str());
            data::encrypt(session.client(), mount, name, value, Some(&mut options)).await
        }
    };
    Ok(sessions.run(request).await?.ciphertext)
}

/// What does not open.
pub(super) enum NotOpened {
    /// The tenant's key is gone: it was erased.
    Erased,
    /// The sealed value is damaged, or was moved here.
    Tampered,
    /// The request failed.
    Failed(Failure),
}

/// Opens what [`seal`] made for this place.
pub(super) async fn open(
    sessions: &Sessions,
    config: &TransitConfig,
    path: &SecretPath,
    version: u32,
    sealed: String,
) -> Result<Zeroizing<String>, NotOpened> {
    let key = Arc::new((Key::of(config, path.tenant()), place(path, version), sealed));
    let request = move |session: Arc<super::login::Session>| {
        let key = Arc::clone(&key);
        async move {
            let (Key { mount, name }, place, sealed) = &*key;
            let mut options = DecryptDataRequest::builder();
            options.associated_data(place.as_str());
            data::decrypt(session.client(), mount, name, sealed, Some(&mut options)).await
        }
    };
    match sessions.run(request).await {
        Ok(opened) => Ok(Zeroizing::new(opened.plaintext)),
        Err(failure) if failure.says(NO_KEY) || failure == Failure::Absent => {
            Err(NotOpened::Erased)
        }
        Err(Failure::Refused { status: 400, .. }) => Err(NotOpened::Tampered),
        Err(failure) => Err(NotOpened::Failed(failure)),
    }
}

/// Deletes the tenant's key for good. There being none is no error.
pub(super) async fn erase(
    sessions: &Sessions,
    config: &TransitConfig,
    tenant: TenantId,
) -> Result<(), Failure> {
    let target = Arc::new(Key::of(config, tenant));
    let allowing = Arc::clone(&target);
    let allow = move |session: Arc<super::login::Session>| {
        let target = Arc::clone(&allowing);
        async move {
            let mut options = UpdateKeyConfigurationRequest::builder();
            options.deletion_allowed(true);
            let Key { mount, name } = &*target;
            key::update(session.client(), mount, name, Some(&mut options)).await
        }
    };
    let delete = move |session: Arc<super::login::Session>| {
        let target = Arc::clone(&target);
        async move { key::delete(session.client(), &target.mount, &target.name).await }
    };
    for outcome in [sessions.run(allow).await, sessions.run(delete).await] {
        match outcome {
            Ok(()) | Err(Failure::Absent) => {}
            Err(failure) if is_no_key(&failure) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn is_no_key(failure: &Failure) -> bool {
    failure.says("no existing key named") || failure.says("could not delete key; not found")
}

fn place(path: &SecretPath, version: u32) -> String {
    BASE64.encode(format!("{path}@{version}"))
}

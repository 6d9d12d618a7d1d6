//! One secret in the KV engine: its history, its values, one guarded write at a time.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use serde_json::{Value, json};
use vaultrs::api;
use vaultrs::api::kv2::requests::{
    ReadSecretRequest, SetSecretMetadataRequest, SetSecretRequestOptions,
};
use vaultrs::api::kv2::responses::{ReadSecretMetadataResponse, ReadSecretResponse};
use vaultrs::error::ClientError;
use vaultrs::kv2;

use super::config::of_tenant;
use super::failure::Failure;
use super::login::Session;
use super::sessions::Sessions;
use super::transit::{self, NotOpened};
use crate::store::MAX_VERSIONS;
use crate::{SecretError, SecretPath, SecretRef, SecretValue};

const PLAIN: &str = "base64";
const SEALED: &str = "sealed";
const NUMBER_ONLY: &str = "number_only";
/// What the server says of a write that came second.
const RACED: &str = "check-and-set";

/// One secret, whether or not it exists.
pub(crate) struct Entry<'a> {
    sessions: &'a Sessions,
    path: &'a SecretPath,
    /// Mount, and path in it.
    place: Arc<(String, String)>,
}

/// What was written under a number.
pub(crate) enum Held {
    /// A value.
    Value(SecretValue),
    /// Nothing but the number, by a migration that has not destroyed it yet.
    NumberOnly,
}

/// What a guarded write came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It stands.
    Done,
    /// Somebody else wrote that number.
    Raced,
}

/// Which numbers a secret has used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The highest, 0 if none was.
    pub(crate) last: u32,
    /// Those that were not destroyed, ascending, and whether somebody deleted them so that they
    /// could be restored, or set a time for it.
    pub(crate) kept: Vec<(u32, bool)>,
    /// How many versions the engine keeps; 0 for its own default.
    limit: u64,
}

impl<'a> Entry<'a> {
    pub(super) fn of(sessions: &'a Sessions, path: &'a SecretPath) -> Self {
        let config = sessions.config();
        let mount = of_tenant(&config.mount, path.tenant());
        let place = Arc::new((mount, format!("{}/{path}", config.prefix)));
        Self { sessions, path, place }
    }

    /// Its numbers; `None` if there never was one.
    pub(crate) async fn history(&self) -> Result<Option<History>, Failure> {
        let place = Arc::clone(&self.place);
        let request = move |session: Arc<Session>| {
            let place = Arc::clone(&place);
            async move { kv2::read_metadata(session.client(), &place.0, &place.1).await }
        };
        match self.sessions.run(request).await {
            Ok(metadata) => Ok(Some(History::from(metadata))),
            Err(Failure::Absent) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The numbers that resolve, ascending.
    pub(crate) async fn versions(&self) -> Result<Vec<u32>, SecretError> {
        let mut live = Vec::new();
        for (version, is_plain) in self.history().await?.unwrap_or_default().kept {
            // What carries a time of deletion may be gone or not: the server knows.
            if is_plain || !matches!(self.read(Some(version)).await, Err(SecretError::NotFound)) {
                live.push(version);
            }
        }
        Ok(live)
    }

    /// A value that resolves, and its number; the newest number unless another one is named.
    pub(crate) async fn resolve(
        &self,
        version: Option<u32>,
    ) -> Result<(SecretRef, SecretValue), SecretError> {
        match self.read(version).await? {
            (version, Held::Value(value)) => {
                Ok((SecretRef::held(self.path.clone(), version), value))
            }
            (_, Held::NumberOnly) => Err(SecretError::NotFound),
        }
    }

    /// What stands under a number; under the newest one unless another is named.
    pub(crate) async fn read(&self, version: Option<u32>) -> Result<(u32, Held), SecretError> {
        let place = Arc::clone(&self.place);
        let request = move |session: Arc<Session>| {
            let place = Arc::clone(&place);
            async move { read(&session, &place, version).await }
        };
        let mut answer = self.sessions.run(request).await?;
        let tampered = || SecretError::Tampered { path: self.path.clone() };
        let found = u32::try_from(answer.metadata.version).map_err(|_| tampered())?;
        let held = self.open(found, &mut answer.data).await?;
        Ok((found, held))
    }

    async fn open(&self, version: u32, data: &mut Value) -> Result<Held, SecretError> {
        let tampered = || SecretError::Tampered { path: self.path.clone() };
        if data.get(NUMBER_ONLY).is_some() {
            return Ok(Held::NumberOnly);
        }
        let mut take = |field: &str| match data.get_mut(field).map(Value::take) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let text = match (take(PLAIN), take(SEALED), &self.sessions.config().transit) {
            (Some(text), None, _) => Zeroizing::new(text),
            (None, Some(sealed), Some(config)) => {
                transit::open(self.sessions, config, self.path, version, sealed).await.map_err(
                    |why| match why {
                        NotOpened::Erased => SecretError::NotFound,
                        NotOpened::Tampered => tampered(),
                        NotOpened::Failed(failure) => failure.into(),
                    },
                )?
            }
            (None, Some(_), None) => {
                let detail = "the value is sealed by a transit engine, and none is configured";
                return Err(SecretError::Unavailable { detail: detail.to_owned() });
            }
            _ => return Err(tampered()),
        };
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| tampered())?;
        Ok(Held::Value(bytes.into()))
    }

    /// Writes `value` under the number after `history`.
    pub(crate) async fn write(
        &self,
        history: &History,
        value: &SecretValue,
    ) -> Result<Written, SecretError> {
        let version = history.next()?;
        let text = Zeroizing::new(BASE64.encode(value.expose()));
        let data = match &self.sessions.config().transit {
            None => json!({ PLAIN: text.as_str() }),
            Some(config) => {
                let sealed = transit::seal(self.sessions, config, self.path, version, text).await?;
                json!({ SEALED: sealed })
            }
        };
        self.set(history, data).await
    }

    /// Uses up the number after `history`, without a value.
    pub(crate) async fn write_number_only(
        &self,
        history: &History,
    ) -> Result<Written, SecretError> {
        history.next()?;
        self.set(history, json!({ NUMBER_ONLY: true })).await
    }

    async fn set(&self, history: &History, data: Value) -> Result<Written, SecretError> {
        if history.limit != MAX_VERSIONS as u64 {
            self.limit().await?;
        }
        let body = Arc::new((Arc::clone(&self.place), Body(data)));
        let cas = history.last;
        let request = move |session: Arc<Session>| {
            let body = Arc::clone(&body);
            async move {
                let (place, data) = &*body;
                let options = SetSecretRequestOptions { cas };
                let client = session.client();
                kv2::set_with_options(client, &place.0, &place.1, &data.0, options).await
            }
        };
        match self.sessions.run(request).await {
            Ok(_) => Ok(Written::Done),
            Err(failure) if failure.says(RACED) => Ok(Written::Raced),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Makes the engine keep as many versions as the port promises.
    async fn limit(&self) -> Result<(), Failure> {
        let place = Arc::clone(&self.place);
        let request = move |session: Arc<Session>| {
            let place = Arc::clone(&place);
            async move {
                let mut options = SetSecretMetadataRequest::builder();
                options.max_versions(MAX_VERSIONS as u64);
                kv2::set_metadata(session.client(), &place.0, &place.1, Some(&mut options)).await
            }
        };
        self.sessions.run(request).await
    }

    /// Destroys these numbers' values for good. The numbers stay used.
    pub(crate) async fn destroy(&self, versions: &[u32]) -> Result<(), Failure> {
        if versions.is_empty() {
            return Ok(());
        }
        let versions: Vec<u64> = versions.iter().copied().map(u64::from).collect();
        let place = Arc::clone(&self.place);
        let request = move |session: Arc<Session>| {
            let (place, versions) = (Arc::clone(&place), versions.clone());
            async move { kv2::destroy_versions(session.client(), &place.0, &place.1, versions).await }
        };
        self.sessions.run(request).await
    }
}

/// A body that is wiped after it was sent.
struct Body(Value);

impl Drop for Body {
    fn drop(&mut self) {
        for value in self.0.as_object_mut().into_iter().flat_map(|object| object.values_mut()) {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

async fn read(
    session: &Session,
    (mount, path): &(String, String),
    version: Option<u32>,
) -> Result<ReadSecretResponse, ClientError> {
    let mut request = ReadSecretRequest::builder();
    request.mount(mount).path(path).version(version.map(u64::from));
    // All fields are set, so there is none to miss.
    let request = request.build().map_err(|_| ClientError::ResponseEmptyError)?;
    api::exec_with_result(session.client(), request).await
}

impl History {
    /// The numbers once the next one was written.
    pub(crate) fn grown(self) -> Self {
        let last = self.last.saturating_add(1);
        let mut kept = self.kept;
        kept.push((last, true));
        Self { last, kept, limit: MAX_VERSIONS as u64 }
    }

    fn next(&self) -> Result<u32, SecretError> {
        let exhausted = || SecretError::Unavailable { detail: "no version is left".to_owned() };
        self.last.checked_add(1).ok_or_else(exhausted)
    }
}

impl From<ReadSecretMetadataResponse> for History {
    fn from(metadata: ReadSecretMetadataResponse) -> Self {
        let mut kept: Vec<(u32, bool)> = metadata
            .versions
            .iter()
            .filter(|(_, version)| !version.destroyed)
            .filter_map(|(number, version)| {
                Some((number.parse().ok()?, version.deletion_time.is_empty()))
            })
            .collect();
        kept.sort_unstable();
        // A number beyond ours is none that this store wrote: no next one can follow it.
        let last = u32::try_from(metadata.current_version).unwrap_or(u32::MAX);
        Self { last, kept, limit: metadata.max_versions }
    }
}

//! One login: the credential read anew, a token with its lease.

use std::time::Duration;

use secrecy::zeroize::{Zeroize, Zeroizing};
use tokio::time::Instant;
use vaultrs::api::AuthInfo;
use vaultrs::auth::{approle, kubernetes, oidc};
use vaultrs::client::{VaultClient, VaultClientSettings};

use super::config::{VaultConfig, VaultLogin};
use super::failure::Failure;
use super::quiet::quietly;

/// A token in use. Has no `Debug`; the token is wiped when it is dropped.
pub(super) struct Session {
    client: VaultClient,
    number: u64,
    /// What the login granted; none for a token that never ends.
    granted: Option<Duration>,
    renewable: bool,
    since: Instant,
}

impl Session {
    /// What makes requests with this token.
    pub(super) const fn client(&self) -> &VaultClient {
        &self.client
    }

    /// Tells this login from every other one of the store.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// For how long the login was granted; none without an end.
    pub(super) const fn granted(&self) -> Option<Duration> {
        self.granted
    }

    /// Whether the token can be renewed at all.
    pub(super) const fn is_renewable(&self) -> bool {
        self.renewable
    }

    /// When the login was made.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.client.middle.token.zeroize();
        self.client.settings.token.zeroize();
    }
}

/// The part of an answer to a login that is used; the rest is dropped here, and its token wiped.
struct Granted {
    token: Zeroizing<String>,
    lease: Duration,
    renewable: bool,
}

impl From<AuthInfo> for Granted {
    fn from(auth: AuthInfo) -> Self {
        Self {
            token: Zeroizing::new(auth.client_token),
            lease: Duration::from_secs(auth.lease_duration),
            renewable: auth.renewable,
        }
    }
}

/// Logs in once.
pub(super) async fn log_in(config: &VaultConfig, number: u64) -> Result<Session, Failure> {
    // Taken before the answer is there: the lease counts from some moment after it.
    let since = Instant::now();
    let granted = match &config.login {
        VaultLogin::Token(credential) => {
            let token = credential.read().await.map_err(|cause| Failure::Away { cause })?;
            look_up(config, token).await?
        }
        other => authenticate(config, other).await?,
    };
    Ok(Session {
        client: client(config, &granted.token)?,
        number,
        granted: (!granted.lease.is_zero()).then_some(granted.lease),
        renewable: granted.renewable,
        since,
    })
}

async fn authenticate(config: &VaultConfig, login: &VaultLogin) -> Result<Granted, Failure> {
    let anonymous = client(config, "")?;
    let read = async |credential: &super::config::Credential| {
        credential.read().await.map_err(|cause| Failure::Away { cause })
    };
    let answer = match login {
        VaultLogin::AppRole { mount, role_id, secret_id } => {
            let secret_id = read(secret_id).await?;
            quietly(approle::login(&anonymous, mount, role_id, &secret_id)).await
        }
        VaultLogin::Jwt { mount, role, jwt } => {
            let jwt = read(jwt).await?;
            quietly(oidc::login(&anonymous, mount, &jwt, role.clone())).await
        }
        VaultLogin::Kubernetes { mount, role, jwt } => {
            let jwt = read(jwt).await?;
            quietly(kubernetes::login(&anonymous, mount, role, &jwt)).await
        }
        VaultLogin::Token(_) => return Err(Failure::Absent),
    };
    answer.map(Granted::from).map_err(|error| match Failure::from(error) {
        Failure::Away { cause } => Failure::Away { cause },
        Failure::Refused { words, .. } => {
            Failure::Away { cause: format!("the login was refused: {words}") }
        }
        Failure::Absent => Failure::Away { cause: "there is no such way to log in".to_owned() },
    })
}

/// A token that was made by somebody else: what is left of it.
async fn look_up(config: &VaultConfig, token: Zeroizing<String>) -> Result<Granted, Failure> {
    let client = client(config, &token)?;
    match quietly(vaultrs::token::lookup_self(&client)).await {
        Ok(mut found) => {
            found.id.zeroize();
            let lease = Duration::from_secs(found.ttl);
            Ok(Granted { token, lease, renewable: found.renewable.unwrap_or(false) })
        }
        Err(error) => match Failure::from(error) {
            Failure::Refused { words, .. } => {
                Err(Failure::Away { cause: format!("the token was refused: {words}") })
            }
            other => Err(other),
        },
    }
}

fn client(config: &VaultConfig, token: &str) -> Result<VaultClient, Failure> {
    let unusable = |cause: String| Failure::Away { cause };
    let address = config.address.parse().map_err(|_| unusable("the address is no URL".into()))?;
    let ca_certs = config.ca.iter().map(|path| path.display().to_string()).collect();
    let settings = VaultClientSettings {
        address,
        ca_certs,
        identity: None,
        timeout: Some(config.timeout),
        token: token.to_owned(),
        verify: true,
        version: 1,
        wrapping: false,
        namespace: config.namespace.clone(),
        proxy: None,
    };
    super::quiet::quiet(|| VaultClient::new(settings))
        .map_err(|error| unusable(format!("cannot be reached: {error}")))
}

//! Where Vault is and how this process logs in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use domain::TenantId;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// Stands for the tenant's id in the name of a mount.
const TENANT: &str = "{tenant}";
/// Longest credential that is read from a file.
const MAX_CREDENTIAL_BYTES: u64 = 64 * 1024;
/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How to reach a server with Vault's API, and where secrets live in it.
///
/// A secret lives at `<mount>/data/<prefix>/<tenant>/<path>`. Where the name of a mount contains
/// `{tenant}`, each tenant has a mount of its own, and with `{tenant}/secret` a namespace of its
/// own.
#[derive(Clone, Debug)]
pub struct VaultConfig {
    /// The URL, such as `https://vault.internal:8200`.
    pub address: String,
    /// The namespace in which the mounts are; none for the root.
    pub namespace: Option<String>,
    /// Where the KV engine (version 2) is mounted.
    pub mount: String,
    /// The folder of all our secrets in that mount.
    pub prefix: String,
    /// Seals each value with a key of its tenant before it is stored, so that the deletion of
    /// that key erases the tenant. Values that were stored without it still resolve.
    pub transit: Option<TransitConfig>,
    /// How to log in.
    pub login: VaultLogin,
    /// A PEM file with the authorities to trust besides those of the system.
    pub ca: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
}

impl VaultConfig {
    /// Mount `secret`, prefix `mcp-orch`, no transit, 5 seconds a request.
    pub fn new(address: impl Into<String>, login: VaultLogin) -> Self {
        Self {
            address: address.into(),
            namespace: None,
            mount: "secret".to_owned(),
            prefix: "mcp-orch".to_owned(),
            transit: None,
            login,
            ca: None,
            timeout: Duration::from_secs(5),
        }
    }

    /// Says what of this cannot be used, before a request is made of it.
    pub(super) fn check(&self) -> Result<(), String> {
        let url = url::Url::parse(&self.address)
            .map_err(|error| format!("the address {:?} is no URL: {error}", self.address))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(format!("the address {:?} is no http or https URL", self.address));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the address must not carry credentials".to_owned());
        }
        let transit = self.transit.as_ref();
        let names = [
            ("mount", Some(&self.mount)),
            ("prefix", Some(&self.prefix)),
            ("namespace", self.namespace.as_ref()),
            ("transit mount", transit.map(|transit| &transit.mount)),
            ("transit key prefix", transit.map(|transit| &transit.key_prefix)),
            ("login mount", self.login.mount()),
        ];
        for (what, name) in names {
            let fits = |name: &String| is_name(&name.replace(TENANT, "tenant"));
            if let Some(name) = name.filter(|name| !fits(name)) {
                return Err(format!("the {what} {name:?} is none: segments of [A-Za-z0-9_.-] are"));
            }
        }
        Ok(())
    }
}

/// The transit engine.
#[derive(Clone, Debug)]
pub struct TransitConfig {
    /// Where it is mounted; may contain `{tenant}`.
    pub mount: String,
    /// A tenant's key is named `<key_prefix>-<tenant>`.
    pub key_prefix: String,
}

impl Default for TransitConfig {
    fn default() -> Self {
        Self { mount: "transit".to_owned(), key_prefix: "mcp-orch".to_owned() }
    }
}

/// How to log in. What proves the identity is read anew at each login, so that a file which is
/// rotated needs no restart.
#[derive(Clone, Debug)]
pub enum VaultLogin {
    /// A role id and a secret id. A file of a secret id may be replaced after each login, as
    /// single-use ids need.
    AppRole {
        /// Where the method is mounted, usually `approle`.
        mount: String,
        /// Which role; no secret.
        role_id: String,
        /// The secret id.
        secret_id: Credential,
    },
    /// A JWT of an issuer that Vault trusts.
    Jwt {
        /// Where the method is mounted, usually `jwt`.
        mount: String,
        /// Which role; none takes the method's default.
        role: Option<String>,
        /// The token.
        jwt: Credential,
    },
    /// The token of a Kubernetes service account.
    Kubernetes {
        /// Where the method is mounted, usually `kubernetes`.
        mount: String,
        /// Which role.
        role: String,
        /// The token, usually [`Credential::service_account`].
        jwt: Credential,
    },
    /// A token made by somebody else, who also replaces it when it ends.
    Token(Credential),
}

impl VaultLogin {
    fn mount(&self) -> Option<&String> {
        match self {
            Self::AppRole { mount, .. }
            | Self::Jwt { mount, .. }
            | Self::Kubernetes { mount, .. } => Some(mount),
            Self::Token(_) => None,
        }
    }
}

/// What proves an identity. `Debug` shows where it is, never what it is.
#[derive(Clone)]
pub enum Credential {
    /// The value itself.
    Value(SecretString),
    /// A file that holds it; blanks and line ends around it do not count.
    File(PathBuf),
}

impl Credential {
    /// The token of the service account of the pod in which this process runs.
    pub fn service_account() -> Self {
        Self::File(SERVICE_ACCOUNT_TOKEN.into())
    }

    /// The value as it is now.
    ///
    /// # Errors
    /// In words that name the file: it cannot be read, is empty, too large or no plain text.
    pub(super) async fn read(&self) -> Result<Zeroizing<String>, String> {
        match self {
            Self::Value(value) => plain(value.expose_secret()).map_err(str::to_owned),
            Self::File(path) => {
                let failed = |why: &str| format!("the credential in {}: {why}", path.display());
                let size = tokio::fs::metadata(path).await.map_err(|e| failed(&e.to_string()))?;
                if size.len() > MAX_CREDENTIAL_BYTES {
                    return Err(failed("the file is too large"));
                }
                let read = tokio::fs::read_to_string(path).await;
                let text = Zeroizing::new(read.map_err(|e| failed(&e.to_string()))?);
                plain(&text).map_err(failed)
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(redacted)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The text between blanks, if it can stand in a header.
fn plain(text: &str) -> Result<Zeroizing<String>, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it is not one word of plain text");
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// The name of a mount for one tenant.
pub(super) fn of_tenant(mount: &str, tenant: TenantId) -> String {
    mount.replace(TENANT, &tenant.to_string())
}

fn is_name(name: &str) -> bool {
    name.len() <= 200
        && name.split('/').all(|segment| {
            !segment.is_empty()
                && !matches!(segment, "." | "..")
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> VaultConfig {
        let token = Credential::Value("hvs.canary".to_owned().into());
        VaultConfig::new("https://vault.internal:8200", VaultLogin::Token(token))
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert_eq!(config().check(), Ok(()));
        type Spoil = fn(&mut VaultConfig);
        let cases: [(&str, Spoil); 8] = [
            ("address", |c| c.address = "vault:8200".to_owned()),
            ("address", |c| c.address = "file:///etc".to_owned()),
            ("credentials", |c| c.address = "https://a:b@vault".to_owned()),
            ("mount", |c| c.mount = "a//b".to_owned()),
            ("prefix", |c| c.prefix = "a/../b".to_owned()),
            ("namespace", |c| c.namespace = Some("a\nb".to_owned())),
            ("transit mount", |c| {
                c.transit = Some(TransitConfig { mount: String::new(), ..Default::default() });
            }),
            ("login mount", |c| {
                let jwt = Credential::service_account();
                c.login = VaultLogin::Jwt { mount: "a b".to_owned(), role: None, jwt };
            }),
        ];
        for (named, spoil) in cases {
            let mut config = config();
            spoil(&mut config);
            let refusal = config.check().unwrap_err();
            assert!(refusal.contains(named), "{refusal}");
            assert!(!refusal.contains("a:b"), "{refusal}");
        }
    }

    #[test]
    fn a_mount_may_be_of_a_tenant() {
        let mut config = config();
        config.mount = "org-{tenant}/secret".to_owned();
        assert_eq!(config.check(), Ok(()));
        let mount = of_tenant(&config.mount, TenantId::SYSTEM);
        assert_eq!(mount, "org-00000000-0000-0000-0000-000000000000/secret");
    }

    #[test]
    fn debug_shows_no_credential() {
        let shown = format!("{:?} {:#?}", config(), config());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[tokio::test]
    async fn a_credential_is_one_word() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret-id");
        let file = Credential::File(path.clone());
        assert!(file.read().await.unwrap_err().contains("secret-id"));
        for (text, good) in [
            (" word\n", true),
            ("", false),
            ("\n", false),
            ("two words", false),
            ("a\nb", false),
            ("\u{7f}", false),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = file.read().await;
            assert_eq!(
                read.as_deref().map(String::as_str).ok(),
                good.then_some("word"),
                "{text:?}"
            );
        }
        std::fs::write(&path, "x".repeat(64 * 1024 + 1)).unwrap();
        assert!(file.read().await.unwrap_err().contains("too large"));
    }
}

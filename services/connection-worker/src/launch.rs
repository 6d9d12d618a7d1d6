//! The sealed values that go with a server's configuration: what is secret of how to reach it.
//!
//! What always holds: nothing here has a `Debug` or `Display`, so that no value reaches a log by
//! accident; what a [`Masker`] is given is everything that is not shown elsewhere anyway.

use std::collections::BTreeMap;

use domain::server::{ServerConfig, Transport};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use secrets::SecretValue;
use serde::Deserialize;
use url::Url;

use crate::mask::{Masker, TooManySecrets};

/// The shortest value that is masked in a catalogue, in bytes.
const CATALOGUE_SECRET_BYTES: usize = 16;

/// The sealed bundle of one version of a server.
#[derive(Default)]
pub(crate) struct LaunchBundle {
    /// stdio: all arguments.
    pub(crate) args: Vec<SecretString>,
    /// stdio: the environment by name.
    pub(crate) env: BTreeMap<String, SecretString>,
    /// HTTP: the headers by name.
    pub(crate) headers: BTreeMap<String, SecretString>,
    /// HTTP: the whole URL, where it has more than what is shown.
    pub(crate) url: Option<SecretString>,
    /// HTTP: the proxy's whole URL, where it has more than what is shown.
    pub(crate) proxy: Option<SecretString>,
}

/// What was sealed is no launch bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed launch values cannot be read: save the server again")]
pub(crate) struct MalformedBundle;

/// The form in which the bundle is sealed; a missing member is an empty one.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Sealed {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    url: Option<String>,
    proxy: Option<String>,
}

impl LaunchBundle {
    /// Reads the sealed form.
    ///
    /// # Errors
    /// [`MalformedBundle`]; it carries nothing of the value.
    pub(crate) fn parse(value: &SecretValue) -> Result<Self, MalformedBundle> {
        let sealed: Sealed = serde_json::from_slice(value.expose()).map_err(|_| MalformedBundle)?;
        let wrap = |map: BTreeMap<String, String>| {
            map.into_iter().map(|(name, value)| (name, value.into())).collect()
        };
        let some = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Into::into);
        Ok(Self {
            args: sealed.args.into_iter().map(Into::into).collect(),
            env: wrap(sealed.env),
            headers: wrap(sealed.headers),
            url: some(sealed.url),
            proxy: some(sealed.proxy),
        })
    }

    /// What keeps the values of this bundle out of texts, given what `config` shows of them.
    ///
    /// # Errors
    /// [`TooManySecrets`].
    pub(crate) fn masker(&self, config: &ServerConfig) -> Result<Masker, TooManySecrets> {
        Masker::new(self.secrets(config).iter().map(String::as_str))
    }

    /// As [`masker`](Self::masker), for what a program reads: there a word that happens to be a
    /// short value (a log level, a mode) must stay.
    ///
    /// # Errors
    /// [`TooManySecrets`].
    pub(crate) fn catalogue_masker(&self, config: &ServerConfig) -> Result<Masker, TooManySecrets> {
        let secrets = self.secrets(config);
        Masker::of_length(secrets.iter().map(String::as_str), CATALOGUE_SECRET_BYTES)
    }

    fn secrets(&self, config: &ServerConfig) -> Vec<String> {
        let mut secrets: Vec<String> = Vec::new();
        let shown = match &config.transport {
            Transport::Stdio { shown_args, .. } => shown_args.as_slice(),
            _ => &[],
        };
        for (index, arg) in self.args.iter().enumerate() {
            let arg = arg.expose_secret();
            secrets.extend(hidden_part(arg, shown.get(index).map(String::as_str)));
        }
        secrets.extend(self.env.values().map(|value| value.expose_secret().to_owned()));
        for value in self.headers.values() {
            secrets.extend(header_secrets(value.expose_secret()));
        }
        for url in self.url.iter().chain(&self.proxy) {
            secrets.extend(url_secrets(url.expose_secret()));
        }
        secrets
    }
}

/// What of an argument is not shown: all of it, or what follows the shown beginning of `--a=…`.
fn hidden_part(arg: &str, shown: Option<&str>) -> Option<String> {
    let shown = shown.unwrap_or_default();
    if arg == shown {
        return None;
    }
    let start = shown.strip_suffix('…').unwrap_or_default();
    Some(arg.strip_prefix(start).unwrap_or(arg).to_owned())
}

/// A header's value, what follows its scheme, and the user and password of `Basic`.
fn header_secrets(value: &str) -> Vec<String> {
    let mut secrets = vec![value.to_owned()];
    let Some((scheme, credentials)) = value.trim().split_once(' ') else {
        return secrets;
    };
    let credentials = credentials.trim();
    secrets.push(credentials.to_owned());
    if scheme.eq_ignore_ascii_case("basic")
        && let Some(pair) = decode_base64(credentials)
    {
        secrets.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
        secrets.push(pair);
    }
    secrets
}

fn decode_base64(text: &str) -> Option<String> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
    String::from_utf8(bytes).ok()
}

/// The user info, the values of the query and the fragment of a URL, as they are written and as
/// they are meant.
fn url_secrets(text: &str) -> Vec<String> {
    let Ok(url) = Url::parse(text) else {
        return vec![text.to_owned()];
    };
    let mut written: Vec<&str> = vec![url.username()];
    written.extend(url.password());
    written.extend(url.fragment());
    for pair in url.query().unwrap_or_default().split('&') {
        written.push(pair.split_once('=').map_or(pair, |(_, value)| value));
    }
    let mut secrets: Vec<String> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
    if let Some(password) = url.password() {
        secrets.push(format!("{}:{password}", url.username()));
    }
    for text in written {
        secrets.push(text.to_owned());
        secrets.push(percent_decode_str(text).decode_utf8_lossy().into_owned());
    }
    secrets
}

#[cfg(test)]
mod tests {
    use domain::server::Isolation;

    use super::*;

    fn bundle(json: &str) -> LaunchBundle {
        let parsed = LaunchBundle::parse(&SecretValue::from(json.to_owned()));
        parsed.unwrap_or_else(|error| panic!("{error}"))
    }

    fn config(shown_args: &[&str]) -> ServerConfig {
        ServerConfig {
            transport: Transport::Stdio {
                command: "node".to_owned(),
                shown_args: shown_args.iter().map(|arg| (*arg).to_owned()).collect(),
                env_names: vec![],
                cwd: None,
            },
            launch: None,
            timeout_s: 30,
            read_timeout_s: None,
            auto_approve: vec![],
            isolation: Isolation::default(),
            placement_labels: Default::default(),
        }
    }

    #[test]
    fn missing_members_are_empty_and_anything_else_is_refused() {
        let parsed = bundle(r#"{"env":{"A":"b"},"later":1}"#);
        assert_eq!((parsed.args.len(), parsed.env.len(), parsed.url.is_some()), (0, 1, false));
        let wrong = SecretValue::from("canary-secret".to_owned());
        let error = LaunchBundle::parse(&wrong).err().unwrap().to_string();
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn arguments_that_are_shown_are_no_secrets() {
        let bundle = bundle(
            r#"{"args":["server-everything","--token=canary-one","canary-two","--verbose"]}"#,
        );
        let config = config(&["server-everything", "--token=…", "…", "--verbose"]);
        let masker = bundle.masker(&config).unwrap();
        assert_eq!(
            masker.mask_text("server-everything --token=canary-one canary-two --verbose"),
            "server-everything --token=*** *** --verbose"
        );
    }

    #[test]
    fn every_secret_part_of_headers_and_urls_is_masked() {
        let bundle = bundle(
            r#"{"headers":{"Authorization":"Bearer canary-bearer","X":"Basic dXNlcjpjYW5hcnktYmFzaWM="},
                "url":"https://someone:canary%2Dpass@host.example/path?key=canary%20query#f",
                "proxy":"http://u:canary-proxy@proxy.example:3128"}"#,
        );
        let masker = bundle.masker(&config(&[])).unwrap();
        for secret in [
            "canary-bearer",
            "canary-basic",
            "user:canary-basic",
            "dXNlcjpjYW5hcnktYmFzaWM=",
            "canary-pass",
            "canary%2Dpass",
            "canary query",
            "canary+query",
            "canary-proxy",
        ] {
            let text = masker.mask_text(secret).into_owned();
            assert!(text.contains("***") && !text.contains("canary"), "{secret} → {text}");
        }
        assert_eq!(masker.mask_text("https://host.example/path"), "https://host.example/path");
    }
}

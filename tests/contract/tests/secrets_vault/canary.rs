//! No value, token or credential in a log, an error or a `Debug`, whatever happens.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::secrets::{path, value};
use fixtures::vault::Vault;
use secrets::{SecretStore, VaultLogin, VaultStore};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::{Seat, credential, until};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn nothing_secret_is_ever_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    // For the whole process, as requests are also served by tasks of the HTTP client.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let mut seat = Seat::on(Vault::own().unwrap());
    seat.config.timeout = Duration::from_secs(2);
    let transit = seat.vault.transit().unwrap();
    let policy = format!(
        "path \"{}/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}
         path \"{transit}/*\" {{ capabilities = [\"create\", \"update\"] }}",
        seat.config.mount
    );
    let policy = seat.vault.policy(&policy).unwrap();
    let role = seat.vault.app_role(&policy, &json!({"token_ttl": "60s"})).unwrap();
    let login = VaultLogin::AppRole {
        mount: "approle".to_owned(),
        role_id: role.role_id.clone(),
        secret_id: credential(&role.secret_id),
    };
    let mut shown = format!("{:?}", seat.config(login.clone()));

    let canary = "canary-7f3a-91be-4420";
    let mut sealing = seat.config(login.clone());
    sealing.transit = Some(secrets::TransitConfig { mount: transit.clone(), ..Default::default() });
    for config in [seat.config(login), sealing] {
        let store = VaultStore::connect(config).await.unwrap();
        let reference = store.put(&path("a"), value(canary)).await;
        shown += &format!("{store:?} {reference:?}");
        let reference = reference.unwrap();
        shown +=
            &format!("{:?} {:?}", store.resolve(&reference).await, store.latest(&path("a")).await);
        shown += &format!("{:?}", store.create_once(&path("a"), value(canary)).await);
        let at = format!("{}/data/mcp-orch/{}", seat.config.mount, path("a"));
        seat.vault.request("POST", &at, &json!({"data": {"base64": canary, "x": canary}})).unwrap();
        let damaged = store.latest(&path("a")).await.unwrap_err();
        shown += &format!("{damaged} {damaged:?}");
        seat.vault.revoke_logins(&role.name).unwrap();
        shown += &format!("{:?}", store.resolve(&reference).await);
        seat.vault.pause().unwrap();
        let silent = store.put(&path("a"), value(canary)).await.unwrap_err();
        shown += &format!("{silent} {silent:?}");
        seat.vault.resume().unwrap();
        until("an answer", || async { store.resolve(&reference).await.is_ok() }).await;
        store.delete(&path("a")).await.unwrap_or_else(|error| shown += &error.to_string());
    }
    let wrong = VaultLogin::Token(credential("hvs.canary-token"));
    let refusal = VaultStore::connect(seat.config(wrong)).await.unwrap_err();
    shown += &format!("{refusal} {refusal:?}");

    let logged = log.text();
    assert!(logged.contains("logged in to vault"), "the log is seen at all: {logged}");
    assert!(logged.contains("vault is away"), "{logged}");
    let secrets = [
        canary.to_owned(),
        STANDARD.encode(canary),
        role.secret_id,
        "canary-token".to_owned(),
        "99, 97, 110, 97, 114, 121".to_owned(),
        "hvs.".to_owned(),
    ];
    for secret in &secrets {
        for text in [&shown, &logged] {
            assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
        }
    }
    assert!(!logged.contains("vaultrs") && !logged.contains("rustify"), "{logged}");
}

//! Ways to log in, and how a login is kept.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use contract::secrets::{path, value};
use fixtures::vault::{AppRole, Vault};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use secrets::{
    Credential, SecretError, SecretStore, VaultConfig, VaultLogin, VaultStanding, VaultStore,
};
use serde_json::{Value, json};

use super::{Seat, credential, until};

/// Everything in the mount of a test.
fn policy(seat: &Seat) -> String {
    let mount = &seat.config.mount;
    let all = r#"{ capabilities = ["create", "read", "update", "list"] }"#;
    let own = r#"path "auth/token/lookup-self" { capabilities = ["read"] }
                 path "auth/token/renew-self" { capabilities = ["update"] }"#;
    seat.vault.policy(&format!("path \"{mount}/*\" {all}\n{own}")).unwrap()
}

fn app_role(role: &AppRole, secret_id: Credential) -> VaultLogin {
    let role_id = role.role_id.clone();
    VaultLogin::AppRole { mount: "approle".to_owned(), role_id, secret_id }
}

async fn check(store: &VaultStore) {
    let reference = store.put(&path("check"), value("hunter2")).await.unwrap();
    assert_eq!(store.resolve(&reference).await, Ok(value("hunter2")));
}

#[tokio::test]
async fn a_token_of_seconds_is_renewed_for_as_long_as_the_store_lives() {
    let seat = Seat::new();
    let policy = policy(&seat);
    let token = seat.vault.child_token(&[&policy], &json!({"ttl": "4s"})).unwrap();
    let store = seat.store_as(VaultLogin::Token(credential(&token))).await;
    // Nobody can log in anew with a token: once it ended, it is over.
    let expires = || {
        let body = json!({ "token": token });
        let found = seat.vault.request("POST", "auth/token/lookup", &body).unwrap();
        found["data"]["expire_time"].as_str().unwrap().to_owned()
    };
    for _ in 0..3 {
        let before = expires();
        until("another renewal", || async { expires() != before }).await;
    }
    check(&store).await;
    drop(store);
    let body = json!({ "token": token });
    let is_over = || seat.vault.request("POST", "auth/token/lookup", &body).is_err();
    until("the end of a token that nobody renews", || async { is_over() }).await;
}

#[tokio::test]
async fn a_single_use_secret_id_is_read_from_its_file_for_each_login() {
    let seat = Seat::new();
    let options = json!({"secret_id_num_uses": 1, "token_ttl": "4s", "token_max_ttl": "4s"});
    let role = seat.vault.app_role(&policy(&seat), &options).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret-id");
    fs::write(&file, format!("{}\n", role.secret_id)).unwrap();
    let store = seat.store_as(app_role(&role, Credential::File(file.clone()))).await;
    check(&store).await;
    let ids = format!("auth/approle/role/{}/secret-id", role.name);
    let is_used_up = || seat.vault.request("LIST", &ids, &Value::Null).is_err();
    assert!(is_used_up());
    // The token cannot live longer than this: each of these is a login.
    for _ in 0..2 {
        fs::write(&file, seat.vault.secret_id(&role.name).unwrap()).unwrap();
        until("a login with the next secret id", || async { is_used_up() }).await;
        check(&store).await;
    }
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once_for_all_who_need_it() {
    let seat = Seat::new();
    let role = seat.vault.app_role(&policy(&seat), &json!({"token_ttl": "1h"})).unwrap();
    let store = seat.store_as(app_role(&role, credential(&role.secret_id))).await;
    let reference = store.put(&path("a"), value("hunter2")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(seat.vault.revoke_logins(&role.name).unwrap(), 1);
        let requests = (0..20).map(|_| {
            let (store, reference) = (store.clone(), reference.clone());
            tokio::spawn(async move { store.resolve(&reference).await })
        });
        for request in requests.collect::<Vec<_>>() {
            assert_eq!(request.await.unwrap(), Ok(value("hunter2")));
        }
        assert_eq!(seat.vault.logins(&role.name).unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_lost_login_is_said_with_its_cause_and_comes_back() {
    let seat = Seat::new();
    let role = seat.vault.app_role(&policy(&seat), &json!({"token_ttl": "1h"})).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret-id");
    fs::write(&file, &role.secret_id).unwrap();
    let store = seat.store_as(app_role(&role, Credential::File(file.clone()))).await;
    check(&store).await;
    fs::write(&file, "no-such-secret-id").unwrap();
    seat.vault.revoke_logins(&role.name).unwrap();
    for _ in 0..3 {
        let Err(SecretError::Unavailable { detail }) = store.latest(&path("check")).await else {
            panic!("without a login nothing resolves");
        };
        assert!(detail.contains("the login was refused"), "{detail}");
        assert!(!detail.contains("no-such-secret-id"), "{detail}");
    }
    // It stays so for as long as nobody can log in, and is seen without a request.
    let standing = store.standing();
    assert!(matches!(*standing.borrow(), VaultStanding::Away { .. }));
    fs::write(&file, &role.secret_id).unwrap();
    until("a login", || async { *standing.borrow() == VaultStanding::Serving }).await;
    check(&store).await;
}

#[tokio::test]
async fn what_cannot_log_in_is_said_at_once() {
    let seat = Seat::new();
    let role = seat.vault.app_role(&policy(&seat), &json!({})).unwrap();
    let wrong = [
        (app_role(&role, credential("canary-secret-id")), "the login was refused"),
        (VaultLogin::Token(credential("canary-token")), "the token was refused"),
        (VaultLogin::Token(Credential::File("/no/such/token".into())), "/no/such/token"),
        (jwt("never-mounted", None, credential("canary.a.b")), "login was refused"),
    ];
    for (login, said) in wrong {
        let refusal = VaultStore::connect(seat.config(login)).await.unwrap_err().to_string();
        assert!(refusal.contains(said), "{refusal}");
        assert!(!refusal.contains("canary"), "{refusal}");
    }
    let nobody = VaultConfig {
        address: format!("http://127.0.0.1:{}", fixtures::process::free_port().unwrap()),
        ..seat.config.clone()
    };
    let start = Instant::now();
    let refusal = VaultStore::connect(nobody).await.unwrap_err().to_string();
    assert!(refusal.contains("refused"), "{refusal}");
    assert!(start.elapsed() < Duration::from_secs(2));
    let unusable = VaultConfig { address: "vault".to_owned(), ..seat.config.clone() };
    let refusal = VaultStore::connect(unusable).await.unwrap_err().to_string();
    assert!(refusal.contains("is no URL"), "{refusal}");
}

fn jwt(mount: &str, role: Option<String>, jwt: Credential) -> VaultLogin {
    VaultLogin::Jwt { mount: mount.to_owned(), role, jwt }
}

/// Somebody whom Vault trusts to say who is who.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
    }

    /// The public key as PEM: a fixed head for this curve, and the point.
    fn pem(&self) -> String {
        const HEAD: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let key = STANDARD.encode([HEAD.as_slice(), self.0.public_key().as_ref()].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
    }

    /// A token that ends in so many seconds, or ended so many ago.
    fn token(&self, seconds: i64) -> String {
        let now = fs::metadata("/proc/self").unwrap().modified().unwrap();
        let now_s = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let claims = json!({
            "iss": "test", "sub": "system:serviceaccount:mcp-orch:worker", "aud": "vault",
            "iat": now_s - 7_200, "nbf": now_s - 7_200, "exp": now_s + seconds,
        });
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let text = format!("{}.{}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(&claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// Logs in with a file of a JWT that is replaced, by what `login` makes of mount, role and file.
async fn log_in_by_jwt(seat: &Seat, mount: &str, login: impl Fn(String, Credential) -> VaultLogin) {
    let issuer = Issuer::new();
    let role = seat.vault.jwt_role(mount, &issuer.pem(), &policy(seat)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let write = |file: &Path, token: &str| fs::write(file, token).unwrap();

    let expired = issuer.token(-3_600);
    write(&file, &expired);
    let config = seat.config(login(role.clone(), Credential::File(file.clone())));
    let refusal = VaultStore::connect(config.clone()).await.unwrap_err().to_string();
    assert!(refusal.contains("the login was refused"), "{refusal}");
    assert!(!refusal.contains(&expired[..40]), "{refusal}");

    write(&file, &issuer.token(3_600));
    let store = VaultStore::connect(config).await.unwrap();
    check(&store).await;
    // The next login takes what the file holds by then.
    write(&file, &Issuer::new().token(3_600));
    assert_eq!(seat.vault.revoke_logins(&role).unwrap(), 1);
    assert!(store.latest(&path("check")).await.is_err(), "a stranger signed that");
    write(&file, &issuer.token(3_600));
    until("a login", || async { store.latest(&path("check")).await.is_ok() }).await;
}

#[tokio::test]
async fn a_jwt_logs_in() {
    let seat = Seat::new();
    let mount = seat.vault.unique("jwt");
    log_in_by_jwt(&seat, &mount, |role, file| jwt(&mount, Some(role), file)).await;
}

/// No API server runs in a test: the JWT method stands at the place of the Kubernetes one. It
/// takes the same request, and checks the same token.
#[tokio::test]
async fn a_service_account_logs_in_at_the_path_of_kubernetes() {
    let seat = Seat::on(Vault::own().unwrap());
    log_in_by_jwt(&seat, "kubernetes", |role, jwt| VaultLogin::Kubernetes {
        mount: "kubernetes".to_owned(),
        role,
        jwt,
    })
    .await;
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_alone() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::with_tls(directory.path()).unwrap();
    let login = VaultLogin::Token(credential(vault.token()));
    let mut config = VaultConfig::new(vault.address(), login);
    let refusal = VaultStore::connect(config.clone()).await.unwrap_err().to_string();
    assert!(refusal.to_lowercase().contains("certificate"), "{refusal}");
    let files = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    let ca = files.into_iter().find(|file| file.to_string_lossy().contains("ca.pem")).unwrap();
    config.ca = Some(ca);
    // A server in development mode has the KV engine at this place.
    config.mount = "secret".to_owned();
    check(&VaultStore::connect(config.clone()).await.unwrap()).await;
    config.ca = Some(directory.path().join("none.pem"));
    let refusal = VaultStore::connect(config).await.unwrap_err().to_string();
    assert!(refusal.contains("none.pem"), "{refusal}");
}

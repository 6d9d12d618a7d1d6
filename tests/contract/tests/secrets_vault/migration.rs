//! From sealed files to Vault.

use std::fs;
use std::path::PathBuf;

use contract::secrets::{path, tenant, value};
use domain::TenantId;
use secrets::{
    ListError, LocalStore, MAX_VERSIONS, MigrateError, Report, SecretError, SecretPath, SecretRef,
    SecretStore, VaultStore, migrate,
};
use serde_json::json;
use tempfile::TempDir;

use super::Seat;

struct Local {
    directory: TempDir,
    store: LocalStore,
}

impl Local {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(directory.path()).unwrap();
        Self { directory, store }
    }

    async fn put(&self, at: &SecretPath, texts: &[&str]) {
        for text in texts {
            self.store.put(at, value(text)).await.unwrap();
        }
    }

    /// As an older version of the store left it.
    fn forget_paths(&self) -> Vec<PathBuf> {
        let tenants = fs::read_dir(self.directory.path().join("secrets")).unwrap();
        let tenants = tenants.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        let shelves = tenants.flat_map(|tenant| fs::read_dir(tenant).unwrap());
        let names: Vec<PathBuf> = shelves.map(|shelf| shelf.unwrap().path().join("path")).collect();
        names.iter().for_each(|name| fs::remove_file(name).unwrap());
        names
    }
}

fn at(tenant: TenantId, text: &str) -> SecretPath {
    SecretPath::new(tenant, text).unwrap()
}

/// Both sides give the same for each number that was ever used.
async fn check_same(local: &LocalStore, vault: &VaultStore, at: &SecretPath, last: u32) {
    for version in 1..=last + 1 {
        let reference = SecretRef::of(at.clone(), version).unwrap();
        let (here, there) = (local.resolve(&reference).await, vault.resolve(&reference).await);
        assert_eq!(here, there, "{reference}");
    }
    assert_eq!(local.versions(at).await, vault.versions(at).await, "{at}");
}

#[tokio::test]
async fn every_reference_keeps_its_meaning() {
    for seat in [Seat::new(), Seat::with_transit()] {
        let (local, vault) = (Local::new(), seat.store().await);
        let plain = at(tenant(1), "servers/1/launch");
        let system = at(TenantId::SYSTEM, "identity/token-key");
        let elsewhere = at(tenant(2), "servers/1/launch");
        let deleted = at(tenant(1), "deleted");
        let again = at(tenant(1), "deleted-and-put");
        local.put(&plain, &["one", "two", "three"]).await;
        local.put(&system, &["key"]).await;
        local.put(&elsewhere, &["other"]).await;
        local.put(&deleted, &["a", "b"]).await;
        local.store.delete(&deleted).await.unwrap();
        local.put(&again, &["a", "b"]).await;
        local.store.delete(&again).await.unwrap();
        local.put(&again, &["c", "d"]).await;

        let report = migrate(&local.store, &vault).await.unwrap();
        assert_eq!(report, Report { paths: 5, written: 7, found: 0, numbers_only: 4 });
        for (at, last) in [(&plain, 3), (&system, 1), (&elsewhere, 1), (&deleted, 2), (&again, 4)] {
            check_same(&local.store, &vault, at, last).await;
        }
        // A second run finds everything.
        let report = migrate(&local.store, &vault).await.unwrap();
        assert_eq!(report, Report { paths: 5, written: 0, found: 7, numbers_only: 0 });
        for (at, next) in [(&plain, 4), (&deleted, 3), (&again, 5)] {
            assert_eq!(vault.put(at, value("next")).await.unwrap().version(), next, "{at}");
        }
        let ahead = migrate(&local.store, &vault).await.unwrap_err();
        assert!(matches!(ahead, MigrateError::Occupied { .. }), "{ahead}");
    }
}

#[tokio::test]
async fn a_path_of_more_versions_than_are_kept_moves_with_its_numbers() {
    let seat = Seat::new();
    let (local, vault) = (Local::new(), seat.store().await);
    let last = u32::try_from(MAX_VERSIONS).unwrap() + 3;
    for version in 1..=last {
        local.put(&path("a"), &[&version.to_string()]).await;
    }
    local.put(&path("b"), &["x"; 30]).await;
    local.store.delete(&path("b")).await.unwrap();
    migrate(&local.store, &vault).await.unwrap();
    check_same(&local.store, &vault, &path("a"), last).await;
    assert_eq!(vault.put(&path("b"), value("next")).await.unwrap().version(), 31);
}

#[tokio::test]
async fn an_interrupted_migration_goes_on_where_it_ended() {
    let seat = Seat::new();
    let (local, vault) = (Local::new(), seat.store().await);
    local.put(&path("a"), &["one", "two"]).await;
    local.store.delete(&path("a")).await.unwrap();
    local.put(&path("a"), &["three", "four"]).await;
    // As it is when the process died after the first value, before the numbers were destroyed.
    let raw = format!("{}/data/mcp-orch/{}", seat.config.mount, path("a"));
    for _ in 0..2 {
        let body = json!({"data": {"number_only": true}});
        seat.vault.request("POST", &raw, &body).unwrap();
    }
    vault.put(&path("a"), value("three")).await.unwrap();
    let report = migrate(&local.store, &vault).await.unwrap();
    assert_eq!(report, Report { paths: 1, written: 1, found: 1, numbers_only: 0 });
    check_same(&local.store, &vault, &path("a"), 4).await;
}

#[tokio::test]
async fn what_is_there_already_is_never_overwritten() {
    let cases: [(&[&str], bool, u32); 4] = [
        // Another value, more versions, a value where one was deleted, a destroyed one.
        (&["else"], false, 1),
        (&["one", "two", "three"], false, 3),
        (&["x"], false, 1),
        (&["one"], true, 1),
    ];
    for (number, (there, is_destroyed, version)) in cases.into_iter().enumerate() {
        let seat = Seat::new();
        let (local, vault) = (Local::new(), seat.store().await);
        local.put(&path("a"), &["one", "two"]).await;
        if number == 2 {
            local.store.delete(&path("a")).await.unwrap();
        }
        for text in there {
            vault.put(&path("a"), value(text)).await.unwrap();
        }
        if is_destroyed {
            vault.delete(&path("a")).await.unwrap();
        }
        let before = vault.latest(&path("a")).await;
        let refusal = migrate(&local.store, &vault).await.unwrap_err();
        assert_eq!(refusal, MigrateError::Occupied { path: path("a"), version }, "case {number}");
        assert_eq!(vault.latest(&path("a")).await, before, "case {number}");
    }
}

#[tokio::test]
async fn paths_that_an_older_version_did_not_write_down_must_be_named() {
    let seat = Seat::new();
    let (local, vault) = (Local::new(), seat.store().await);
    local.put(&path("a"), &["one"]).await;
    local.put(&path("b"), &["one"]).await;
    assert_eq!(local.forget_paths().len(), 2);
    let refusal = migrate(&local.store, &vault).await.unwrap_err();
    let unnamed = |error: &MigrateError, n: usize| matches!(error, MigrateError::List(ListError::Unnamed { count, .. }) if *count == n);
    assert!(unnamed(&refusal, 2), "{refusal}");
    // A rotation writes the path down; a guess that is wrong names nothing.
    local.put(&path("b"), &["two"]).await;
    local.store.name([path("c"), at(tenant(2), "a")]).await.unwrap();
    let refusal = migrate(&local.store, &vault).await.unwrap_err();
    assert!(unnamed(&refusal, 1), "{refusal}");
    local.store.name([path("a"), path("b")]).await.unwrap();
    assert_eq!(migrate(&local.store, &vault).await.unwrap().paths, 2);
    assert_eq!(vault.latest(&path("a")).await.unwrap().1, value("one"));
}

#[tokio::test]
async fn a_path_file_that_was_changed_names_nothing() {
    let local = Local::new();
    local.put(&path("a"), &["one"]).await;
    for name in local.forget_paths() {
        fs::write(&name, "b").unwrap();
    }
    let refusal = local.store.paths().await.unwrap_err();
    assert!(matches!(refusal, ListError::Unnamed { count: 1, .. }), "{refusal}");
    local.store.name([path("a")]).await.unwrap();
    assert_eq!(local.store.paths().await, Ok(vec![path("a")]));
}

#[tokio::test]
async fn what_died_before_its_first_value_is_no_path() {
    let local = Local::new();
    let tenant = local.directory.path().join("secrets").join(tenant(1).to_string());
    fs::create_dir_all(tenant.join("00")).unwrap();
    fs::write(tenant.join("00").join("1.sealed.unfinished"), "half").unwrap();
    assert_eq!(local.store.paths().await, Ok(Vec::new()));
}

#[tokio::test]
async fn vault_away_ends_a_migration_with_its_cause() {
    let mut seat = Seat::on(fixtures::vault::Vault::own().unwrap());
    let (local, vault) = (Local::new(), seat.store().await);
    local.put(&path("a"), &["one"]).await;
    seat.vault.stop().unwrap();
    let refusal = migrate(&local.store, &vault).await.unwrap_err();
    let MigrateError::Target { cause: SecretError::Unavailable { .. }, .. } = refusal else {
        panic!("{refusal}");
    };
}

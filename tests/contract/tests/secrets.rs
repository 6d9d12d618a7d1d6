//! The contract of secret stores over its adapters, and what only sealed files promise.

#![expect(clippy::unwrap_used, reason = "a helper of tests panics as a test does")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use contract::secrets::{path, value};
use secrets::{LocalStore, MemoryStore, OpenError, SecretError, SecretRef, SecretStore};
use tempfile::TempDir;

mod memory {
    use super::{Arc, MemoryStore, SecretStore};

    contract::secret_store_contract!(async {
        (Arc::new(MemoryStore::new()) as Arc<dyn SecretStore>, ())
    });
}

mod local {
    use super::{Arc, Seat, SecretStore};

    contract::secret_store_contract!(async {
        let seat = Seat::new();
        (Arc::new(seat.store.clone()) as Arc<dyn SecretStore>, seat)
    });
}

/// A local store together with the directory it lives in.
struct Seat {
    directory: TempDir,
    store: LocalStore,
}

impl Seat {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(directory.path()).unwrap();
        Self { directory, store }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn key(&self) -> PathBuf {
        self.path().join("secrets.key")
    }

    fn reopen(&self) -> Result<LocalStore, OpenError> {
        LocalStore::open(self.path())
    }

    /// All files of the data directory.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let found =
                    if entry.file_type().unwrap().is_dir() { &mut directories } else { &mut files };
                found.push(entry.path());
            }
        }
        files
    }

    fn sealed(&self) -> Vec<PathBuf> {
        let is_sealed = |file: &PathBuf| file.extension().is_some_and(|e| e == "sealed");
        self.files().into_iter().filter(is_sealed).collect()
    }
}

impl Deref for Seat {
    type Target = LocalStore;
    fn deref(&self) -> &LocalStore {
        &self.store
    }
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_restart_keeps_values_and_deletions() {
    let seat = Seat::new();
    let kept = seat.put(&path("kept"), value("hunter2")).await.unwrap();
    let deleted = seat.put(&path("deleted"), value("hunter3")).await.unwrap();
    seat.delete(&path("deleted")).await.unwrap();
    let store = seat.reopen().unwrap();
    assert_eq!(store.resolve(&kept).await, Ok(value("hunter2")));
    assert_eq!(store.resolve(&deleted).await, Err(SecretError::NotFound));
    assert_eq!(store.put(&path("deleted"), value("x")).await.unwrap().version(), 2);
}

#[tokio::test]
async fn an_interrupted_deletion_reads_as_a_complete_one_and_can_be_completed() {
    let seat = Seat::new();
    let first = seat.put(&path("a"), value("one")).await.unwrap();
    let second = seat.put(&path("a"), value("two")).await.unwrap();
    let kept: Vec<_> =
        seat.sealed().into_iter().map(|file| (fs::read(&file).unwrap(), file)).collect();
    seat.delete(&path("a")).await.unwrap();
    // As if the process had died before it removed the files.
    kept.iter().for_each(|(bytes, file)| fs::write(file, bytes).unwrap());

    let store = seat.reopen().unwrap();
    for reference in [&first, &second] {
        assert_eq!(store.resolve(reference).await, Err(SecretError::NotFound));
    }
    assert_eq!(store.versions(&path("a")).await, Ok(Vec::new()));
    assert_eq!(store.put(&path("a"), value("three")).await.unwrap().version(), 3);
    store.delete(&path("a")).await.unwrap();
    assert_eq!(seat.sealed(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn two_stores_on_one_directory_share_the_numbering() {
    let seat = Seat::new();
    let other = seat.reopen().unwrap();
    let mut puts = Vec::new();
    for store in [seat.store.clone(), other] {
        puts.push(tokio::spawn(async move {
            let mut versions = Vec::new();
            for _ in 0..20 {
                versions.push(store.put(&path("a"), value("x")).await.unwrap().version());
            }
            versions
        }));
    }
    let mut versions = Vec::new();
    for task in puts {
        versions.extend(task.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_stores_on_one_directory_agree_on_a_first_creation() {
    let seat = Seat::new();
    let stores = [seat.store.clone(), seat.reopen().unwrap()];
    let creations = (0..20).map(|number: usize| {
        let store = stores[number % 2].clone();
        let mine = value(&number.to_string());
        tokio::spawn(async move { store.create_once(&path("a"), mine).await.unwrap() })
    });
    let mut found = Vec::new();
    for creation in creations.collect::<Vec<_>>() {
        found.push(creation.await.unwrap());
    }
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
    assert_eq!(seat.versions(&path("a")).await, Ok(vec![1]));
}

#[tokio::test]
async fn every_path_that_was_ever_used_is_listed() {
    let seat = Seat::new();
    assert_eq!(seat.paths().await, Ok(Vec::new()));
    let elsewhere = secrets::SecretPath::new(contract::secrets::tenant(2), "a/b").unwrap();
    let mut expected = vec![path("a"), path("a/b"), path("A"), elsewhere];
    for path in &expected {
        seat.put(path, value("hunter2")).await.unwrap();
    }
    seat.delete(&path("a")).await.unwrap();
    let mut listed = seat.reopen().unwrap().paths().await.unwrap();
    expected.sort();
    listed.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn no_file_holds_a_value_and_all_are_the_owners_alone() {
    let seat = Seat::new();
    let canary = "canary-7f3a-91be-4420-secret-value";
    seat.put(&path("canary-path"), value(canary)).await.unwrap();
    seat.put(&path("deleted"), value(canary)).await.unwrap();
    seat.delete(&path("deleted")).await.unwrap();
    let encode = |bytes: &str| base64::engine::general_purpose::STANDARD.encode(bytes);
    // Base64 of a text within a longer one depends on where it starts, so: each of the three.
    let needles = [
        canary.to_owned(),
        canary.bytes().map(|byte| format!("{byte:02x}")).collect(),
        encode(canary)[..32].to_owned(),
        encode(&canary[1..])[..32].to_owned(),
        encode(&canary[2..])[..32].to_owned(),
    ];
    let files = seat.files();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for needle in &needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{} holds {needle}", file.display());
        }
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others", file.display());
    }
    let root = seat.path().join("secrets");
    assert_eq!(fs::metadata(root).unwrap().permissions().mode() & 0o077, 0);
    assert_eq!(seat.sealed().len(), 1, "a deleted value leaves no file");
}

#[tokio::test]
async fn a_tampered_file_does_not_open_and_harms_no_other() {
    let seat = Seat::new();
    let reference = seat.put(&path("a"), value("hunter2")).await.unwrap();
    let file = seat.sealed().remove(0);
    let other = seat.put(&path("b"), value("other")).await.unwrap();
    let good = fs::read(&file).unwrap();
    let tampered = Err(SecretError::Tampered { path: path("a") });
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let long = [good.as_slice(), &vec![0; 2 * secrets::SecretValue::MAX_BYTES]].concat();
    for bad in [flipped, good[..good.len() - 1].to_vec(), Vec::new(), b"hunter2".to_vec(), long] {
        fs::write(&file, &bad).unwrap();
        assert_eq!(seat.resolve(&reference).await, tampered);
        assert_eq!(seat.resolve(&other).await, Ok(value("other")));
    }
    fs::write(&file, &good).unwrap();
    assert_eq!(seat.resolve(&reference).await, Ok(value("hunter2")));
}

#[tokio::test]
async fn a_file_that_was_moved_does_not_open() {
    let seat = Seat::new();
    let elsewhere = secrets::SecretPath::new(contract::secrets::tenant(2), "a").unwrap();
    let places = [path("a"), path("b"), elsewhere];
    let mut files = Vec::new();
    for place in &places {
        seat.put(place, value("hunter2")).await.unwrap();
        let new = seat.sealed().into_iter().find(|file| !files.contains(file)).unwrap();
        files.push(new);
    }
    for (place, file) in places.iter().zip(&files).skip(1) {
        fs::copy(&files[0], file).unwrap();
        let tampered = Err(SecretError::Tampered { path: place.clone() });
        assert_eq!(seat.latest(place).await, tampered);
    }
    // Another version of the same secret is another place.
    fs::copy(&files[0], files[0].with_file_name("2.sealed")).unwrap();
    assert_eq!(seat.latest(&path("a")).await, Err(SecretError::Tampered { path: path("a") }));
}

#[tokio::test]
async fn a_missing_key_is_never_replaced_where_something_is_sealed() {
    let seat = Seat::new();
    let reference = seat.put(&path("a"), value("hunter2")).await.unwrap();
    let aside = seat.path().join("aside");
    fs::rename(seat.key(), &aside).unwrap();
    let refusal = seat.reopen().unwrap_err();
    assert!(matches!(refusal, OpenError::KeyMissing { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("backup"), "{refusal}");
    assert!(!seat.key().exists());
    fs::remove_file(seat.path().join("secrets/key-check")).unwrap();
    assert!(matches!(seat.reopen().unwrap_err(), OpenError::KeyMissing { .. }));
    fs::rename(&aside, seat.key()).unwrap();
    let refusal = seat.reopen().unwrap_err();
    assert!(matches!(refusal, OpenError::CheckMissing { .. }), "{refusal:?}");
    assert_eq!(seat.resolve(&reference).await, Ok(value("hunter2")));
}

#[test]
fn a_key_that_is_lost_before_anything_was_sealed_is_missed_too() {
    let seat = Seat::new();
    fs::remove_file(seat.key()).unwrap();
    assert!(matches!(seat.reopen().unwrap_err(), OpenError::KeyMissing { .. }));
}

#[test]
fn a_start_that_died_after_making_the_key_goes_on() {
    let seat = Seat::new();
    let key = fs::read(seat.key()).unwrap();
    fs::remove_file(seat.path().join("secrets/key-check")).unwrap();
    fs::write(seat.path().join("secrets.key.unfinished"), "half").unwrap();
    seat.reopen().unwrap();
    assert_eq!(fs::read(seat.key()).unwrap(), key);
}

#[tokio::test]
async fn another_key_is_recognized_when_opening() {
    let seat = Seat::new();
    seat.put(&path("a"), value("hunter2")).await.unwrap();
    let stranger = Seat::new();
    fs::copy(stranger.key(), seat.key()).unwrap();
    let refusal = seat.reopen().unwrap_err();
    assert!(matches!(refusal, OpenError::WrongKey { .. }), "{refusal:?}");
}

#[test]
fn a_malformed_key_is_refused() {
    let seat = Seat::new();
    let good = fs::read_to_string(seat.key()).unwrap();
    let short = good.trim_end()[..good.len() - 3].to_owned();
    for bad in ["", "hunter2", &short, &format!("{good}00"), &"a".repeat(10_000), "\u{fffd}"] {
        fs::write(seat.key(), bad).unwrap();
        let refusal = seat.reopen().unwrap_err();
        assert!(matches!(refusal, OpenError::KeyMalformed { .. }), "{refusal:?}");
        assert!(!refusal.to_string().contains(good.lines().last().unwrap()));
        assert_eq!(fs::read_to_string(seat.key()).unwrap(), bad, "the file is left alone");
    }
    fs::write(seat.key(), [0xff; 32]).unwrap();
    assert!(matches!(seat.reopen().unwrap_err(), OpenError::KeyMalformed { .. }));
    fs::write(seat.key(), good).unwrap();
    seat.reopen().unwrap();
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let seat = Seat::new();
    for mode in [0o640, 0o604, 0o660, 0o644] {
        set_mode(&seat.key(), mode);
        let refusal = seat.reopen().unwrap_err();
        assert!(refusal.is_key_permissions(), "{refusal:?}");
        let remedy = format!("chmod 600 {}", seat.key().display());
        assert!(refusal.to_string().contains(&remedy), "{refusal}");
    }
    for mode in [0o600, 0o400] {
        set_mode(&seat.key(), mode);
        seat.reopen().unwrap();
    }
}

/// Run as a process of its own by the test below: puts until it is killed.
#[tokio::test]
#[ignore = "the other half of every_acknowledged_put_survives_a_kill"]
async fn put_until_killed() {
    let Some(directory) = std::env::var_os("CONTRACT_SECRETS_DIRECTORY") else {
        return;
    };
    let store = LocalStore::open(Path::new(&directory)).unwrap();
    loop {
        let next = store.versions(&path("a")).await.unwrap().last().map_or(1, |last| last + 1);
        let stored = store.put(&path("a"), value(&next.to_string())).await.unwrap();
        println!("\nacknowledged {}", stored.version());
    }
}

#[tokio::test]
async fn every_acknowledged_put_survives_a_kill() {
    let seat = Seat::new();
    let mut acknowledged = 0;
    for round in 1..=5u32 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "put_until_killed", "--ignored", "--nocapture"])
            .env("CONTRACT_SECRETS_DIRECTORY", seat.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let versions = lines.filter_map(|line| {
            line.unwrap().strip_prefix("acknowledged ").map(|v| v.parse::<u32>().unwrap())
        });
        acknowledged = versions.take(3 + round as usize).last().unwrap();
        writer.kill().unwrap();
        writer.wait().unwrap();
        let store = seat.reopen().unwrap();
        for version in store.versions(&path("a")).await.unwrap() {
            let reference = SecretRef::of(path("a"), version).unwrap();
            assert_eq!(store.resolve(&reference).await, Ok(value(&version.to_string())));
        }
        let newest = store.latest(&path("a")).await.unwrap().0.version();
        assert!(newest >= acknowledged, "{acknowledged} was acknowledged, {newest} is there");
    }
    assert!(acknowledged >= 25);
}

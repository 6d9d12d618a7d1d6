//! What every [`SecretStore`] does, as one suite per adapter.
//!
//! An adapter's test file calls [`secret_store_contract!`](crate::secret_store_contract) with an
//! expression that makes a future of a fresh, empty store and of what must live as long.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::TenantId;
use secrets::{MAX_VERSIONS, SecretError, SecretPath, SecretRef, SecretStore, SecretValue};

/// The store under test.
pub type Fresh = Arc<dyn SecretStore>;

/// A tenant of the tests, one per number.
///
/// # Panics
/// Never: the text is a UUID for every number.
pub fn tenant(number: u8) -> TenantId {
    format!("0198c0de-0000-7000-8000-0000000000{number:02x}").parse().expect("a tenant id")
}

/// A path of the first tenant.
///
/// # Panics
/// If `text` is no valid path.
pub fn path(text: &str) -> SecretPath {
    SecretPath::new(tenant(1), text).expect("a valid path")
}

/// A value of text.
pub fn value(text: &str) -> SecretValue {
    SecretValue::from(text.to_owned())
}

async fn put(store: &Fresh, at: &SecretPath, text: &str) -> SecretRef {
    store.put(at, value(text)).await.expect("put")
}

/// How many cases the suite has, for every adapter.
pub const CASES: usize = 17;

/// What is put resolves by its reference, rebuilt from stored parts.
pub async fn what_is_put_resolves(store: Fresh) {
    let reference = put(&store, &path("server/1/launch"), "hunter2").await;
    assert_eq!(reference.path(), &path("server/1/launch"));
    assert_eq!(reference.version(), 1);
    let rebuilt = SecretRef::new(tenant(1), "server/1/launch", 1).expect("a valid reference");
    assert_eq!(store.resolve(&rebuilt).await, Ok(value("hunter2")));
}

/// Values are bytes: none are special, and none at all are fine.
pub async fn any_bytes_are_kept(store: Fresh) {
    let all: Vec<u8> = (0..=255).collect();
    for bytes in [Vec::new(), vec![0], b"line\nline\0".to_vec(), all] {
        let reference = store.put(&path("a"), bytes.clone().into()).await.expect("put");
        assert_eq!(store.resolve(&reference).await.expect("resolved").expose(), bytes);
    }
}

/// An older reference keeps its meaning, since events hold it.
pub async fn rotation_adds_a_version(store: Fresh) {
    let first = put(&store, &path("a"), "one").await;
    let second = put(&store, &path("a"), "two").await;
    assert_eq!((first.version(), second.version()), (1, 2));
    assert_eq!(store.resolve(&first).await, Ok(value("one")));
    assert_eq!(store.resolve(&second).await, Ok(value("two")));
    assert_eq!(store.latest(&path("a")).await, Ok((second, value("two"))));
    assert_eq!(store.versions(&path("a")).await, Ok(vec![1, 2]));
}

/// An unknown path, version or tenant are all the same.
pub async fn what_is_not_there_is_not_found(store: Fresh) {
    put(&store, &path("a"), "hunter2").await;
    let elsewhere = SecretPath::new(tenant(2), "a").expect("a valid path");
    for reference in [
        SecretRef::of(path("b"), 1),
        SecretRef::of(path("a"), 2),
        SecretRef::of(path("a"), u32::MAX),
        SecretRef::of(elsewhere.clone(), 1),
    ] {
        let reference = reference.expect("a valid reference");
        assert_eq!(store.resolve(&reference).await, Err(SecretError::NotFound), "{reference}");
    }
    for unknown in [path("b"), path("a/b"), path("A"), elsewhere] {
        assert_eq!(store.latest(&unknown).await, Err(SecretError::NotFound), "{unknown}");
        assert_eq!(store.versions(&unknown).await, Ok(Vec::new()), "{unknown}");
    }
}

/// Neither the same path of two tenants nor paths that nest or differ by case meet.
pub async fn paths_do_not_meet(store: Fresh) {
    let paths = [
        path("a"),
        path("a/b"),
        path("a/b/1"),
        path("A"),
        path("a.b"),
        SecretPath::new(tenant(2), "a").expect("a valid path"),
        SecretPath::new(TenantId::SYSTEM, "a").expect("a valid path"),
    ];
    for at in &paths {
        assert_eq!(put(&store, at, &at.to_string()).await.version(), 1);
    }
    store.delete(&path("a.b")).await.expect("deleted");
    for at in paths.iter().filter(|at| **at != path("a.b")) {
        let (_, found) = store.latest(at).await.expect("found");
        assert_eq!(found, value(&at.to_string()));
    }
}

/// All versions are gone, for good, and only those of the path.
pub async fn deletion_destroys_all_versions(store: Fresh) {
    let first = put(&store, &path("a"), "one").await;
    let second = put(&store, &path("a"), "two").await;
    let other = put(&store, &path("b"), "other").await;
    store.delete(&path("a")).await.expect("deleted");
    for reference in [&first, &second] {
        assert_eq!(store.resolve(reference).await, Err(SecretError::NotFound));
    }
    assert_eq!(store.latest(&path("a")).await, Err(SecretError::NotFound));
    assert_eq!(store.versions(&path("a")).await, Ok(Vec::new()));
    assert_eq!(store.resolve(&other).await, Ok(value("other")));
}

/// An erasure that was interrupted is done again.
pub async fn deletion_can_be_repeated(store: Fresh) {
    store.delete(&path("never-there")).await.expect("nothing to delete");
    put(&store, &path("a"), "one").await;
    for _ in 0..2 {
        store.delete(&path("a")).await.expect("deleted");
    }
}

/// An old reference must never find a new value.
pub async fn numbering_continues_after_a_deletion(store: Fresh) {
    put(&store, &path("a"), "one").await;
    let second = put(&store, &path("a"), "two").await;
    store.delete(&path("a")).await.expect("deleted");
    let third = put(&store, &path("a"), "three").await;
    assert_eq!(third.version(), 3);
    assert_eq!(store.resolve(&second).await, Err(SecretError::NotFound));
    assert_eq!(store.versions(&path("a")).await, Ok(vec![3]));
    store.delete(&path("a")).await.expect("deleted");
    store.delete(&path("a")).await.expect("deleted");
    assert_eq!(put(&store, &path("a"), "four").await.version(), 4);
}

/// The limit is said in the error, and a refused value leaves no version.
pub async fn values_have_a_limit(store: Fresh) {
    let longest = SecretValue::from(vec![7; SecretValue::MAX_BYTES]);
    let above = SecretValue::from(vec![7; SecretValue::MAX_BYTES + 1]);
    let refusal = SecretError::TooLarge {
        size_bytes: SecretValue::MAX_BYTES + 1,
        limit_bytes: SecretValue::MAX_BYTES,
    };
    assert_eq!(store.put(&path("a"), above).await, Err(refusal));
    assert_eq!(store.versions(&path("a")).await, Ok(Vec::new()));
    let reference = store.put(&path("a"), longest.clone()).await.expect("put");
    assert_eq!(store.resolve(&reference).await, Ok(longest));
}

/// Beyond the limit the oldest version goes.
pub async fn versions_have_a_limit(store: Fresh) {
    let last = u32::try_from(MAX_VERSIONS).expect("a small number") + 2;
    for version in 1..=last {
        assert_eq!(put(&store, &path("a"), &version.to_string()).await.version(), version);
    }
    assert_eq!(store.versions(&path("a")).await, Ok((3..=last).collect()));
    let gone = SecretRef::of(path("a"), 2).expect("a valid reference");
    assert_eq!(store.resolve(&gone).await, Err(SecretError::NotFound));
    let oldest = SecretRef::of(path("a"), 3).expect("a valid reference");
    assert_eq!(store.resolve(&oldest).await, Ok(value("3")));
}

/// Each put has a version of its own, and each version the value of its put.
pub async fn concurrent_puts_get_distinct_versions(store: Fresh) {
    let puts = (0..20).map(|number: u32| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { (put(&store, &path("a"), &number.to_string()).await, number) })
    });
    let mut versions = BTreeSet::new();
    for task in puts.collect::<Vec<_>>() {
        let (reference, number) = task.await.expect("put");
        assert_eq!(store.resolve(&reference).await, Ok(value(&number.to_string())));
        versions.insert(reference.version());
    }
    assert_eq!(versions, (1..=20).collect());
}

/// The first caller's value stands, whatever the later ones bring.
pub async fn what_is_created_once_stays(store: Fresh) {
    let at = path("edge/state-key");
    let made = store.create_once(&at, value("one")).await.expect("created");
    assert_eq!(made, (SecretRef::of(at.clone(), 1).expect("a reference"), value("one")));
    assert_eq!(store.create_once(&at, value("two")).await, Ok(made));
    assert_eq!(store.versions(&at).await, Ok(vec![1]));
    let above = SecretValue::from(vec![7; SecretValue::MAX_BYTES + 1]);
    let refused = store.create_once(&path("b"), above).await;
    assert!(matches!(refused, Err(SecretError::TooLarge { .. })), "{refused:?}");
}

/// A rotation is what counts from then on.
pub async fn creating_once_finds_the_newest_version(store: Fresh) {
    put(&store, &path("a"), "one").await;
    let second = put(&store, &path("a"), "two").await;
    let found = store.create_once(&path("a"), value("three")).await;
    assert_eq!(found, Ok((second, value("two"))));
}

/// What was deleted is made anew, under a number of its own.
pub async fn creating_once_after_a_deletion_goes_on_numbering(store: Fresh) {
    put(&store, &path("a"), "one").await;
    store.delete(&path("a")).await.expect("deleted");
    let made = store.create_once(&path("a"), value("two")).await.expect("created");
    assert_eq!((made.0.version(), made.1), (2, value("two")));
}

/// Several processes start at once, and go on with one key.
pub async fn concurrent_first_creations_agree(store: Fresh) {
    let creations = (0..20).map(|number: u32| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.create_once(&path("a"), value(&number.to_string())).await.expect("created")
        })
    });
    let mut results = Vec::new();
    for task in creations.collect::<Vec<_>>() {
        results.push(task.await.expect("created"));
    }
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    assert_eq!(results[0].0.version(), 1);
    assert_eq!(store.versions(&path("a")).await, Ok(vec![1]));
    assert_eq!(store.resolve(&results[0].0).await.as_ref(), Ok(&results[0].1));
}

/// While a secret is rotated, its readers find one version or the next, never nothing.
pub async fn readers_never_see_half_a_put(store: Fresh) {
    put(&store, &path("a"), "1").await;
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for version in 2..=30u32 {
                put(&store, &path("a"), &version.to_string()).await;
            }
        }
    });
    let mut newest = 0;
    while newest < 30 {
        let (reference, found) = store.latest(&path("a")).await.expect("always one");
        assert_eq!(found, value(&reference.version().to_string()));
        assert!(reference.version() >= newest, "versions never go back");
        newest = reference.version();
    }
    writer.await.expect("all put");
}

/// What a log line of any of these could show.
pub async fn no_debug_or_display_shows_a_value(store: Fresh) {
    let canary = "canary-7f3a";
    let reference = put(&store, &path("a"), canary).await;
    let resolved = store.resolve(&reference).await;
    let latest = store.latest(&path("a")).await;
    let above = SecretValue::from(canary.repeat(SecretValue::MAX_BYTES / 8));
    let refused = store.put(&path("a"), above).await.expect_err("too large");
    let unknown = SecretRef::of(path("b"), 1).expect("a valid reference");
    let not_found = store.resolve(&unknown).await;
    let shown = format!(
        "{reference} {reference:?} {resolved:?} {latest:?} {refused} {refused:?} {not_found:?}"
    );
    assert!(!shown.contains("canary") && !shown.contains("99, 97, 110"), "{shown}");
}

/// Makes one test of each case, run on the store that `$fresh` resolves to.
#[macro_export]
macro_rules! secret_store_contract {
    ($fresh:expr) => {
        $crate::secret_store_contract! { $fresh;
            what_is_put_resolves
            any_bytes_are_kept
            rotation_adds_a_version
            what_is_not_there_is_not_found
            paths_do_not_meet
            deletion_destroys_all_versions
            deletion_can_be_repeated
            numbering_continues_after_a_deletion
            values_have_a_limit
            versions_have_a_limit
            concurrent_puts_get_distinct_versions
            what_is_created_once_stays
            creating_once_finds_the_newest_version
            creating_once_after_a_deletion_goes_on_numbering
            concurrent_first_creations_agree
            readers_never_see_half_a_put
            no_debug_or_display_shows_a_value
        }
    };
    ($fresh:expr; $($case:ident)*) => {
        #[test]
        fn no_case_of_the_suite_is_left_out() {
            assert_eq!([$(stringify!($case)),*].len(), $crate::secrets::CASES);
        }
        $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let case = async {
                let (store, _home) = $fresh.await;
                $crate::secrets::$case(store).await;
            };
            tokio::time::timeout(std::time::Duration::from_secs(60), case)
                .await
                .expect("the case ends in time");
        }
        )*
    };
}

//! Who is there.

use bus::{BusError, MAX_PRESENCE_BYTES, Presence, PresenceWatch};
use bytes::Bytes;

use super::{Fresh, filter, subject};

fn shown(present: &[Presence]) -> Vec<(&str, &[u8])> {
    present.iter().map(|p| (p.key.as_str(), p.value.as_ref())).collect()
}

/// Waits until the watched set is `expected`; sets before it may be skipped.
async fn until(watch: &mut PresenceWatch, expected: &[(&str, &[u8])]) {
    loop {
        let set = watch.next().await.expect("the bus is there");
        if shown(&set) == expected {
            return;
        }
    }
}

/// Sorted by key, and only what the filter matches.
pub async fn an_announced_key_is_present_until_its_drop(bus: Fresh) {
    let workers = filter("worker.>");
    assert_eq!(bus.present(&workers).await, Ok(Vec::new()));
    let mut watch = bus.watch(filter(">")).await.expect("watched");
    let second = bus.announce(subject("worker.2"), "two".into()).await.expect("announced");
    let _first = bus.announce(subject("worker.1"), "one".into()).await.expect("announced");
    let _edge = bus.announce(subject("edge.1"), "edge".into()).await.expect("announced");
    assert_eq!(second.key().as_str(), "worker.2");
    until(&mut watch, &[("edge.1", b"edge"), ("worker.1", b"one"), ("worker.2", b"two")]).await;
    let present = bus.present(&workers).await.expect("present");
    assert_eq!(shown(&present), [("worker.1", &b"one"[..]), ("worker.2", b"two")]);
    drop(second);
    until(&mut watch, &[("edge.1", b"edge"), ("worker.1", b"one")]).await;
    let present = bus.present(&workers).await.expect("present");
    assert_eq!(shown(&present), [("worker.1", &b"one"[..])]);
}

/// The first look is at once; later ones come with a change.
pub async fn a_watch_sees_keys_come_change_and_go(bus: Fresh) {
    let mut watch = bus.watch(filter("worker.*")).await.expect("watched");
    assert_eq!(watch.next().await, Some(Vec::new()));
    let announcement = bus.announce(subject("worker.1"), "a".into()).await.expect("announced");
    until(&mut watch, &[("worker.1", b"a")]).await;
    announcement.update("b").expect("updated");
    until(&mut watch, &[("worker.1", b"b")]).await;
    let mut late = bus.watch(filter("worker.*")).await.expect("watched");
    until(&mut late, &[("worker.1", b"b")]).await;
    drop(announcement);
    until(&mut watch, &[]).await;
    until(&mut late, &[]).await;
}

/// Changes outside the filter do not wake it with the same set again.
pub async fn a_watch_sees_only_its_filter(bus: Fresh) {
    let mut watch = bus.watch(filter("worker.*")).await.expect("watched");
    assert_eq!(watch.next().await, Some(Vec::new()));
    let _edge = bus.announce(subject("edge.1"), Bytes::new()).await.expect("announced");
    let _worker = bus.announce(subject("worker.1"), "a".into()).await.expect("announced");
    let set = watch.next().await.expect("the bus is there");
    assert_eq!(shown(&set), [("worker.1", &b"a"[..])]);
}

/// After a quick restart, the end of the old process must not take the new one off the roll.
pub async fn a_newer_announcement_takes_the_key_over(bus: Fresh) {
    let mut watch = bus.watch(filter(">")).await.expect("watched");
    let old = bus.announce(subject("worker.1"), "old".into()).await.expect("announced");
    let new = bus.announce(subject("worker.1"), "new".into()).await.expect("announced");
    until(&mut watch, &[("worker.1", b"new")]).await;
    assert_eq!(old.update("stale"), Err(BusError::Closed));
    drop(old);
    let _other = bus.announce(subject("worker.2"), "x".into()).await.expect("announced");
    until(&mut watch, &[("worker.1", b"new"), ("worker.2", b"x")]).await;
    drop(new);
    until(&mut watch, &[("worker.2", b"x")]).await;
}

/// When announced and when updated; the old value stays.
pub async fn a_presence_value_above_the_limit_is_refused(bus: Fresh) {
    let above = Bytes::from(vec![0; MAX_PRESENCE_BYTES + 1]);
    let refusal = bus.announce(subject("worker.1"), above.clone()).await.map(|_| ());
    assert!(matches!(refusal, Err(BusError::TooLarge { .. })), "{refusal:?}");
    let announcement = bus.announce(subject("worker.1"), "a".into()).await.expect("announced");
    let refusal = announcement.update(above);
    assert!(matches!(refusal, Err(BusError::TooLarge { .. })), "{refusal:?}");
    let present = bus.present(&filter("worker.1")).await.expect("present");
    assert_eq!(shown(&present), [("worker.1", &b"a"[..])]);
}

//! What every [`SharedMemory`] does.

use std::sync::Arc;

use bus::{MAX_SHARED_BYTES, MAX_TRAIL_ENTRIES, MemoryError, SharedMemory};
use bytes::Bytes;

use super::subject;

/// The same memory, as two processes see it.
pub type Shared = (Arc<dyn SharedMemory>, Arc<dyn SharedMemory>);

/// Reads the trail until that entry is there: a push does not wait for the server.
async fn trail_until(memory: &Arc<dyn SharedMemory>, trail: &str, awaited: &str) -> Vec<Bytes> {
    loop {
        let entries = memory.trail(&subject(trail)).await.expect("read");
        if entries.iter().any(|entry| entry == awaited) {
            return entries;
        }
    }
}

/// Also right after the write; an unknown key has no value.
pub async fn what_one_wrote_everybody_reads((one, two): Shared) {
    let key = subject("session.a");
    assert_eq!(one.read(&key).await, Ok(None));
    let first = one.write(&key, "1".into(), None).await.expect("written");
    assert_eq!(two.read(&key).await, Ok(Some((first, "1".into()))));
    let second = two.write(&key, "2".into(), Some(first)).await.expect("written");
    assert!(second > first);
    assert_eq!(one.read(&key).await, Ok(Some((second, "2".into()))));
}

/// Two that make the same key do not both believe that it is theirs.
pub async fn a_write_that_expects_nothing_finds_nothing((one, two): Shared) {
    let key = subject("session.a");
    one.write(&key, "1".into(), None).await.expect("written");
    assert_eq!(two.write(&key, "2".into(), None).await, Err(MemoryError::Changed));
    assert_eq!(one.write(&key, "3".into(), None).await, Err(MemoryError::Changed));
    assert_eq!(two.read(&key).await.expect("read").map(|(_, value)| value), Some("1".into()));
}

/// Who has not seen the latest write cannot replace it.
pub async fn a_stale_revision_is_refused((one, two): Shared) {
    let key = subject("session.a");
    let first = one.write(&key, "1".into(), None).await.expect("written");
    let second = two.write(&key, "2".into(), Some(first)).await.expect("written");
    assert_eq!(one.write(&key, "3".into(), Some(first)).await, Err(MemoryError::Changed));
    one.write(&key, "3".into(), Some(second)).await.expect("written");
}

/// Exactly one of many that saw the same revision.
pub async fn of_concurrent_writes_one_wins((one, two): Shared) {
    let key = subject("session.a");
    let seen = one.write(&key, "0".into(), None).await.expect("written");
    let writers = (0..8).map(|number: u32| {
        let memory = Arc::clone(if number.is_multiple_of(2) { &one } else { &two });
        let key = key.clone();
        tokio::spawn(async move { memory.write(&key, number.to_string().into(), Some(seen)).await })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.expect("no panic") {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error, MemoryError::Changed),
        }
    }
    assert_eq!(won, 1);
}

/// The old revision is nothing that could be replaced; removing it again is no error.
pub async fn a_removed_key_begins_anew((one, two): Shared) {
    let key = subject("session.a");
    one.remove(&key).await.expect("nothing to remove");
    let first = one.write(&key, "1".into(), None).await.expect("written");
    two.remove(&key).await.expect("removed");
    assert_eq!(one.read(&key).await, Ok(None));
    assert_eq!(one.write(&key, "2".into(), Some(first)).await, Err(MemoryError::Changed));
    let second = one.write(&key, "2".into(), None).await.expect("written");
    assert!(second > first);
    two.remove(&key).await.expect("removed");
    two.remove(&key).await.expect("removed again");
}

/// The largest value passes, and one byte more does not.
pub async fn a_value_above_the_limit_is_refused((one, two): Shared) {
    let key = subject("session.a");
    let largest = Bytes::from(vec![7; MAX_SHARED_BYTES]);
    let above = Bytes::from(vec![7; MAX_SHARED_BYTES + 1]);
    let refusal = one.write(&key, above, None).await;
    assert!(matches!(refusal, Err(MemoryError::TooLarge { .. })), "{refusal:?}");
    one.write(&key, largest.clone(), None).await.expect("written");
    assert_eq!(two.read(&key).await.expect("read").map(|(_, value)| value), Some(largest));
}

/// Whatever a subject may contain.
pub async fn keys_are_apart_from_each_other((one, two): Shared) {
    let keys = ["a", "a.b", "a.b.c", "a-b", "a_b", "A", "a=b", "a/b", "a+b", "a:b", "a%b", "a\"b"];
    for key in keys {
        one.write(&subject(key), key.into(), None).await.expect("written");
    }
    for key in keys {
        let read = two.read(&subject(key)).await.expect("read").map(|(_, value)| value);
        assert_eq!(read, Some(key.into()));
    }
    one.remove(&subject("a.b")).await.expect("removed");
    assert_eq!(two.read(&subject("a.b")).await, Ok(None));
    assert!(two.read(&subject("a.b.c")).await.expect("read").is_some());
}

/// An unknown trail is empty.
pub async fn a_trail_keeps_the_order_of_each_writer((one, two): Shared) {
    let trail = subject("stream.a");
    assert_eq!(one.trail(&trail).await, Ok(Vec::new()));
    for number in 0..50 {
        one.push(&trail, format!("one {number}").into()).await.expect("pushed");
        two.push(&trail, format!("two {number}").into()).await.expect("pushed");
    }
    trail_until(&two, "stream.a", "one 49").await;
    let entries = trail_until(&one, "stream.a", "two 49").await;
    assert_eq!(entries.len(), 100);
    for writer in ["one", "two"] {
        let of_writer = entries.iter().filter(|entry| entry.starts_with(writer.as_bytes()));
        let expected = (0..50).map(|number| Bytes::from(format!("{writer} {number}")));
        assert!(of_writer.cloned().eq(expected), "the order of {writer}");
    }
}

/// The oldest fall out.
pub async fn a_trail_keeps_its_latest_entries((one, two): Shared) {
    let trail = subject("stream.a");
    let pushed = MAX_TRAIL_ENTRIES + 44;
    for number in 1..=pushed {
        one.push(&trail, number.to_string().into()).await.expect("pushed");
    }
    let entries = trail_until(&two, "stream.a", &pushed.to_string()).await;
    assert_eq!(entries.len(), MAX_TRAIL_ENTRIES);
    assert_eq!(entries[0], "45");
}

/// And may be begun again.
pub async fn a_dropped_trail_is_empty_and_others_are_not((one, two): Shared) {
    one.drop_trail(&subject("stream.a")).await.expect("nothing to drop");
    for trail in ["stream.a", "stream.a.b", "stream.b"] {
        one.push(&subject(trail), "1".into()).await.expect("pushed");
    }
    for trail in ["stream.a", "stream.a.b", "stream.b"] {
        trail_until(&two, trail, "1").await;
    }
    two.drop_trail(&subject("stream.a")).await.expect("dropped");
    assert_eq!(one.trail(&subject("stream.a")).await, Ok(Vec::new()));
    assert_eq!(one.trail(&subject("stream.a.b")).await, Ok(vec!["1".into()]));
    assert_eq!(one.trail(&subject("stream.b")).await, Ok(vec!["1".into()]));
    one.push(&subject("stream.a"), "2".into()).await.expect("pushed");
    assert_eq!(trail_until(&two, "stream.a", "2").await, ["2"]);
}

/// As of a value.
pub async fn an_entry_above_the_limit_is_refused((one, two): Shared) {
    let trail = subject("stream.a");
    let refusal = one.push(&trail, vec![7; MAX_SHARED_BYTES + 1].into()).await;
    assert!(matches!(refusal, Err(MemoryError::TooLarge { .. })), "{refusal:?}");
    one.push(&trail, vec![7; MAX_SHARED_BYTES].into()).await.expect("pushed");
    one.push(&trail, "end".into()).await.expect("pushed");
    assert_eq!(trail_until(&two, "stream.a", "end").await.len(), 2);
}

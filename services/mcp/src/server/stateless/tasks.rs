//! Tasks of the extension, and those of revision 2025-11-25 told in its words.

use bytes::{BufMut, Bytes, BytesMut};

use crate::scan;
use crate::splice::{self, SpliceError};

/// The members of a raw task of revision 2025-11-25 as the extension has them (`ttl` is `ttlMs`,
/// `pollInterval` is `pollIntervalMs`), with `type_name` as `resultType` and `more` (raw members,
/// each with a comma before it) at the end.
///
/// # Errors
/// As [`splice::find`], and [`SpliceError::NotAnObject`].
pub fn task_to_extension(task: &[u8], type_name: &str, more: &[u8]) -> Result<Bytes, SpliceError> {
    let document = scan::document(task)?;
    let mut out = BytesMut::with_capacity(task.len() + more.len() + 64);
    out.put_slice(b"{\"resultType\":");
    out.put_slice(&splice::quote(type_name));
    let mut has_ttl = false;
    let end = scan::members(task, document.start, |member| {
        let renamed = if member.is(task, "ttl") {
            has_ttl = true;
            b"\"ttlMs\"".as_slice()
        } else if member.is(task, "pollInterval") {
            b"\"pollIntervalMs\""
        } else if member.is(task, "resultType") || member.is(task, "_meta") {
            return;
        } else {
            &task[member.key.clone()]
        };
        out.put_u8(b',');
        out.put_slice(renamed);
        out.put_u8(b':');
        out.put_slice(&task[member.value]);
    })?;
    if end.is_none() {
        return Err(SpliceError::NotAnObject);
    }
    if !has_ttl {
        out.put_slice(b",\"ttlMs\":null");
    }
    out.put_slice(more);
    out.put_u8(b'}');
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_task_of_the_older_revision_is_told_in_the_extensions_words() {
        let task =
            br#"{"taskId":"t","status":"completed","ttl":60000,"pollInterval":100,"_meta":{}}"#;
        let told = task_to_extension(task, "complete", br#","result":{"content":[]}"#).unwrap();
        let told: Value = serde_json::from_slice(&told).unwrap();
        let expected = json!({
            "resultType": "complete", "taskId": "t", "status": "completed", "ttlMs": 60000,
            "pollIntervalMs": 100, "result": {"content": []},
        });
        assert_eq!(told, expected);
        let bare = task_to_extension(br#"{"taskId":"t"}"#, "task", b"").unwrap();
        assert_eq!(bare, r#"{"resultType":"task","taskId":"t","ttlMs":null}"#);
        assert_eq!(task_to_extension(b"[]", "task", b""), Err(SpliceError::NotAnObject));
    }
}

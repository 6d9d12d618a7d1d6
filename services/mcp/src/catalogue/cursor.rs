//! Cursors of the merged lists: opaque to clients, without state on our side.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The cursor was not made by this list as it is now; answered with invalid parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor")]
pub struct InvalidCursor;

/// How much of the list's hash a cursor carries: it holds only as long as the list is the same.
const HASH_CHARS: usize = 16;

/// The cursor of a page of a list.
pub(super) fn encode(list_hash: &str, page: usize) -> String {
    let hash = list_hash.get(..HASH_CHARS).unwrap_or(list_hash);
    URL_SAFE_NO_PAD.encode(format!("{hash}.{page}"))
}

/// The page that a cursor names.
pub(super) fn decode(cursor: &str, list_hash: &str) -> Result<usize, InvalidCursor> {
    if cursor.len() > 64 {
        return Err(InvalidCursor);
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    let text = String::from_utf8(bytes).map_err(|_| InvalidCursor)?;
    let (hash, page) = text.split_once('.').ok_or(InvalidCursor)?;
    if hash != list_hash.get(..HASH_CHARS).unwrap_or(list_hash) {
        return Err(InvalidCursor);
    }
    page.parse().map_err(|_| InvalidCursor)
}

//! Parts of an input: what a target needs besides one blob of bytes.

/// The text before the first LF and the bytes behind it.
pub(crate) fn line(data: &[u8]) -> (String, &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let rest = data.get(end + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&data[..end]).into_owned(), rest)
}

/// Cuts `data` into pieces whose sizes the bytes of `sizes` say, again and again.
pub(crate) fn cut<'d>(data: &'d [u8], sizes: &[u8]) -> Vec<&'d [u8]> {
    let mut pieces = Vec::new();
    let mut rest = data;
    let mut at = 0;
    while !rest.is_empty() {
        let size = sizes.get(at % sizes.len().max(1)).map_or(1, |size| usize::from(*size) + 1);
        at += 1;
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

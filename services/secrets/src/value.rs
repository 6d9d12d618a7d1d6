//! The value itself: wiped when dropped, compared in constant time, never shown.

use std::fmt;

use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretSlice};
use subtle::ConstantTimeEq;

/// The value is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret value is not UTF-8 text")]
pub struct NotText;

/// The bytes of a secret.
///
/// `Debug` prints a constant. There is no `Display` and no `Serialize`, so that a value cannot
/// reach a log, an event or an answer by a derive.
#[derive(Clone)]
pub struct SecretValue(SecretSlice<u8>);

impl SecretValue {
    /// Most bytes a store accepts: 1 MiB.
    pub const MAX_BYTES: usize = 1024 * 1024;

    /// The bytes, for the one place that must use them.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// The bytes as text.
    ///
    /// # Errors
    /// [`NotText`] if they are not UTF-8; the error carries nothing of the value.
    pub fn expose_str(&self) -> Result<&str, NotText> {
        std::str::from_utf8(self.expose()).map_err(|_| NotText)
    }

    /// The value's length in bytes.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl From<Vec<u8>> for SecretValue {
    /// Takes the bytes over; a buffer that must shrink to fit is wiped after the copy.
    fn from(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(SecretSlice::new(bytes.into_boxed_slice()));
        }
        let exact: Box<[u8]> = bytes.as_slice().into();
        bytes.zeroize();
        Self(SecretSlice::new(exact))
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(redacted)")
    }
}

impl PartialEq for SecretValue {
    /// Takes the same time wherever the values differ; only their lengths show.
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for SecretValue {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_value_nor_length() {
        let value = SecretValue::from("hunter2".to_owned());
        assert_eq!(format!("{value:?} {value:#?}"), "SecretValue(redacted) SecretValue(redacted)");
    }

    #[test]
    fn equality_is_of_the_bytes() {
        let value = |text: &str| SecretValue::from(text.to_owned());
        assert_eq!(value("a"), value("a"));
        assert_ne!(value("a"), value("b"));
        assert_ne!(value("a"), value("ab"));
        assert_eq!(value(""), SecretValue::from(Vec::with_capacity(8)));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_as_text() {
        assert_eq!(SecretValue::from(vec![0xff]).expose_str(), Err(NotText));
        assert_eq!(SecretValue::from(b"text".to_vec()).expose_str(), Ok("text"));
    }
}

//! The key file: made once, read strictly, never replaced.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use secrecy::zeroize::Zeroizing;

use super::OpenError;
use super::files;

const HEADER: &str = "mcp-orch secret key v1\n";
const KEY_BYTES: usize = 32;
/// More than the header, the digits and a line end.
const MAX_FILE_BYTES: u64 = 128;

/// The 256-bit secret from which the working keys are derived. Wiped on drop, without `Debug`.
pub(super) struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl MasterKey {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    #[cfg(test)]
    pub(super) fn of(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

/// Reads the key; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<MasterKey>, OpenError> {
    let io = |source| OpenError::io(path, source);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(OpenError::KeyExposed { key: path.into(), mode });
    }
    // Room for all of it, so that no copy is left behind by a growing buffer.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize + 1));
    let malformed = || OpenError::KeyMalformed { key: path.into() };
    match file.take(MAX_FILE_BYTES).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(malformed()),
        read => read.map_err(io)?,
    };
    parse(&text).map(Some).ok_or_else(malformed)
}

fn parse(text: &str) -> Option<MasterKey> {
    let digits = text.strip_prefix(HEADER)?;
    let digits = digits.strip_suffix('\n').unwrap_or(digits);
    if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(MasterKey(key))
}

/// Makes a random key where there is none. The caller holds the lock of the store.
pub(super) fn create(path: &Path) -> Result<MasterKey, OpenError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new()
        .fill(key.as_mut_slice())
        .map_err(|_| OpenError::io(path, io::Error::other("no randomness is available")))?;
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
    text.push_str(HEADER);
    text.push_str(&hexadecimal(key.as_slice()));
    text.push('\n');
    files::write_durably(path, text.as_bytes()).map_err(|source| OpenError::io(path, source))?;
    Ok(MasterKey(key))
}

/// Lowercase digits, wiped on drop.
pub(super) fn hexadecimal(bytes: &[u8]) -> Zeroizing<String> {
    let mut digits = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(*digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_has_a_header_and_64_digits() {
        let digits = "0123456789abcdefABCDEF".repeat(3)[..64].to_owned();
        let key = parse(&format!("{HEADER}{digits}\n")).unwrap();
        assert_eq!(key.bytes()[..3], [0x01, 0x23, 0x45]);
        assert!(parse(&format!("{HEADER}{digits}")).is_some());
        let malformed = [
            String::new(),
            HEADER.to_owned(),
            digits.clone(),
            format!("mcp-orch secret key v2\n{digits}\n"),
            format!("{HEADER}{}\n", &digits[1..]),
            format!("{HEADER}{digits}0\n"),
            format!("{HEADER}{digits}\n\n"),
            format!("{HEADER}+{}\n", &digits[1..]),
            format!("{HEADER}{}é\n", &digits[2..]),
        ];
        for text in malformed {
            assert!(parse(&text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_created_key_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(read(&path).unwrap().is_none());
        let created = create(&path).unwrap();
        let read = read(&path).unwrap().unwrap();
        assert_eq!(created.bytes(), read.bytes());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

//! The text of an API key: `api_key_`, 160 random bits in base 62, and a checksum of six
//! characters by which a mistyped or cut key is told from a revoked one, and leaked keys are
//! found in texts.

use domain::Refusal;
use domain::api_key::KeyHash;
use ring::digest::{SHA256, digest};
use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::SecretString;

/// What every key begins with.
pub const PREFIX: &str = "api_key_";
/// Fewest characters of a key that an operator fixes.
pub const MIN_FIXED: usize = 32;
/// Longest text that is looked at as a key.
pub const MAX_LEN: usize = 256;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^27 > 2^160.
const RANDOM_CHARS: usize = 27;
const CHECKSUM_CHARS: usize = 6;

/// A new key.
///
/// # Errors
/// When the system gives no randomness.
pub fn generate() -> Result<SecretString, Unspecified> {
    let mut random = [0_u8; 20];
    SystemRandom::new().fill(&mut random)?;
    let body = base62(&random, RANDOM_CHARS);
    let checksum = checksum(&body);
    Ok(SecretString::from(format!("{PREFIX}{body}{checksum}")))
}

/// A password that is shown once: 24 characters of base 62.
///
/// # Errors
/// When the system gives no randomness.
pub fn one_time_password() -> Result<SecretString, Unspecified> {
    let mut random = [0_u8; 20];
    SystemRandom::new().fill(&mut random)?;
    let mut text = base62(&random, RANDOM_CHARS);
    text.truncate(24);
    Ok(SecretString::from(text))
}

/// By what a key is known.
pub fn hash(key: &str) -> KeyHash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    KeyHash(bytes)
}

/// The last four characters, for people to tell keys apart.
pub fn suffix(key: &str) -> String {
    let skip = key.chars().count().saturating_sub(4);
    key.chars().skip(skip).collect()
}

/// Whether `text` is a whole key of ours, by its checksum. Keys that an operator fixed have none.
pub fn is_well_formed(text: &str) -> bool {
    text.strip_prefix(PREFIX)
        .filter(|rest| rest.is_ascii() && rest.len() == RANDOM_CHARS + CHECKSUM_CHARS)
        .map(|rest| rest.split_at(RANDOM_CHARS))
        .is_some_and(|(body, sum)| checksum(body) == sum)
}

/// Checks a key that an operator fixed.
///
/// # Errors
/// Names the rule that is broken, and nothing of the key.
pub fn check_fixed(key: &str) -> Result<(), Refusal> {
    let fits = key.starts_with(PREFIX)
        && (MIN_FIXED..=MAX_LEN).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits {
        return Ok(());
    }
    Err(Refusal::invalid(
        "api_key",
        "must begin with api_key_ and have 32 to 256 characters of [A-Za-z0-9_-]",
    ))
}

fn checksum(body: &str) -> String {
    base62(&digest(&SHA256, body.as_bytes()).as_ref()[..8], CHECKSUM_CHARS)
}

/// The last `chars` digits of the number in base 62.
fn base62(bytes: &[u8], chars: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![0_u8; chars];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            rest = value % 62;
        }
        *digit = ALPHABET[rest as usize];
    }
    String::from_utf8_lossy(&digits).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn generated_keys_differ_and_are_well_formed() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert!(is_well_formed(one.expose_secret()));
        assert!(check_fixed(one.expose_secret()).is_ok());
        assert_eq!(suffix(one.expose_secret()).len(), 4);
        let mut cut = one.expose_secret().to_owned();
        cut.pop();
        assert!(!is_well_formed(&cut));
    }

    #[test]
    fn base62_counts() {
        assert_eq!(base62(&[0], 2), "00");
        assert_eq!(base62(&[61], 2), "0z");
        assert_eq!(base62(&[62], 2), "10");
        assert_eq!(base62(&[1, 0], 3), "048");
    }

    #[test]
    fn a_fixed_key_has_a_prefix_and_a_length() {
        for bad in ["", "api_key_short", &"x".repeat(40), "api_key_with space in it 0123456789"] {
            assert!(check_fixed(bad).is_err(), "{bad:?}");
        }
        assert!(check_fixed("api_key_0123456789abcdef01234567").is_ok());
    }
}

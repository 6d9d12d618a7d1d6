//! Sealing of one value: AES-256-GCM under a key derived from the master key.
//!
//! A sealed value is a header, a random 96-bit nonce, the ciphertext and its tag. Random nonces
//! allow 2^32 values under one key; a store is far below that.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::zeroize::{Zeroize, Zeroizing};
use subtle::ConstantTimeEq;

use super::key::MasterKey;
use crate::{SecretPath, SecretValue};

const HEADER: &[u8] = b"mcp-orch sealed v1\n";
/// Longest sealed form of a value.
pub(super) const MAX_SEALED_BYTES: usize = HEADER.len() + NONCE_LEN + SecretValue::MAX_BYTES + 16;
const CHECK_BYTES: usize = 32;

/// Seals and opens with one key. `Debug` shows nothing of it.
pub(super) struct Sealer {
    key: LessSafeKey,
    check: [u8; CHECK_BYTES],
    random: SystemRandom,
}

/// The bytes are no value that was sealed for this place with this key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DoesNotOpen;

impl Sealer {
    /// Derives the working keys.
    ///
    /// # Errors
    /// None that this use of HKDF can have; they are passed on rather than assumed away.
    pub(super) fn new(master: &MasterKey) -> Result<Self, Unspecified> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"mcp-orch local secrets");
        let root = salt.extract(master.bytes());
        let mut check = [0; CHECK_BYTES];
        root.expand(&[b"key check"], hkdf::HKDF_SHA256)?.fill(&mut check)?;
        let key = UnboundKey::from(root.expand(&[b"seal"], &AES_256_GCM)?);
        Ok(Self { key: LessSafeKey::new(key), check, random: SystemRandom::new() })
    }

    /// What recognizes this key later. It gives nothing away of the key or of a value.
    pub(super) const fn check_value(&self) -> [u8; CHECK_BYTES] {
        self.check
    }

    /// Whether `check` came from this key.
    pub(super) fn recognizes(&self, check: &[u8]) -> bool {
        self.check.ct_eq(check).into()
    }

    /// Seals `value` for one place.
    ///
    /// # Errors
    /// If the operating system has no randomness.
    pub(super) fn seal(
        &self,
        path: &SecretPath,
        version: u32,
        value: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce)?;
        let prefix = HEADER.len() + NONCE_LEN;
        // Exact, so that no copy of the plaintext is left behind by a growing buffer.
        let mut sealed = Vec::with_capacity(prefix + value.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(HEADER);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let tag = self.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place(path, version)),
            &mut sealed[prefix..],
        );
        match tag {
            Ok(tag) => sealed.extend_from_slice(tag.as_ref()),
            Err(error) => {
                sealed.zeroize();
                return Err(error);
            }
        }
        Ok(sealed)
    }

    /// Opens what was sealed for this place; `sealed` is wiped.
    ///
    /// # Errors
    /// [`DoesNotOpen`] if a bit is wrong, the place is another one, or the key is.
    pub(super) fn open(
        &self,
        path: &SecretPath,
        version: u32,
        sealed: Vec<u8>,
    ) -> Result<SecretValue, DoesNotOpen> {
        let mut sealed = Zeroizing::new(sealed);
        let body = sealed.strip_prefix(HEADER).ok_or(DoesNotOpen)?;
        let (nonce, _) = body.split_first_chunk::<NONCE_LEN>().ok_or(DoesNotOpen)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let ciphertext = &mut sealed[HEADER.len() + NONCE_LEN..];
        let value = self
            .key
            .open_in_place(nonce, Aad::from(place(path, version)), ciphertext)
            .map_err(|_| DoesNotOpen)?;
        Ok(SecretValue::from(value.to_vec()))
    }
}

/// What is authenticated with a value: each part has a fixed length but for the last one.
fn place(path: &SecretPath, version: u32) -> Vec<u8> {
    let tenant = path.tenant().as_uuid();
    [tenant.as_bytes().as_slice(), &version.to_be_bytes(), path.as_str().as_bytes()].concat()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use domain::TenantId;

    use super::*;

    fn sealer(seed: u8) -> Sealer {
        Sealer::new(&MasterKey::of([seed; 32])).unwrap()
    }

    fn path(text: &str) -> SecretPath {
        SecretPath::new(TenantId::SYSTEM, text).unwrap()
    }

    #[test]
    fn a_value_opens_in_its_place() {
        let longest = vec![7; SecretValue::MAX_BYTES];
        for value in [&b""[..], b"hunter2", &longest] {
            let sealed = sealer(1).seal(&path("a"), 3, value).unwrap();
            assert!(sealed.len() <= MAX_SEALED_BYTES);
            assert_eq!(sealer(1).open(&path("a"), 3, sealed).unwrap().expose(), value);
        }
    }

    #[test]
    fn a_value_opens_nowhere_else() {
        let sealed = sealer(1).seal(&path("a"), 3, b"hunter2").unwrap();
        let other_tenant =
            SecretPath::new("0198c0de-0000-7000-8000-000000000001".parse().unwrap(), "a");
        let outcomes = [
            sealer(2).open(&path("a"), 3, sealed.clone()),
            sealer(1).open(&path("b"), 3, sealed.clone()),
            sealer(1).open(&path("a"), 4, sealed.clone()),
            sealer(1).open(&other_tenant.unwrap(), 3, sealed),
        ];
        assert!(outcomes.iter().all(|outcome| *outcome == Err(DoesNotOpen)));
    }

    #[test]
    fn every_bit_and_every_length_matters() {
        let sealed = sealer(1).seal(&path("a"), 1, b"v").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(sealer(1).open(&path("a"), 1, flipped), Err(DoesNotOpen), "bit {bit}");
        }
        for length in 0..sealed.len() {
            let cut = sealed[..length].to_vec();
            assert_eq!(sealer(1).open(&path("a"), 1, cut), Err(DoesNotOpen), "length {length}");
        }
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        let seal = || sealer(1).seal(&path("a"), 1, b"hunter2").unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_key_recognizes_its_own_check_value_only() {
        assert!(sealer(1).recognizes(&sealer(1).check_value()));
        assert!(!sealer(1).recognizes(&sealer(2).check_value()));
        assert!(!sealer(1).recognizes(b""));
    }
}

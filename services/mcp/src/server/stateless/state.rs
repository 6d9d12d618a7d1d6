//! The state that a client carries for us between two tries of one request.
//!
//! It is signed (HMAC-SHA-256) together with who asked, where, and for what: no other key, scope
//! or request can use it, and it ends by itself. It is not secret: what it carries of an
//! upstream was said to the client by the upstream anyway.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::digest;
use crate::splice;

const FORMAT: u8 = 1;
const PARKED: u8 = 1;
const UPSTREAM: u8 = 2;
const TAG_BYTES: usize = 32;
/// Format, kind and expiry.
const HEAD_BYTES: usize = 10;

/// What signs states. Whoever has it can make them.
pub struct StateKey(hmac::Key);

impl std::fmt::Debug for StateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateKey")
    }
}

/// Who may bring a state back, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// Who asked: an id that no other principal has.
    pub principal: &'a str,
    /// What the request was sent to.
    pub scope: &'a str,
    /// The method.
    pub method: &'a str,
    /// What was asked for, as [`request_digest`] makes it.
    pub digest: [u8; 32],
}

/// What a state says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedState {
    /// The call waits here under this number.
    Parked([u8; 16]),
    /// An upstream's own state.
    Upstream {
        /// The server that it belongs to.
        server: String,
        /// What the server wants back.
        state: String,
    },
}

/// Why a state is not taken. Clients are told one thing only: that it is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateRefused {
    /// It was not made here, not for this request, or was changed.
    #[error("requestState is not valid for this request")]
    Invalid,
    /// It was, but its time is over.
    #[error("requestState has expired: send the request again without it")]
    Expired,
}

impl StateKey {
    /// A key of its own; `None` if the system has no randomness to give.
    #[must_use]
    pub fn generate(random: &SystemRandom) -> Option<Self> {
        let mut bytes = [0; 32];
        random.fill(&mut bytes).ok()?;
        Some(Self::from_bytes(&bytes))
    }

    /// A key that several edges share; at least 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Seals a state until `expires_at_ms` (milliseconds since the epoch).
    #[must_use]
    pub fn seal(&self, binding: &Binding<'_>, state: &SealedState, expires_at_ms: i64) -> String {
        let mut body = vec![FORMAT];
        let (kind, data) = match state {
            SealedState::Parked(number) => (PARKED, number.to_vec()),
            SealedState::Upstream { server, state } => {
                let length = u16::try_from(server.len()).unwrap_or(u16::MAX);
                let server = &server.as_bytes()[..usize::from(length)];
                (UPSTREAM, [&length.to_be_bytes(), server, state.as_bytes()].concat())
            }
        };
        body.push(kind);
        body.extend_from_slice(&expires_at_ms.to_be_bytes());
        body.extend_from_slice(&data);
        let tag = hmac::sign(&self.0, &bound(binding, &body));
        body.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(body)
    }

    /// Reads a state that a client brought.
    ///
    /// # Errors
    /// [`StateRefused`]. The signature is checked in constant time, before anything is believed.
    pub fn open(
        &self,
        binding: &Binding<'_>,
        text: &str,
        now_ms: i64,
    ) -> Result<SealedState, StateRefused> {
        let invalid = StateRefused::Invalid;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid)?;
        let end = bytes.len().checked_sub(TAG_BYTES).filter(|end| *end >= HEAD_BYTES);
        let (body, tag) = bytes.split_at(end.ok_or(invalid)?);
        hmac::verify(&self.0, &bound(binding, body), tag).map_err(|_| invalid)?;
        let (head, data) = body.split_at(HEAD_BYTES);
        let expires: [u8; 8] = head[2..].try_into().map_err(|_| invalid)?;
        if i64::from_be_bytes(expires) <= now_ms {
            return Err(StateRefused::Expired);
        }
        match (head[0], head[1]) {
            (FORMAT, PARKED) => data.try_into().map(SealedState::Parked).map_err(|_| invalid),
            (FORMAT, UPSTREAM) => upstream(data).ok_or(invalid),
            _ => Err(invalid),
        }
    }
}

fn upstream(data: &[u8]) -> Option<SealedState> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let (server, state) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some(SealedState::Upstream {
        server: String::from_utf8(server.to_vec()).ok()?,
        state: String::from_utf8(state.to_vec()).ok()?,
    })
}

/// What is signed. Every part is preceded by its length, so that parts cannot run into each other.
fn bound(binding: &Binding<'_>, body: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 5] = [
        binding.principal.as_bytes(),
        binding.scope.as_bytes(),
        binding.method.as_bytes(),
        &binding.digest,
        body,
    ];
    let mut out = b"mcp-orch requestState".to_vec();
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// A digest over what a request asks for: its name or URI, its reference and its arguments, however
/// they are written. Rounds of one request have the same.
#[must_use]
pub fn request_digest(params: &Bytes) -> [u8; 32] {
    let parts = ["name", "uri", "ref", "argument", "arguments"].map(|name| {
        let raw = splice::slice(params, &[name]).ok().flatten().unwrap_or_default();
        match serde_json::from_slice::<Value>(&raw) {
            Ok(value) => {
                let mut out = Vec::with_capacity(raw.len());
                canonical(&value, &mut out);
                out
            }
            Err(_) => raw.to_vec(),
        }
    });
    digest::sha256(parts.iter().map(Vec::as_slice))
}

fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (key, value) in members {
                out.extend_from_slice(&splice::quote(key));
                out.push(b':');
                canonical(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(elements) => {
            out.push(b'[');
            for element in elements {
                canonical(element, out);
                out.push(b',');
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binding() -> Binding<'static> {
        let digest = request_digest(&r#"{"name":"t","arguments":{"a":1,"b":[2]}}"#.into());
        Binding { principal: "k", scope: "p", method: "tools/call", digest }
    }

    fn state() -> SealedState {
        SealedState::Upstream { server: "s".to_owned(), state: "opaque é".to_owned() }
    }

    #[test]
    fn a_state_opens_for_the_same_request_of_the_same_client_only() {
        let key = StateKey::from_bytes(&[7; 32]);
        for state in [state(), SealedState::Parked([3; 16])] {
            let sealed = key.seal(&binding(), &state, 1_000);
            assert_eq!(key.open(&binding(), &sealed, 999), Ok(state));
            assert_eq!(key.open(&binding(), &sealed, 1_000), Err(StateRefused::Expired));
            let refused = |binding: Binding<'_>| key.open(&binding, &sealed, 0).unwrap_err();
            let same = binding();
            for other in [
                Binding { principal: "k2", ..same },
                Binding { scope: "p2", ..same },
                Binding { method: "prompts/get", ..same },
                Binding { digest: [0; 32], ..same },
                // A letter that moves from one part to the next is no way around.
                Binding { principal: "", scope: "kp", ..same },
            ] {
                assert_eq!(refused(other), StateRefused::Invalid);
            }
            let other = StateKey::from_bytes(&[8; 32]);
            assert_eq!(other.open(&same, &sealed, 0), Err(StateRefused::Invalid));
            let appended = format!("{sealed}-TAMPERED");
            assert_eq!(key.open(&same, &appended, 0), Err(StateRefused::Invalid));
        }
    }

    #[test]
    fn the_digest_does_not_depend_on_how_arguments_are_written() {
        let digest = |params: &'static str| request_digest(&params.into());
        let one = digest(r#"{"name":"t","arguments":{"a":1,"b":[2]}}"#);
        let same = r#"{ "arguments" : {"b":[ 2 ],"\u0061":1}, "name":"t", "requestState":"x" }"#;
        assert_eq!(digest(same), one);
        for other in [
            r#"{"name":"u","arguments":{"a":1,"b":[2]}}"#,
            r#"{"name":"t","arguments":{"a":1,"b":[3]}}"#,
            r#"{"uri":"t","arguments":{"a":1,"b":[2]}}"#,
            r#"{"name":"t"}"#,
        ] {
            assert_ne!(digest(other), one, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_changed_state_opens(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let key = StateKey::from_bytes(&[7; 32]);
            let sealed = key.seal(&binding(), &state(), i64::MAX);
            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(key.open(&binding(), &changed, 0), Err(StateRefused::Invalid));
        }

        #[test]
        fn no_foreign_text_opens(text in "\\PC{0,80}") {
            let key = StateKey::from_bytes(&[7; 32]);
            prop_assert!(key.open(&binding(), &text, 0).is_err());
        }
    }
}

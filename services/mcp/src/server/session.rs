//! The id of a session of the older era.

use ring::rand::SecureRandom;

/// A session's id: 1 to 128 visible ASCII characters (0x21 to 0x7E). Ours have 32 hexadecimal
/// ones: 128 bits that cannot be guessed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// The longest id that is accepted, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// A new id; `None` if the system has no randomness to give.
    #[must_use]
    pub fn generate(random: &dyn SecureRandom) -> Option<Self> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes).ok()?;
        Some(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// An id from a header or a query; `None` if it is not of the form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let legal = (1..=Self::MAX_BYTES).contains(&text.len())
            && text.bytes().all(|byte| (0x21..=0x7E).contains(&byte));
        legal.then(|| Self(text.to_owned()))
    }

    /// The id as it goes over the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SessionId {
    /// Who holds the id may speak in the session: only its start is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionId({}…)", &self.0[..self.0.len().min(6)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unlike_each_other_and_of_the_legal_form() {
        let random = ring::rand::SystemRandom::new();
        let one = SessionId::generate(&random).unwrap();
        assert_ne!(Some(&one), SessionId::generate(&random).as_ref());
        assert_eq!(SessionId::parse(one.as_str()), Some(one));
        for text in ["", "a b", "é", "a\n", &"x".repeat(129)] {
            assert_eq!(SessionId::parse(text), None, "{text:?}");
        }
    }
}

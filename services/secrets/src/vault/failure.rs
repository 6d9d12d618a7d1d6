//! What can go wrong with one request to Vault, and what it means for the caller.

use rustls::crypto::ring::default_provider;
use vaultrs::error::ClientError;

use crate::SecretError;

/// Most characters of a server's own words that are passed on.
const MAX_WORDS: usize = 300;

/// Why a request brought nothing. Carries nothing of a value or a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such thing, or not any more.
    Absent,
    /// The server understood, and refused.
    Refused {
        /// HTTP status, 400 to 499.
        status: u16,
        /// In the server's words.
        words: String,
    },
    /// No usable answer: the server is not there, sealed, overloaded, or not Vault.
    Away {
        /// For the operator.
        cause: String,
    },
}

impl Failure {
    pub(super) const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: 403, .. })
    }

    /// Whether the server refused and said this.
    pub(super) fn says(&self, part: &str) -> bool {
        matches!(self, Self::Refused { words, .. } if words.contains(part))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::APIError { code: 404, errors } if errors.is_empty() => Self::Absent,
            ClientError::APIError { code, errors } => answered(code, &errors.join("; ")),
            ClientError::RestClientError { source } => of_request(source),
            // Their text carries nothing of an answer.
            other => Self::Away { cause: other.to_string() },
        }
    }
}

/// Named through the field of another error, as its crate is none of ours.
fn of_request(error: rustify::errors::ClientError) -> Failure {
    use rustify::errors::ClientError as Error;
    match error {
        // A version that was deleted: an answer with data instead of errors.
        Error::ServerResponseError { code: 404, content: Some(content) }
            if content.contains("\"data\"") =>
        {
            Failure::Absent
        }
        Error::ServerResponseError { code, .. } => answered(code, ""),
        Error::RequestError { source, .. } | Error::ResponseError { source } => {
            Failure::Away { cause: source.root_cause().to_string() }
        }
        // The content of an answer may hold a value: it is left out.
        _ => Failure::Away { cause: "the answer is none of Vault's API".to_owned() },
    }
}

fn answered(status: u16, words: &str) -> Failure {
    let mut said: String = words.chars().take(MAX_WORDS).collect();
    if said.is_empty() {
        said = format!("HTTP status {status}");
    }
    match status {
        // Too many requests, or a replica that has not caught up: both pass.
        400..=499 if !matches!(status, 412 | 429) => Failure::Refused { status, words: said },
        _ => Failure::Away { cause: said },
    }
}

impl From<Failure> for SecretError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Absent => Self::NotFound,
            Failure::Refused { status: 403, words } => Self::Denied { detail: words },
            Failure::Refused { words, .. } => {
                Self::Unavailable { detail: format!("Vault refused: {words}") }
            }
            Failure::Away { cause } => Self::Unavailable { detail: format!("Vault: {cause}") },
        }
    }
}

/// Names what makes TLS for the whole process, unless something has done so already.
pub(super) fn provide_tls() {
    // It fails where one is named already, which then serves.
    default_provider().install_default().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, errors: &[&str]) -> Failure {
        let errors = errors.iter().map(|&error| error.to_owned()).collect();
        ClientError::APIError { code, errors }.into()
    }

    #[test]
    fn only_a_404_without_words_means_that_nothing_is_there() {
        assert_eq!(api(404, &[]), Failure::Absent);
        let no_mount = api(404, &["no handler for route"]);
        assert!(no_mount.says("no handler"), "{no_mount:?}");
        assert!(matches!(no_mount.into(), SecretError::Unavailable { .. }));
    }

    #[test]
    fn a_refusal_is_told_from_an_outage() {
        assert!(api(403, &["permission denied"]).is_forbidden());
        for code in [412, 429, 500, 503] {
            let failure = api(code, &["Vault is sealed"]);
            assert_eq!(failure, Failure::Away { cause: "Vault is sealed".to_owned() }, "{code}");
        }
        assert_eq!(api(502, &[]), Failure::Away { cause: "HTTP status 502".to_owned() });
    }
}

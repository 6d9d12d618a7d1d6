//! Why a stateless request is refused, with the JSON-RPC code and the HTTP status that say so.

use bytes::Bytes;
use http::StatusCode;

use super::REVISION;
use crate::envelope::{self, Id};
use crate::splice;

/// The error codes that this revision adds.
pub mod code {
    /// A header does not say what the body says.
    pub const HEADER_MISMATCH: i64 = -32020;
    /// The request needs a capability that the client did not declare.
    pub const MISSING_CAPABILITY: i64 = -32021;
    /// The revision that the request names is not supported.
    pub const UNSUPPORTED_VERSION: i64 = -32022;
}

/// Why a request is refused before it is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Required members of `_meta` are missing, or are not what they must be.
    Meta {
        /// The first member that is wrong.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The revision is not supported; what was asked for.
    UnsupportedVersion(String),
    /// A header and the body disagree, or a required header is missing.
    HeaderMismatch {
        /// The header.
        header: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The client did not declare what the request needs: raw JSON in the shape of client
    /// capabilities, with exactly what is missing.
    MissingCapability(Bytes),
    /// The revision has no such method.
    UnknownMethod(String),
    /// Wrong parameters of a request whose method is known: answered in band.
    Parameters(&'static str),
}

impl Refusal {
    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Meta { .. } | Self::Parameters(_) => envelope::code::INVALID_PARAMS,
            Self::UnsupportedVersion(_) => code::UNSUPPORTED_VERSION,
            Self::HeaderMismatch { .. } => code::HEADER_MISMATCH,
            Self::MissingCapability(_) => code::MISSING_CAPABILITY,
            Self::UnknownMethod(_) => envelope::code::METHOD_NOT_FOUND,
        }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Meta { .. }
            | Self::UnsupportedVersion(_)
            | Self::HeaderMismatch { .. }
            | Self::MissingCapability(_) => StatusCode::BAD_REQUEST,
            Self::UnknownMethod(_) => StatusCode::NOT_FOUND,
            Self::Parameters(_) => StatusCode::OK,
        }
    }

    /// The status of an error that came from elsewhere, by its code: the revision ties one code to
    /// a status whoever says it; all others are answers like any other.
    #[must_use]
    pub const fn status_of(error_code: i64) -> StatusCode {
        match error_code {
            code::MISSING_CAPABILITY => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        }
    }

    /// The raw error object.
    #[must_use]
    pub fn error(&self) -> Bytes {
        let (message, data) = match self {
            Self::Meta { key, problem } => {
                let data = format!("{{\"key\":\"{key}\"}}");
                (format!("_meta: {key} {problem}"), Some(data.into()))
            }
            Self::UnsupportedVersion(requested) => {
                let requested = splice::quote(requested);
                let supported = format!("{{\"supported\":[\"{REVISION}\"],\"requested\":");
                let data = [supported.as_bytes(), &requested, b"}"].concat();
                ("Unsupported protocol version".to_owned(), Some(Bytes::from(data)))
            }
            Self::HeaderMismatch { header, problem } => {
                let quoted = splice::quote(header);
                let data = [b"{\"header\":".as_slice(), &quoted, b"}"].concat();
                (format!("{header} {problem}"), Some(Bytes::from(data)))
            }
            Self::MissingCapability(required) => {
                let data = [b"{\"requiredCapabilities\":".as_slice(), required, b"}"].concat();
                let message = "the client did not declare a capability that this needs";
                (message.to_owned(), Some(Bytes::from(data)))
            }
            Self::UnknownMethod(method) => {
                let shown: String = method.chars().take(100).collect();
                (format!("Method not found: {shown}"), None)
            }
            Self::Parameters(problem) => ((*problem).to_owned(), None),
        };
        envelope::error_object(self.code(), &message, data.as_deref())
    }

    /// The whole answer under the request's id.
    #[must_use]
    pub fn answer(&self, id: Option<&Id>) -> Bytes {
        envelope::error_response(id, &self.error())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_refusal_says_code_status_and_what_helps_the_client() {
        let said = |refusal: Refusal| {
            let answer: Value =
                serde_json::from_slice(&refusal.answer(Some(&Id::number(7)))).unwrap();
            assert_eq!(answer["id"], 7);
            (refusal.status().as_u16(), answer["error"].clone())
        };
        let (status, error) = said(Refusal::UnsupportedVersion("v\"9".to_owned()));
        assert_eq!((status, &error["code"]), (400, &json!(-32022)));
        assert_eq!(error["data"], json!({"supported": [REVISION], "requested": "v\"9"}));
        let missing = Bytes::from_static(br#"{"sampling":{}}"#);
        let (status, error) = said(Refusal::MissingCapability(missing));
        assert_eq!((status, &error["code"]), (400, &json!(-32021)));
        assert_eq!(error["data"], json!({"requiredCapabilities": {"sampling": {}}}));
        let (status, error) = said(Refusal::UnknownMethod("a\"b".to_owned()));
        assert_eq!((status, &error["code"]), (404, &json!(-32601)));
        let problem = "is missing";
        let (status, error) = said(Refusal::HeaderMismatch { header: "Mcp-Name".into(), problem });
        assert_eq!((status, &error["code"]), (400, &json!(-32020)));
        let (status, error) = said(Refusal::Meta { key: "x", problem });
        assert_eq!((status, &error["code"]), (400, &json!(-32602)));
        assert_eq!(said(Refusal::Parameters("no")).0, 200);
    }
}

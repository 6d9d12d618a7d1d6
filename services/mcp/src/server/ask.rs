//! What a server may ask of a client that opened a session: only what the client declared.

use crate::envelope::{self, code};
use crate::splice;

/// Whether a client may be asked, by its raw capabilities (empty for none) and the raw parameters
/// (empty for none). Methods that are not known are let through: clients answer for themselves
/// what they do not know.
///
/// # Errors
/// The raw error that answers the server: method not found where the client has no such
/// capability, invalid parameters where a part of it is missing.
pub fn check_ask(capabilities: &[u8], method: &str, params: &[u8]) -> Result<(), bytes::Bytes> {
    let declares = |path: &[&str]| matches!(splice::find(capabilities, path), Ok(Some(_)));
    let params = if params.is_empty() { b"{}".as_slice() } else { params };
    match method {
        "sampling/createMessage" => {
            if !declares(&["sampling"]) {
                return Err(missing(method));
            }
            let tools = ["tools", "toolChoice"];
            let uses_tools =
                tools.iter().any(|name| !matches!(splice::find(params, &[name]), Ok(None)));
            if uses_tools && !declares(&["sampling", "tools"]) {
                return Err(lacks("sampling.tools"));
            }
            Ok(())
        }
        "elicitation/create" => {
            if !declares(&["elicitation"]) {
                return Err(missing(method));
            }
            let mode = splice::find_string(params, &["mode"]).ok().flatten();
            let by_url = declares(&["elicitation", "url"]);
            match mode.as_deref() {
                Some("url") if !by_url => Err(lacks("elicitation.url")),
                // Before there were modes, an empty capability meant forms.
                None | Some("form") if by_url && !declares(&["elicitation", "form"]) => {
                    Err(lacks("elicitation.form"))
                }
                _ => Ok(()),
            }
        }
        "roots/list" if !declares(&["roots"]) => Err(missing(method)),
        "tasks/list" if !declares(&["tasks", "list"]) => Err(missing(method)),
        "tasks/cancel" if !declares(&["tasks", "cancel"]) => Err(missing(method)),
        "tasks/get" | "tasks/result" if !declares(&["tasks"]) => Err(missing(method)),
        _ => Ok(()),
    }
}

fn missing(method: &str) -> bytes::Bytes {
    let message = format!("Method not found: the client does not offer {method}");
    envelope::error_object(code::METHOD_NOT_FOUND, &message, None)
}

fn lacks(capability: &str) -> bytes::Bytes {
    let message = format!("the client does not offer {capability}");
    envelope::error_object(code::INVALID_PARAMS, &message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of the refusal; 0 where the client may be asked.
    fn refused(capabilities: &str, method: &str, params: &str) -> i64 {
        match check_ask(capabilities.as_bytes(), method, params.as_bytes()) {
            Ok(()) => 0,
            Err(error) => envelope::ErrorObject::parse(&error).code,
        }
    }

    #[test]
    fn a_client_is_asked_what_it_declared() {
        let sampling = "sampling/createMessage";
        assert_eq!(refused("", sampling, ""), -32601);
        assert_eq!(refused("{}", sampling, "{}"), -32601);
        assert_eq!(refused(r#"{"sampling":{}}"#, sampling, "{}"), 0);
        assert_eq!(refused(r#"{"sampling":{}}"#, sampling, r#"{"tools":[]}"#), -32602);
        assert_eq!(refused(r#"{"sampling":{"tools":{}}}"#, sampling, r#"{"tools":[]}"#), 0);
        assert_eq!(refused("{}", "roots/list", ""), -32601);
        assert_eq!(refused(r#"{"roots":{"listChanged":true}}"#, "roots/list", ""), 0);
        assert_eq!(refused("", "ping", ""), 0);
        assert_eq!(refused("", "vendor/thing", ""), 0);
        assert_eq!(refused(r#"{"tasks":{}}"#, "tasks/get", "{}"), 0);
        assert_eq!(refused(r#"{"tasks":{}}"#, "tasks/list", "{}"), -32601);
    }

    #[test]
    fn elicitation_has_modes() {
        let (method, form, url) = ("elicitation/create", "{}", r#"{"mode":"url"}"#);
        assert_eq!(refused("{}", method, form), -32601);
        assert_eq!(refused(r#"{"elicitation":{}}"#, method, form), 0);
        assert_eq!(refused(r#"{"elicitation":{}}"#, method, url), -32602);
        assert_eq!(refused(r#"{"elicitation":{"url":{}}}"#, method, url), 0);
        assert_eq!(refused(r#"{"elicitation":{"url":{}}}"#, method, form), -32602);
        assert_eq!(refused(r#"{"elicitation":{"url":{},"form":{}}}"#, method, form), 0);
    }
}

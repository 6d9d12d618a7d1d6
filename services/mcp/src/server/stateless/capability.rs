//! What a client declared that it can do, and what something needs of it.

use bytes::Bytes;

use crate::splice;

/// The extension for tasks, as it is named in `capabilities.extensions`.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The requirement of tasks, in the shape of client capabilities.
#[must_use]
pub fn tasks_requirement() -> Bytes {
    Bytes::from_static(br#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#)
}

/// Whether raw client capabilities have the tasks extension.
#[must_use]
pub fn declares_tasks(capabilities: &[u8]) -> bool {
    declares(capabilities, &["extensions", TASKS_EXTENSION])
}

/// What a client lacks to be asked `method` with these raw parameters, in the shape of client
/// capabilities; `None` when it declared it. A request that no client can be asked is never
/// covered.
#[must_use]
pub fn missing_for_input(method: &str, params: &[u8], capabilities: &[u8]) -> Option<Bytes> {
    let has = |path: &[&str]| declares(capabilities, path);
    let asks = |key: &str| splice::find(params, &[key]).is_ok_and(|span| span.is_some());
    let missing: &'static str = match method {
        "elicitation/create" => {
            let mode = splice::find_string(params, &["mode"]).ok().flatten();
            if mode.as_deref() == Some("url") {
                if has(&["elicitation", "url"]) {
                    return None;
                }
                r#"{"elicitation":{"url":{}}}"#
            } else {
                // Without a mode it means forms, as it did before there were modes.
                let bare = has(&["elicitation"]) && !has(&["elicitation", "url"]);
                if bare || has(&["elicitation", "form"]) {
                    return None;
                }
                r#"{"elicitation":{"form":{}}}"#
            }
        }
        "sampling/createMessage" => {
            if !has(&["sampling"]) {
                r#"{"sampling":{}}"#
            } else if (asks("tools") || asks("toolChoice")) && !has(&["sampling", "tools"]) {
                r#"{"sampling":{"tools":{}}}"#
            } else {
                return None;
            }
        }
        "roots/list" => {
            if has(&["roots"]) {
                return None;
            }
            r#"{"roots":{}}"#
        }
        _ => "{}",
    };
    Some(Bytes::from_static(missing.as_bytes()))
}

fn declares(capabilities: &[u8], path: &[&str]) -> bool {
    splice::find(capabilities, path)
        .is_ok_and(|span| span.is_some_and(|span| &capabilities[span] != b"null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_declared_may_be_asked() {
        let missing = |method, params: &str, capabilities: &str| {
            missing_for_input(method, params.as_bytes(), capabilities.as_bytes())
                .map(|missing| String::from_utf8(missing.to_vec()).unwrap())
        };
        let form = "elicitation/create";
        assert_eq!(missing(form, "{}", r#"{"elicitation":{}}"#), None);
        assert_eq!(missing(form, "{}", r#"{"elicitation":{"form":{}}}"#), None);
        let forms = Some(r#"{"elicitation":{"form":{}}}"#.to_owned());
        assert_eq!(missing(form, "{}", r#"{"elicitation":{"url":{}}}"#), forms);
        assert_eq!(missing(form, "{}", "{}"), forms);
        let url = Some(r#"{"elicitation":{"url":{}}}"#.to_owned());
        assert_eq!(missing(form, r#"{"mode":"url"}"#, r#"{"elicitation":{}}"#), url);
        assert_eq!(missing(form, r#"{"mode":"url"}"#, r#"{"elicitation":{"url":{}}}"#), None);
        let sampling = "sampling/createMessage";
        assert_eq!(missing(sampling, "{}", r#"{"sampling":{}}"#), None);
        assert_eq!(missing(sampling, "{}", "{}").as_deref(), Some(r#"{"sampling":{}}"#));
        let tools = missing(sampling, r#"{"tools":[]}"#, r#"{"sampling":{}}"#);
        assert_eq!(tools.as_deref(), Some(r#"{"sampling":{"tools":{}}}"#));
        assert_eq!(
            missing("roots/list", "{}", r#"{"roots":null}"#).as_deref(),
            Some(r#"{"roots":{}}"#)
        );
        assert_eq!(missing("tools/call", "{}", "{}").as_deref(), Some("{}"));
        assert!(declares_tasks(br#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#));
        assert!(!declares_tasks(br#"{"tasks":{}}"#));
    }
}

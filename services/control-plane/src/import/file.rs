//! Reading a client's configuration file: JSON with comments and trailing commas.
//!
//! The servers are under `mcpServers` (Claude, Cursor, Cline, Windsurf), `servers` or
//! `mcp.servers` (VS Code), or `context_servers` (Zed).

use std::collections::BTreeSet;

use domain::server::ServerName;
use domain::{ErrorCode, Refusal};
use jsonc_parser::{JsonValue, ParseOptions, parse_to_value};
use proto::control::v1::Transport;
use serde_json::{Map, Number, Value};

use super::described::Described;
use super::fields::Fields;

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Most servers in a file.
pub const MAX_SERVERS: usize = 500;

/// A file that could be read. Has no `Debug`: it holds secrets.
pub struct ConfigFile {
    /// The servers, by name.
    pub entries: Vec<Entry>,
}

/// One server of a file. Has no `Debug`: it holds secrets.
pub struct Entry {
    /// As the file has it.
    pub name: String,
    /// What it is to be, or why it is refused.
    pub server: Result<Described, Refusal>,
}

/// Reads a file.
///
/// # Errors
/// `InvalidArgument` when the file as a whole cannot be used. What is wrong with one server is
/// in its entry.
pub fn parse(text: &str) -> Result<ConfigFile, Refusal> {
    let bad = |message: String| Refusal::invalid("config_json", message);
    if text.len() > MAX_FILE_BYTES {
        return Err(bad("has more than 1 MiB".to_owned()));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value = parse_to_value(text, &options()).map_err(|error| {
        // The error's own text quotes the file.
        let (line, column) = (error.line_display(), error.column_display());
        bad(format!("is not JSON: line {line}, column {column}"))
    })?;
    let Some(JsonValue::Object(_)) = &value else {
        return Err(bad("must be a JSON object".to_owned()));
    };
    let Some(Value::Object(root)) = value.map(plain) else {
        return Err(bad("must be a JSON object".to_owned()));
    };
    let groups = groups(root)?;
    if groups.iter().map(Map::len).sum::<usize>() > MAX_SERVERS {
        return Err(Refusal {
            code: ErrorCode::InvalidArgument,
            message: format!("has more than {MAX_SERVERS} servers"),
            field: Some("config_json".to_owned()),
        });
    }
    let mut names = BTreeSet::new();
    let entries = groups.into_iter().flatten().map(|(name, value)| {
        let server = match names.insert(name.trim().to_owned()) {
            true => entry(&name, value),
            false => Err(Refusal::invalid("name", "is given twice in the file")),
        };
        Entry { name: name.trim().to_owned(), server }
    });
    Ok(ConfigFile { entries: entries.collect() })
}

fn options() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// As JSON without comments.
fn plain(value: JsonValue<'_>) -> Value {
    match value {
        JsonValue::String(text) => Value::String(text.into_owned()),
        JsonValue::Number(text) => text.parse::<Number>().map_or(Value::Null, Value::Number),
        JsonValue::Boolean(flag) => Value::Bool(flag),
        JsonValue::Object(object) => {
            let fields = object.take_inner().into_iter();
            Value::Object(fields.map(|(name, value)| (name.into_owned(), plain(value))).collect())
        }
        JsonValue::Array(list) => Value::Array(list.take_inner().into_iter().map(plain).collect()),
        JsonValue::Null => Value::Null,
    }
}

fn groups(root: Map<String, Value>) -> Result<Vec<Map<String, Value>>, Refusal> {
    let mut found = Vec::new();
    for (key, value) in root {
        let (key, value) = match (key.as_str(), value) {
            ("mcpServers" | "servers" | "context_servers", value) => (key, value),
            ("mcp", Value::Object(mut mcp)) => match mcp.remove("servers") {
                Some(servers) => ("mcp.servers".to_owned(), servers),
                None => continue,
            },
            ("mcp.servers", value) => (key, value),
            _ => continue,
        };
        match value {
            Value::Object(servers) => found.push(servers),
            Value::Null => found.push(Map::new()),
            _ => return Err(Refusal::invalid(key, "must be an object")),
        }
    }
    if found.is_empty() {
        let message = "has no servers: they belong under \"mcpServers\"";
        return Err(Refusal::invalid("config_json", message));
    }
    Ok(found)
}

fn entry(name: &str, value: Value) -> Result<Described, Refusal> {
    ServerName::parse("name", name)?;
    let Value::Object(map) = value else {
        return Err(Refusal::invalid("server", "must be an object"));
    };
    let fields = Fields::new(map);
    let mut described = Described::read(&fields)?;
    let spec = &mut described.spec;
    name.trim().clone_into(&mut spec.name);
    check_placeholders(spec.env.iter().chain(&spec.headers), "a value")?;
    check_placeholders(spec.args.iter().map(|arg| (arg, arg)), "args")?;
    check_placeholders([(&spec.url, &spec.url)].into_iter(), "url")?;
    match spec.transport() {
        Transport::Unspecified if spec.disabled => {
            spec.transport = Transport::Stdio.into();
            described.given.push("transport");
        }
        Transport::Unspecified => {
            return Err(Refusal::invalid("command", "is missing, and so is url"));
        }
        Transport::Stdio if spec.command.trim().is_empty() && !spec.disabled => {
            return Err(Refusal::invalid("command", "is missing"));
        }
        Transport::Stdio => {}
        _ if spec.url.trim().is_empty() && !spec.disabled => {
            return Err(Refusal::invalid("url", "is missing"));
        }
        _ => {}
    }
    Ok(described)
}

/// What only the client that the file was written for can fill in.
fn check_placeholders<'a>(
    values: impl Iterator<Item = (&'a String, &'a String)>,
    field: &str,
) -> Result<(), Refusal> {
    for (_, value) in values {
        if ["${input:", "${env:"].iter().any(|mark| value.contains(mark)) {
            return Err(Refusal::invalid(
                field,
                "has a placeholder (${input:…} or ${env:…}) that only its editor can fill in: \
                 write the value instead",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Entry {
        let mut entries = parse(text).unwrap().entries;
        assert_eq!(entries.len(), 1);
        entries.remove(0)
    }

    #[test]
    fn the_seeds_own_file_is_read() {
        let entry = only(
            r#"{"mcpServers":{"remote-sse-server":{"type":"sse",
                "url":"http://10.150.0.36:8000/mcp","timeout":30,
                "headers":{"Authorization":"Bearer your-api-token","X-Custom-Header":"value"},
                "autoApprove":["safe_tool1","safe_tool2"],"disabled":false}}}"#,
        );
        let spec = entry.server.ok().unwrap().spec;
        assert_eq!(entry.name, "remote-sse-server");
        assert_eq!(spec.transport(), Transport::Sse, "whatever the path says");
        assert_eq!((spec.timeout_s, spec.headers.len(), spec.disabled), (30, 2, false));
        assert_eq!(spec.auto_approve, ["safe_tool1", "safe_tool2"]);
    }

    #[test]
    fn the_seeds_mixed_file_with_a_partial_entry_is_read() {
        let file = parse(
            r#"{"mcpServers":{
                "legacy-stdio": {"type":"stdio","command":"npx"},
                "new-sse": {"type":"sse","url":"https://h/sse"},
                "migrating": {"type":"stdio","disabled":true}}}"#,
        );
        let entries = file.unwrap().entries;
        assert!(entries.iter().all(|entry| entry.server.is_ok()));
    }

    #[test]
    fn comments_and_trailing_commas_are_allowed_and_json5_is_not() {
        let entry =
            only("{ // a comment\n \"mcpServers\": {\"a\": {\"command\": \"x\",}, /* b */ } }");
        assert!(entry.server.is_ok());
        assert!(parse("{mcpServers:{}}").is_err());
        assert!(parse("{'mcpServers':{}}").is_err());
    }

    #[test]
    fn each_clients_own_key_is_known() {
        for text in [
            r#"{"servers":{"a":{"type":"http","url":"http://h/mcp"}},"inputs":[]}"#,
            r#"{"mcp":{"servers":{"a":{"command":"x"}}},"editor":1}"#,
            r#"{"context_servers":{"a":{"source":"custom","command":"x"}}}"#,
            r#"{"mcpServers":{"a":{"serverUrl":"http://h/mcp"}}}"#,
        ] {
            assert!(only(text).server.is_ok(), "{text}");
        }
    }

    #[test]
    fn a_bad_entry_is_refused_by_name_and_the_others_stay() {
        let file = parse(
            r#"{"mcpServers":{"good":{"command":"x"},"bad/name":{"command":"x"},
                "no way":{}, "list":[], "ws":{"type":"websocket","url":"ws://h"},
                "hole":{"type":"http","url":"http://h","headers":{"A":"Bearer ${input:t}"}},
                "typed":{"command":"x","args":"canary"}}}"#,
        );
        let mut refused = Vec::new();
        for entry in file.unwrap().entries {
            match entry.server {
                Ok(_) => assert_eq!(entry.name, "good"),
                Err(refusal) => {
                    assert!(!refusal.message.contains("canary"));
                    refused.push(entry.name);
                }
            }
        }
        assert_eq!(refused, ["bad/name", "hole", "list", "no way", "typed", "ws"]);
    }

    #[test]
    fn a_file_has_limits_and_an_error_shows_where_and_not_what() {
        let canary =
            parse(r#"{"mcpServers": {"a": {"env": {"K": "canary" "B" }}}}"#).err().unwrap();
        assert!(!canary.message.contains("canary") && canary.message.contains("line 1"));
        assert!(parse(&" ".repeat(MAX_FILE_BYTES + 1)).is_err());
        assert!(parse(&format!("{{\"mcpServers\":{}", "[".repeat(100_000))).is_err());
        let many: Vec<_> =
            (0..=MAX_SERVERS).map(|n| format!("\"s{n}\":{{\"command\":\"x\"}}")).collect();
        assert!(parse(&format!("{{\"mcpServers\":{{{}}}}}", many.join(","))).is_err());
        for text in ["", "[]", "{}", "{\"mcpServers\":[]}"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}

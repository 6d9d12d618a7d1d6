//! The arguments of a tool that are repeated in headers, as its schema asks for with
//! `x-mcp-header`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::hop;
use crate::catalogue::Item;
use crate::splice;

/// The annotation of a property.
const ANNOTATION: &str = "x-mcp-header";

/// What the name in the annotation is put behind.
const PREFIX: &str = "mcp-param-";

/// Where in a schema an annotation has no meaning, but makes the tool invalid.
const UNREACHABLE: [&str; 18] = [
    "items",
    "prefixItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
    "patternProperties",
    "dependentSchemas",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "$defs",
    "definitions",
];

/// Those of them whose value is an object of schemas.
const OBJECTS_OF_SCHEMAS: [&str; 4] =
    ["patternProperties", "dependentSchemas", "$defs", "definitions"];

/// Why a tool must not be used over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Invalid {
    #[error("x-mcp-header stands where no argument is")]
    Place,
    #[error("x-mcp-header is not the name of a header")]
    Name,
    #[error("x-mcp-header is on a property that is no string, integer or boolean")]
    Type,
    #[error("x-mcp-header names a header twice")]
    Twice,
}

/// Which arguments of a tool go into which headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ToolHeaders(Vec<(Vec<String>, HeaderName)>);

impl ToolHeaders {
    /// What a tool's definition asks for; most ask for nothing.
    fn of_tool(tool: &Item) -> Result<Self, Invalid> {
        let raw = tool.raw();
        let may_ask = memchr::memmem::find(raw, ANNOTATION.as_bytes()).is_some()
            || memchr::memmem::find(raw, b"\\u").is_some();
        let schema = splice::slice(raw, &["inputSchema"]).ok().flatten();
        let (true, Some(schema)) = (may_ask, schema) else {
            return Ok(Self::default());
        };
        let Ok(schema) = serde_json::from_slice::<Value>(&schema) else {
            return Ok(Self::default());
        };
        let mut walk = Walk { found: Vec::new(), names: HashSet::new() };
        walk.visit(&schema, Some(&mut Vec::new()))?;
        Ok(Self(walk.found))
    }

    fn apply(&self, params: &Bytes, headers: &mut HeaderMap) {
        for (path, name) in &self.0 {
            let path: Vec<&str> =
                std::iter::once("arguments").chain(path.iter().map(String::as_str)).collect();
            // An argument that cannot be found has no header; the server says what is missing.
            let Ok(Some(raw)) = splice::slice(params, &path) else { continue };
            if let Some(text) = scalar(&raw) {
                headers.insert(name.clone(), hop::value(&text));
            }
        }
    }
}

/// The tools of one server that want arguments in headers, by name.
#[derive(Debug, Default)]
pub(super) struct KnownTools(RwLock<HashMap<String, ToolHeaders>>);

impl KnownTools {
    /// Takes note of all tools of the server and leaves out those that must not be used.
    pub(super) fn learn(&self, tools: Vec<Item>) -> Vec<Item> {
        let mut known = HashMap::new();
        let usable = tools.into_iter().filter(|tool| match ToolHeaders::of_tool(tool) {
            Ok(headers) => {
                if !headers.0.is_empty() {
                    known.insert(tool.key().to_owned(), headers);
                }
                true
            }
            Err(reason) => {
                tracing::warn!(tool = tool.key(), %reason, "tool of an upstream left out");
                false
            }
        });
        let usable = usable.collect();
        // Replacing the map cannot panic half way.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
        usable
    }

    /// Adds the headers of a call with these parameters.
    pub(super) fn apply(&self, params: &Bytes, headers: &mut HeaderMap) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return;
        }
        if let Ok(Some(name)) = splice::find_string(params, &["name"])
            && let Some(wanted) = known.get(&*name)
        {
            wanted.apply(params, headers);
        }
    }
}

/// A string, number or boolean as text; nothing else has a header.
fn scalar(raw: &[u8]) -> Option<Cow<'_, str>> {
    match raw.first()? {
        b'"' => splice::unquote(raw),
        b't' | b'f' | b'-' | b'0'..=b'9' => std::str::from_utf8(raw).ok().map(Into::into),
        _ => None,
    }
}

struct Walk {
    found: Vec<(Vec<String>, HeaderName)>,
    names: HashSet<HeaderName>,
}

impl Walk {
    /// Looks at a schema and those in it. `path` leads to it through properties only; without one
    /// no annotation is legal.
    fn visit(&mut self, schema: &Value, mut path: Option<&mut Vec<String>>) -> Result<(), Invalid> {
        let Some(schema) = schema.as_object() else {
            return Ok(());
        };
        if let Some(annotation) = schema.get(ANNOTATION) {
            let place = path.as_deref().filter(|path| !path.is_empty()).ok_or(Invalid::Place)?;
            let name = header_name(annotation)?;
            let kind = schema.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("string" | "integer" | "boolean")) {
                return Err(Invalid::Type);
            }
            if !self.names.insert(name.clone()) {
                return Err(Invalid::Twice);
            }
            self.found.push((place.clone(), name));
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, property) in properties {
                if let Some(path) = path.as_deref_mut() {
                    path.push(key.clone());
                    self.visit(property, Some(path))?;
                    path.pop();
                } else {
                    self.visit(property, None)?;
                }
            }
        }
        for keyword in UNREACHABLE {
            match schema.get(keyword) {
                Some(Value::Array(schemas)) => {
                    schemas.iter().try_for_each(|schema| self.visit(schema, None))?;
                }
                Some(Value::Object(schemas)) if OBJECTS_OF_SCHEMAS.contains(&keyword) => {
                    schemas.values().try_for_each(|schema| self.visit(schema, None))?;
                }
                Some(schema) => self.visit(schema, None)?,
                None => {}
            }
        }
        Ok(())
    }
}

fn header_name(annotation: &Value) -> Result<HeaderName, Invalid> {
    let name = annotation.as_str().filter(|name| !name.is_empty()).ok_or(Invalid::Name)?;
    HeaderName::from_bytes(format!("{PREFIX}{name}").as_bytes()).map_err(|_| Invalid::Name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ListKind;

    fn of(properties: &Value) -> Result<ToolHeaders, Invalid> {
        let schema = json!({"type": "object", "properties": properties});
        let tool = json!({"name": "t", "inputSchema": schema}).to_string();
        ToolHeaders::of_tool(&Item::parse(ListKind::Tools, tool.into()).unwrap())
    }

    #[test]
    fn annotated_arguments_go_into_headers_at_any_depth() {
        let headers = of(&json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "plain": {"type": "string"},
            "in": {"type": "object", "properties": {
                "n": {"type": "integer", "x-mcp-header": "Count"},
                "off": {"type": "boolean", "x-mcp-header": "off"},
                "none": {"type": "string", "x-mcp-header": "None"},
            }},
        }))
        .unwrap();
        let params = json!({"name": "t", "arguments":
            {"region": "é", "plain": "x", "in": {"n": -42, "off": false, "none": null}}});
        let mut made = HeaderMap::new();
        headers.apply(&params.to_string().into(), &mut made);
        assert_eq!(made["mcp-param-region"], "=?base64?w6k=?=");
        assert_eq!(made["mcp-param-count"], "-42");
        assert_eq!(made["mcp-param-off"], "false");
        assert_eq!(made.len(), 3);
    }

    #[test]
    fn a_tool_that_asks_for_nothing_has_no_headers() {
        assert!(of(&json!({"a": {"type": "string"}})).unwrap().0.is_empty());
        assert!(of(&json!({"a": {"type": "string", "default": "\u{7}"}})).unwrap().0.is_empty());
    }

    #[test]
    fn annotations_that_mean_nothing_make_the_tool_invalid() {
        let string = |name: &str| json!({"type": "string", "x-mcp-header": name});
        for (properties, why) in [
            (json!({"a": string("")}), Invalid::Name),
            (json!({"a": string("My Region")}), Invalid::Name),
            (json!({"a": string("Region:x")}), Invalid::Name),
            (json!({"a": string("Région")}), Invalid::Name),
            (json!({"a": {"type": "string", "x-mcp-header": 1}}), Invalid::Name),
            (json!({"a": {"type": "number", "x-mcp-header": "A"}}), Invalid::Type),
            (json!({"a": {"type": ["string"], "x-mcp-header": "A"}}), Invalid::Type),
            (json!({"a": {"x-mcp-header": "A"}}), Invalid::Type),
            (json!({"a": string("Field"), "b": string("field")}), Invalid::Twice),
            (json!({"a": {"type": "array", "items": string("A")}}), Invalid::Place),
            (json!({"a": {"anyOf": [{"properties": {"b": string("A")}}]}}), Invalid::Place),
            (json!({"a": {"$defs": {"d": string("A")}}}), Invalid::Place),
        ] {
            assert_eq!(of(&properties), Err(why), "{properties}");
        }
    }
}

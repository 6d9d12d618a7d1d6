//! Each server for itself, named `project-{project}-{server}`: with its values, or with `…`.

use std::collections::BTreeMap;

use domain::ProjectId;
use domain::server::{HttpTarget, Transport};
use serde_json::{Map, Value, json};

use crate::launch::{HIDDEN, LaunchBundle};
use crate::views::ServerView;

/// The configuration of servers, each with its values or without. Servers that were taken over
/// without a way to reach them are left out.
pub(super) fn config<'a>(
    project: &ProjectId,
    servers: impl Iterator<Item = (&'a ServerView, Option<&'a LaunchBundle>)>,
) -> Value {
    let entries = servers.filter_map(|(server, values)| {
        let mut entry = entry(&server.config.transport, values)?;
        if server.disabled {
            entry.insert("disabled".to_owned(), true.into());
        }
        Some((format!("project-{project}-{}", server.name), Value::Object(entry)))
    });
    json!({ "mcpServers": entries.collect::<Map<_, _>>() })
}

fn entry(transport: &Transport, values: Option<&LaunchBundle>) -> Option<Map<String, Value>> {
    let mut entry = Map::new();
    let mut put = |name: &str, value: Value| drop(entry.insert(name.to_owned(), value));
    match transport {
        Transport::Unset => return None,
        Transport::Stdio { command, shown_args, env_names, cwd } => {
            put("type", "stdio".into());
            put("command", command.as_str().into());
            put("args", json!(values.map_or(shown_args, |values| &values.args)));
            put("env", texts(values.map(|values| &values.env), env_names));
            if let Some(cwd) = cwd {
                put("cwd", cwd.as_str().into());
            }
        }
        Transport::Sse(target) => {
            put("type", "sse".into());
            http(&mut put, target, values);
        }
        Transport::StreamableHttp(target) => {
            put("type", "streamableHttp".into());
            http(&mut put, target, values);
        }
        // Clients that see no type find it out themselves, as the worker does.
        Transport::Probe(target) => http(&mut put, target, values),
    }
    Some(entry)
}

fn http(put: &mut impl FnMut(&str, Value), target: &HttpTarget, values: Option<&LaunchBundle>) {
    let full = values.and_then(|values| values.url.as_deref());
    put("url", full.unwrap_or(&target.url).into());
    put("headers", texts(values.map(|values| &values.headers), &target.header_names));
}

fn texts(values: Option<&BTreeMap<String, String>>, names: &[String]) -> Value {
    match values {
        Some(values) => json!(values),
        None => names.iter().map(|name| (name.clone(), Value::from(HIDDEN))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Described, Fields};
    use crate::launch;

    fn entry_of(json: &str, with_values: bool) -> Value {
        let described = Described::read(&Fields::parse(json.as_bytes()).unwrap()).ok().unwrap();
        let (transport, bundle) = launch::split(&described.spec).unwrap();
        entry(&transport, with_values.then_some(&bundle)).map_or(Value::Null, Value::Object)
    }

    #[test]
    fn the_seeds_examples_come_out_with_their_values() {
        let stdio = entry_of(
            r#"{"command":"npx","args":["-y","@modelcontextprotocol/server-github"],
                "env":{"GITHUB_TOKEN":"..."}}"#,
            true,
        );
        assert_eq!(
            stdio,
            json!({ "type": "stdio", "command": "npx",
                "args": ["-y", "@modelcontextprotocol/server-github"],
                "env": { "GITHUB_TOKEN": "..." } })
        );
        let sse = entry_of(
            r#"{"type":"sse","url":"https://analytics-mcp.example.com/sse?k=v",
                "headers":{"X-API-Key":"..."}}"#,
            true,
        );
        assert_eq!(
            sse,
            json!({ "type": "sse", "url": "https://analytics-mcp.example.com/sse?k=v",
                "headers": { "X-API-Key": "..." } })
        );
    }

    #[test]
    fn without_values_the_names_are_there_and_nothing_else() {
        let stdio = entry_of(
            r#"{"command":"npx","args":["-y","pkg","--token","canary"],"env":{"A":"canary"}}"#,
            false,
        );
        assert_eq!(
            stdio,
            json!({ "type": "stdio", "command": "npx", "args": ["-y", "pkg", "--token", "…"],
                "env": { "A": "…" } })
        );
        let sse = entry_of(
            r#"{"type":"sse","url":"http://u:canary@h/sse?canary","headers":{"X":"canary"}}"#,
            false,
        );
        assert_eq!(sse, json!({ "type": "sse", "url": "http://h/sse", "headers": { "X": "…" } }));
    }
}

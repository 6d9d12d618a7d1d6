//! Whole messages under a server's namespace.

use bytes::Bytes;
use mcp::uri::Namespace;
use serde_json::Value;

use crate::pieces::line;

const METHODS: [&str; 14] = [
    "tools/call",
    "prompts/get",
    "resources/read",
    "tasks/get",
    "tasks/result",
    "tasks/cancel",
    "tasks/list",
    "tasks/update",
    "notifications/resources/updated",
    "notifications/tasks",
    "notifications/tasks/status",
    "notifications/subscriptions/acknowledged",
    "sampling/createMessage",
    "elicitation/create",
];

/// A byte for the method, a line with a server, then JSON. What clients see is JSON in which only
/// strings changed, and those lead back.
pub fn places(data: &[u8]) {
    let Some((method, rest)) = data.split_first() else {
        return;
    };
    let method = METHODS[usize::from(*method) % METHODS.len()];
    let (server, json) = line(rest);
    // What reaches the functions has passed the envelope.
    let Ok(said) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    let space = Namespace::of_server(&server);
    let json = Bytes::copy_from_slice(json);
    let seen = [
        space.expose_result(method, &json),
        space.expose_notification(method, &json),
        space.expose_request(method, &json),
        space.expose_error(&json),
    ];
    for seen in seen {
        let Ok(seen) = seen else {
            continue;
        };
        assert!(seen.len() >= json.len());
        let seen: Value = serde_json::from_slice(&seen).expect("JSON stays JSON");
        compare(&space, &said, &seen);
    }
    assert_eq!(Namespace::identity().expose_result(method, &json).as_ref(), Ok(&json));
    if let Ok(restored) = space.restore(&json) {
        assert!(serde_json::from_slice::<Value>(&restored).is_ok() && restored.len() <= json.len());
    }
}

fn compare(space: &Namespace, said: &Value, seen: &Value) {
    match (said, seen) {
        (Value::String(said), Value::String(seen)) => {
            let leads_back = space.original(seen).as_deref() == Some(said.as_str());
            assert!(said == seen || leads_back, "{said:?} became {seen:?}");
        }
        (Value::Array(said), Value::Array(seen)) => {
            assert_eq!(said.len(), seen.len());
            said.iter().zip(seen).for_each(|(said, seen)| compare(space, said, seen));
        }
        (Value::Object(said), Value::Object(seen)) => {
            assert!(said.keys().eq(seen.keys()));
            said.values().zip(seen.values()).for_each(|(said, seen)| compare(space, said, seen));
        }
        _ => assert_eq!(said, seen),
    }
}

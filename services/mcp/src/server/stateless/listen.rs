//! `subscriptions/listen`: what a client wants to hear, and how it is told.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Refusal, key};
use crate::ListKind;
use crate::envelope::{self, Id};
use crate::splice::{self, SpliceError};

/// Most resources and tasks in one filter.
const MAX_ENTRIES: usize = 1_000;

/// What a client wants to hear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenFilter {
    /// Changes of the tools.
    pub tools: bool,
    /// Changes of the prompts.
    pub prompts: bool,
    /// Changes of the resources and their templates.
    pub resources: bool,
    /// Updates of these resources.
    pub uris: Vec<String>,
    /// Changes of these tasks (tasks extension).
    pub tasks: Vec<String>,
}

impl ListenFilter {
    /// Reads the raw parameters.
    ///
    /// # Errors
    /// [`Refusal::Parameters`] when `notifications` is missing or has members of other types, or
    /// too many of them.
    pub fn parse(params: &Bytes) -> Result<Self, Refusal> {
        let wrong = || Refusal::Parameters("notifications must be an object of what to listen to");
        let filter = splice::slice(params, &["notifications"]).ok().flatten().ok_or_else(wrong)?;
        if filter.first() != Some(&b'{') {
            return Err(wrong());
        }
        let flag = |name| match splice::slice(&filter, &[name]) {
            Ok(None) => Ok(false),
            Ok(Some(value)) if &value[..] == b"true" => Ok(true),
            Ok(Some(value)) if &value[..] == b"false" => Ok(false),
            _ => Err(wrong()),
        };
        let texts = |name| {
            let Some(span) = splice::find(&filter, &[name]).map_err(|_| wrong())? else {
                return Ok(Vec::new());
            };
            if filter[span.start] != b'[' {
                return Err(wrong());
            }
            let spans = splice::elements(&filter, &[name]).map_err(|_| wrong())?;
            let mut texts: Vec<String> = Vec::new();
            for span in spans.unwrap_or_default() {
                let text = splice::unquote(&filter[span]).ok_or_else(wrong)?;
                if !texts.iter().any(|known| *known == text) {
                    texts.push(text.into_owned());
                }
                if texts.len() > MAX_ENTRIES {
                    return Err(Refusal::Parameters("too many resources or tasks in one filter"));
                }
            }
            Ok(texts)
        };
        Ok(Self {
            tools: flag("toolsListChanged")?,
            prompts: flag("promptsListChanged")?,
            resources: flag("resourcesListChanged")?,
            uris: texts("resourceSubscriptions")?,
            tasks: texts("taskIds")?,
        })
    }

    /// Whether nothing can ever be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the change of a list is wanted.
    #[must_use]
    pub const fn wants(&self, kind: ListKind) -> bool {
        match kind {
            ListKind::Tools => self.tools,
            ListKind::Prompts => self.prompts,
            ListKind::Resources | ListKind::ResourceTemplates => self.resources,
        }
    }

    fn to_json(&self) -> Bytes {
        let mut out = BytesMut::new();
        for (name, wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if wanted {
                out.put_slice(format!(",\"{name}\":true").as_bytes());
            }
        }
        for (name, texts) in [("resourceSubscriptions", &self.uris), ("taskIds", &self.tasks)] {
            if texts.is_empty() {
                continue;
            }
            out.put_slice(format!(",\"{name}\":[").as_bytes());
            for (index, text) in texts.iter().enumerate() {
                if index > 0 {
                    out.put_u8(b',');
                }
                out.put_slice(&splice::quote(text));
            }
            out.put_u8(b']');
        }
        let members = out.get(1..).unwrap_or_default();
        Bytes::from([b"{".as_slice(), members, b"}"].concat())
    }
}

/// The first message of a subscription: what of the filter was accepted. The subscription's id is
/// that of the request.
#[must_use]
pub fn acknowledged(id: &Id, accepted: &ListenFilter) -> Bytes {
    let mut params = BytesMut::new();
    params.put_slice(b"{\"notifications\":");
    params.put_slice(&accepted.to_json());
    params.put_slice(b",\"_meta\":{\"");
    params.put_slice(key::SUBSCRIPTION_ID.as_bytes());
    params.put_slice(b"\":");
    params.put_slice(id.raw());
    params.put_slice(b"}}");
    envelope::notification("notifications/subscriptions/acknowledged", Some(&params))
}

/// A notification of a subscription: raw parameters (empty for none) under its id, which takes the
/// place of the upstream's own.
///
/// # Errors
/// As [`splice::set`].
pub fn with_subscription(method: &str, params: &[u8], id: &Id) -> Result<Bytes, SpliceError> {
    let params = if params.is_empty() { b"{}" } else { params };
    let params = splice::set(params, &["_meta", key::SUBSCRIPTION_ID], id.raw())?;
    Ok(envelope::notification(method, Some(&params)))
}

/// The answer that ends a subscription from our side.
#[must_use]
pub fn listen_ended(id: &Id, server_info: &[u8]) -> Bytes {
    let mut result = BytesMut::new();
    result.put_slice(b"{\"resultType\":\"complete\",\"_meta\":{\"");
    result.put_slice(key::SUBSCRIPTION_ID.as_bytes());
    result.put_slice(b"\":");
    result.put_slice(id.raw());
    result.put_slice(b",\"");
    result.put_slice(key::SERVER_INFO.as_bytes());
    result.put_slice(b"\":");
    result.put_slice(server_info);
    result.put_slice(b"}}");
    envelope::response(id, &result)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(params: &'static str) -> Result<ListenFilter, Refusal> {
        ListenFilter::parse(&params.into())
    }

    fn value(message: &[u8]) -> Value {
        serde_json::from_slice(message).unwrap_or_else(|_| panic!("{message:?}"))
    }

    #[test]
    fn a_filter_is_read_and_what_was_accepted_is_said_first() {
        let params = r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,
            "resourceSubscriptions":["a:1","a:\u0031","b:\""],"taskIds":["t"],"unknown":1}}"#;
        let filter = parse(params).unwrap();
        assert!(filter.wants(ListKind::Tools) && !filter.wants(ListKind::Prompts));
        assert_eq!(filter.uris, ["a:1", "b:\""]);
        let said = value(&acknowledged(&Id::number(7), &filter));
        assert_eq!(said["method"], "notifications/subscriptions/acknowledged");
        let expected = json!({
            "toolsListChanged": true, "resourceSubscriptions": ["a:1", "b:\""], "taskIds": ["t"],
        });
        assert_eq!(said["params"]["notifications"], expected);
        assert_eq!(said["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 7);
        assert!(parse(r#"{"notifications":{}}"#).unwrap().is_empty());
        for wrong in [
            "{}",
            r#"{"notifications":[]}"#,
            r#"{"notifications":{"toolsListChanged":1}}"#,
            r#"{"notifications":{"taskIds":"t"}}"#,
            r#"{"notifications":{"resourceSubscriptions":[1]}}"#,
        ] {
            assert!(matches!(parse(wrong), Err(Refusal::Parameters(_))), "{wrong}");
        }
    }

    #[test]
    fn everything_said_carries_the_subscriptions_id() {
        let id = Id::string("x");
        let key = "io.modelcontextprotocol/subscriptionId";
        let bare = with_subscription("notifications/tools/list_changed", b"", &id).unwrap();
        assert_eq!(value(&bare)["params"], json!({"_meta": {key: "x"}}));
        let upstream = br#"{"uri":"a","_meta":{"io.modelcontextprotocol/subscriptionId":9,"b":1}}"#;
        let said = with_subscription("notifications/resources/updated", upstream, &id).unwrap();
        assert_eq!(value(&said)["params"], json!({"uri": "a", "_meta": {key: "x", "b": 1}}));
        let end = value(&listen_ended(&id, b"{}"));
        assert_eq!((&end["id"], &end["result"]["_meta"][key]), (&json!("x"), &json!("x")));
        assert_eq!(end["result"]["resultType"], "complete");
    }
}

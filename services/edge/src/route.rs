//! Which server a request goes to, and as what.
//!
//! Only the name or URI is spliced; all other bytes of the parameters stay as they are.

use bytes::Bytes;
use domain::ServerId;
use domain::project::ToolPinning;
use domain::server::Isolation;
use events::{Configuration, ServerEntry};
use mcp::catalogue::{RouteRefusal, RoutedRequest};
use mcp::envelope::{self, code};
use mcp::server::Method;
use mcp::{MergedCatalogue, splice};

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Routed {
    /// The server's place in the scope.
    pub(crate) server: usize,
    /// The upstream's own name, or URI.
    pub(crate) target: String,
    /// The parameters with it in place of what the client said.
    pub(crate) params: Bytes,
    /// What the client said, short enough to say it back.
    pub(crate) asked: String,
}

/// Why a request goes nowhere.
#[derive(Debug)]
pub(crate) enum Unroutable {
    /// What it asks for is missing or ambiguous.
    Parameters(&'static str),
    /// A tool or prompt that is not there for the client: unknown and switched off look the same.
    Unknown(&'static str, String),
    /// No server has such a URI.
    Resource(String),
}

impl From<RouteRefusal> for Unroutable {
    fn from(refusal: RouteRefusal) -> Self {
        match refusal {
            RouteRefusal::Unreadable(_) => Self::Parameters("the parameters are ambiguous"),
            RouteRefusal::Missing(_) => Self::Parameters("the reference or taskId is missing"),
            RouteRefusal::UnknownReference => Self::Parameters("the kind of reference is unknown"),
            RouteRefusal::UnknownPrompt(name) => Self::Unknown("prompt", shown(&name)),
            RouteRefusal::UnknownResource(uri) => Self::Unknown("resource", shown(&uri)),
            RouteRefusal::UnknownTask(id) => Self::Unknown("task", shown(&id)),
        }
    }
}

impl Unroutable {
    /// The raw error for the client.
    pub(crate) fn error(&self) -> Bytes {
        match self {
            Self::Parameters(what) => envelope::error_object(code::INVALID_PARAMS, what, None),
            Self::Unknown(kind, name) => {
                let message = format!("Unknown {kind}: {name}");
                envelope::error_object(code::INVALID_PARAMS, &message, None)
            }
            Self::Resource(uri) => {
                let uri = splice::quote(uri);
                let data = [b"{\"uri\":".as_slice(), &uri, b"}"].concat();
                let code = code::RESOURCE_NOT_FOUND;
                envelope::error_object(code, "Resource not found", Some(&data))
            }
        }
    }
}

/// A tool, prompt or resource that is not there for the client.
fn unknown(method: Method, asked: &str) -> Unroutable {
    match method {
        Method::CallTool => Unroutable::Unknown("tool", shown(asked)),
        Method::GetPrompt => Unroutable::Unknown("prompt", shown(asked)),
        Method::Complete => Unroutable::Unknown("reference", shown(asked)),
        Method::GetTask | Method::TaskResult | Method::UpdateTask | Method::CancelTask => {
            Unroutable::Unknown("task", shown(asked))
        }
        _ => Unroutable::Resource(shown(asked)),
    }
}

/// Finds the server of a request.
pub(crate) fn route(
    catalogue: &MergedCatalogue,
    method: Method,
    params: &Bytes,
) -> Result<Routed, Unroutable> {
    let elsewhere = match method {
        Method::Complete => Some(catalogue.completion(params)),
        Method::GetTask | Method::TaskResult | Method::UpdateTask | Method::CancelTask => {
            Some(catalogue.task_request(params))
        }
        _ => None,
    };
    if let Some(routed) = elsewhere {
        let RoutedRequest { server, target, params } = routed.map_err(Unroutable::from)?;
        return Ok(Routed { server, asked: shown(&target), target, params });
    }
    let path = method.routed_by().ok_or(Unroutable::Parameters("the request has no route"))?;
    let span = splice::find(params, path)
        .map_err(|_| Unroutable::Parameters("the parameters are ambiguous"))?
        .ok_or(Unroutable::Parameters("the name or uri is missing"))?;
    let asked = splice::unquote(&params[span.clone()])
        .ok_or(Unroutable::Parameters("the name or uri must be a string"))?;
    let found = match method {
        Method::CallTool => catalogue.tool(&asked).map(|to| (to.server, to.name.to_owned())),
        Method::GetPrompt => catalogue.prompt(&asked).map(|to| (to.server, to.name.to_owned())),
        _ => catalogue.resource(&asked).map(|to| (to.server, to.uri)),
    };
    let (server, target) = found.ok_or_else(|| unknown(method, &asked))?;
    let said = shown(&asked);
    let params = if target == asked {
        params.clone()
    } else {
        splice::replace_span(params, span, &splice::quote(&target))
    };
    Ok(Routed { server, target, params, asked: said })
}

/// Checks against the configuration as it is now, which a merged catalogue may be a moment
/// behind: what was switched off is refused at once.
pub(crate) fn check_offered(
    configuration: &Configuration,
    server: ServerId,
    method: Method,
    routed: &Routed,
) -> Result<Isolation, Unroutable> {
    let offered = configuration.server(&server).filter(|entry| {
        let is_off = method == Method::CallTool
            && (entry.server.disabled_tools.contains(&routed.target)
                || is_withheld(configuration, entry, &routed.target));
        !entry.server.disabled && !is_off
    });
    offered.map(|entry| entry.server.config.isolation).ok_or_else(|| unknown(method, &routed.asked))
}

/// Whether a tool is another than the approved one, in a project that wants to approve it first.
fn is_withheld(configuration: &Configuration, entry: &ServerEntry, tool: &str) -> bool {
    configuration.tool_pinning(&entry.server.project) == ToolPinning::Block
        && configuration.definition_changed(&entry.id, tool)
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use mcp::catalogue::{Item, MergePolicy, ServerEntry, merge};
    use mcp::{Catalogue, ListKind};
    use proptest::prelude::*;

    use super::*;

    fn catalogue() -> MergedCatalogue {
        let item = |kind, raw: &'static str| Item::parse(kind, Bytes::from_static(raw.as_bytes()));
        let mut one = Catalogue::default();
        let tools = [r#"{"name":"echo"}"#, r#"{"name":"odd.name"}"#];
        let tools = tools.map(|raw| item(ListKind::Tools, raw).unwrap());
        one.set_items(ListKind::Tools, tools.to_vec());
        let entry = |name| ServerEntry { name, catalogue: &one, is_tool_enabled: &|_| true };
        merge(&[entry("a"), entry("b")], &MergePolicy::default())
    }

    fn routed(method: Method, params: &str) -> Result<Routed, Unroutable> {
        route(&catalogue(), method, &Bytes::copy_from_slice(params.as_bytes()))
    }

    #[test]
    fn a_tool_leads_to_its_server_under_its_own_name() {
        let routed = routed(Method::CallTool, r#"{ "name" : "b__echo", "arguments":{"name":1}}"#);
        let routed = routed.unwrap();
        assert_eq!((routed.server, routed.target.as_str()), (1, "echo"));
        assert_eq!(routed.params, r#"{ "name" : "echo", "arguments":{"name":1}}"#);
    }

    #[test]
    fn a_uri_leads_to_its_server_whether_it_is_listed_or_not() {
        let routed = routed(Method::ReadResource, r#"{"uri":"mcp+a+x:\/\/1"}"#).unwrap();
        assert_eq!((routed.server, routed.params.as_ref()), (0, br#"{"uri":"x://1"}"#.as_slice()));
    }

    #[test]
    fn what_leads_nowhere_is_answered_with_the_code_of_its_kind() {
        let answer = |method, params| {
            let answer = routed(method, params).unwrap_err().error();
            String::from_utf8(answer.to_vec()).unwrap()
        };
        let unknown = answer(Method::CallTool, r#"{"name":"a__no\"pe"}"#);
        assert!(
            unknown.contains(r#""code":-32602,"message":"Unknown tool: a__no\"pe""#),
            "{unknown}"
        );
        let unknown = answer(Method::ReadResource, r#"{"uri":"x:\"1"}"#);
        assert!(unknown.contains(r#""code":-32002"#), "{unknown}");
        assert!(unknown.contains(r#""data":{"uri":"x:\"1"}"#), "{unknown}");
        for params in ["{}", r#"{"name":1}"#, r#"{"name":"a__echo","name":"b__echo"}"#] {
            assert!(answer(Method::CallTool, params).contains("-32602"), "{params}");
        }
    }

    proptest! {
        /// Numbers keep their spelling, keys their order, whitespace its place.
        #[test]
        fn bytes_outside_the_name_survive(
            before in "[ \t\n]{0,3}",
            number in "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
            text in "\\PC{0,20}",
            key in "\\PC{1,8}",
        ) {
            prop_assume!(key != "name");
            let (text, key) = (splice::quote(&text), splice::quote(&key));
            let (text, key) = (std::str::from_utf8(&text).unwrap(), std::str::from_utf8(&key).unwrap());
            let around = |name: &str| format!(
                r#"{before}{{{before}{key}:{number},{before}"name"{before}:"{name}","arguments":{{"name":{text},{key}:[{number},{{}}]}}}}{before}"#
            );
            let params = Bytes::from(around("a__echo"));
            let routed = route(&catalogue(), Method::CallTool, &params).unwrap();
            prop_assert_eq!(routed.params, around("echo"));
        }
    }
}

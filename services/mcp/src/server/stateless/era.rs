//! Which era a message belongs to. The body decides; the header speaks only for messages that
//! cannot say it themselves.

use http::HeaderMap;

use super::key;
use crate::envelope::{Envelope, Kind};
use crate::scan;
use crate::server::headers::PROTOCOL_VERSION;
use crate::splice;

/// Methods that no other revision has.
const OWN_METHODS: [&str; 2] = ["server/discover", "subscriptions/listen"];

/// Whether a message is to be handled by the rules of the stateless era.
///
/// `initialize` is the older era's handshake whatever stands around it, unless it carries
/// complete metadata of this revision: then it is a method that this revision does not have. An
/// endpoint without headers (HTTP+SSE) gives an empty map.
#[must_use]
pub fn is_stateless(headers: &HeaderMap, message: &Envelope) -> bool {
    let named = match message.kind() {
        Kind::Request | Kind::Notification => named_in_body(message),
        // Answers are posted in sessions only.
        Kind::Result | Kind::Error => return false,
    };
    if message.method() == "initialize" {
        return named.is_some_and(|named| named.is_complete && is_modern(&named.version));
    }
    named.is_some()
        || OWN_METHODS.contains(&message.method())
        || header(headers).is_some_and(|version| is_modern(&version))
}

struct Named {
    /// Empty if it is no string.
    version: String,
    is_complete: bool,
}

/// What `_meta` says of the revision; parameters that cannot be read say nothing here.
fn named_in_body(message: &Envelope) -> Option<Named> {
    let params = message.body()?;
    let version = splice::find(&params, &["_meta", key::PROTOCOL_VERSION]).ok()??;
    let version = scan::string(&params[version]).unwrap_or_default().into_owned();
    let capabilities = splice::find(&params, &["_meta", key::CLIENT_CAPABILITIES]).ok().flatten();
    let is_complete = capabilities.is_some_and(|span| params[span.start] == b'{');
    Some(Named { version, is_complete })
}

fn header(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(PROTOCOL_VERSION)?;
    Some(value.to_str().ok()?.trim().to_owned())
}

/// Revisions are dates: they order by their spelling.
fn is_modern(version: &str) -> bool {
    let is_date = version.len() == 10
        && version.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && version >= super::REVISION
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;

    fn stateless(version: Option<&'static str>, body: &str) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(version) = version {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        is_stateless(&headers, &Envelope::parse(body, 10_000).unwrap())
    }

    fn request(method: &str, meta: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"_meta":{{{meta}}}}}}}"#)
    }

    const VERSION: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    const CAPABILITIES: &str = r#""io.modelcontextprotocol/clientCapabilities":{}"#;

    #[test]
    fn metadata_the_header_or_an_own_method_make_a_request_stateless() {
        assert!(stateless(None, &request("tools/list", VERSION)));
        assert!(stateless(Some("2026-07-28"), &request("tools/list", "")));
        assert!(stateless(None, &request("server/discover", "")));
        assert!(stateless(None, &request("subscriptions/listen", "")));
        // A revision that nobody knows is refused by the stateless rules, with what is supported.
        let unknown = r#""io.modelcontextprotocol/protocolVersion":"v999""#;
        assert!(stateless(Some("v999"), &request("tools/list", unknown)));
        assert!(!stateless(Some("v999"), &request("tools/list", "")));
        for version in [None, Some("2025-11-25"), Some("2025-06-18")] {
            assert!(!stateless(version, &request("tools/list", "")));
        }
        let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
        assert!(stateless(Some("2026-07-28"), note));
        assert!(!stateless(None, note));
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert!(!stateless(Some("2026-07-28"), answer));
    }

    #[test]
    fn initialize_stays_the_handshake_of_the_older_era() {
        assert!(!stateless(Some("2026-07-28"), &request("initialize", "")));
        assert!(!stateless(None, &request("initialize", VERSION)));
        let complete = format!("{VERSION},{CAPABILITIES}");
        assert!(stateless(None, &request("initialize", &complete)));
        let older = complete.replace("2026-07-28", "2025-11-25");
        assert!(!stateless(None, &request("initialize", &older)));
    }
}

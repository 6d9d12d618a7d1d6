//! What a stateless request says about itself and its client.

use bytes::{BufMut, Bytes, BytesMut};

use super::{REVISION, Refusal, key};
use crate::scan;
use crate::splice::{self, SpliceError};

/// The metadata of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMeta {
    /// The revision it names; [`check_version`](Self::check_version) says whether it will do.
    pub protocol_version: String,
    /// The raw capabilities of the client, an object.
    pub capabilities: Bytes,
    /// The client's raw name and version.
    pub client_info: Option<Bytes>,
    /// The least severe level of log messages that the client wants; without it, none.
    pub log_level: Option<String>,
    /// The raw progress token.
    pub progress_token: Option<Bytes>,
}

impl RequestMeta {
    /// Reads the raw parameters of a request.
    ///
    /// # Errors
    /// [`Refusal::Meta`] when a required member is missing or is not of its type.
    pub fn parse(params: Option<&Bytes>) -> Result<Self, Refusal> {
        let refuse = |key, problem| Refusal::Meta { key, problem };
        let meta = params.map(|params| splice::slice(params, &["_meta"])).transpose();
        let meta = meta.map_err(|_| refuse("_meta", "is there more than once"))?.flatten();
        let meta = meta.ok_or_else(|| refuse("_meta", "is missing"))?;
        if meta.first() != Some(&b'{') {
            return Err(refuse("_meta", "is not an object"));
        }
        let part = |key: &'static str| {
            splice::slice(&meta, &[key]).map_err(|_| refuse(key, "is there more than once"))
        };
        let version = part(key::PROTOCOL_VERSION)?;
        let version = version.ok_or_else(|| refuse(key::PROTOCOL_VERSION, "is missing"))?;
        let version = splice::unquote(&version)
            .ok_or_else(|| refuse(key::PROTOCOL_VERSION, "is not a string"))?
            .into_owned();
        let capabilities = part(key::CLIENT_CAPABILITIES)?;
        let capabilities =
            capabilities.ok_or_else(|| refuse(key::CLIENT_CAPABILITIES, "is missing"))?;
        if capabilities.first() != Some(&b'{') {
            return Err(refuse(key::CLIENT_CAPABILITIES, "is not an object"));
        }
        let client_info = part(key::CLIENT_INFO)?;
        if client_info.as_ref().is_some_and(|info| info.first() != Some(&b'{')) {
            return Err(refuse(key::CLIENT_INFO, "is not an object"));
        }
        let log_level = part(key::LOG_LEVEL)?
            .map(|level| splice::unquote(&level).map(std::borrow::Cow::into_owned));
        if log_level.as_ref().is_some_and(Option::is_none) {
            return Err(refuse(key::LOG_LEVEL, "is not a string"));
        }
        Ok(Self {
            protocol_version: version,
            capabilities,
            client_info,
            log_level: log_level.flatten(),
            progress_token: part("progressToken")?,
        })
    }

    /// Whether the revision is the one that is spoken here.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedVersion`].
    pub fn check_version(&self) -> Result<(), Refusal> {
        if self.protocol_version == REVISION {
            return Ok(());
        }
        let shown = self.protocol_version.chars().take(100).collect();
        Err(Refusal::UnsupportedVersion(shown))
    }

    /// The client's name and version for records, at most 100 characters; empty if unsaid.
    #[must_use]
    pub fn client(&self) -> String {
        let part = |name| {
            let info = self.client_info.as_ref()?;
            let text = splice::find_string(info, &[name]).ok()??;
            Some(text.chars().take(100).collect::<String>())
        };
        let (name, version) = (part("name"), part("version"));
        let said = format!("{} {}", name.unwrap_or_default(), version.unwrap_or_default());
        said.trim().chars().take(100).collect()
    }
}

/// Parameters without what `_meta` says of this hop alone: the next one has its own.
///
/// # Errors
/// As [`splice::find`].
pub fn without_hop(params: &Bytes) -> Result<Bytes, SpliceError> {
    const OURS: [&str; 4] =
        [key::PROTOCOL_VERSION, key::CLIENT_CAPABILITIES, key::CLIENT_INFO, key::LOG_LEVEL];
    let Some(span) = splice::find(params, &["_meta"])? else {
        return Ok(params.clone());
    };
    let mut kept = BytesMut::new();
    let end = scan::members(params, span.start, |member| {
        if !OURS.iter().any(|ours| member.is(params, ours)) {
            kept.put_u8(if kept.is_empty() { b'{' } else { b',' });
            kept.put_slice(&params[member.key]);
            kept.put_u8(b':');
            kept.put_slice(&params[member.value]);
        }
    })?;
    if end.is_none() {
        return Ok(params.clone());
    }
    if kept.is_empty() {
        return Ok(splice::remove(params, &["_meta"])?.unwrap_or_else(|| params.clone()));
    }
    kept.put_u8(b'}');
    Ok(splice::replace_span(params, span, &kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(meta: &str) -> Result<RequestMeta, Refusal> {
        let params = format!(r#"{{"name":"x","_meta":{meta}}}"#);
        RequestMeta::parse(Some(&params.into()))
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let key = |refusal: Result<RequestMeta, Refusal>| match refusal {
            Err(Refusal::Meta { key, .. }) => key,
            other => panic!("{other:?}"),
        };
        assert_eq!(key(RequestMeta::parse(None)), "_meta");
        assert_eq!(key(RequestMeta::parse(Some(&Bytes::from_static(b"{}")))), "_meta");
        assert_eq!(key(parse("[]")), "_meta");
        assert_eq!(key(parse("{}")), key::PROTOCOL_VERSION);
        let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
        assert_eq!(key(parse(&format!("{{{version}}}"))), key::CLIENT_CAPABILITIES);
        let with = |more: &str| {
            let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{"roots":{}}"#;
            parse(&format!("{{{version},{capabilities}{more}}}"))
        };
        assert_eq!(with("").unwrap().capabilities, r#"{"roots":{}}"#);
        assert_eq!(with("").unwrap().client(), "");
        let info = r#","io.modelcontextprotocol/clientInfo":{"name":"c","version":"2"}"#;
        assert_eq!(with(info).unwrap().client(), "c 2");
        assert_eq!(key(with(r#","io.modelcontextprotocol/clientInfo":1"#)), key::CLIENT_INFO);
        assert_eq!(key(with(r#","io.modelcontextprotocol/logLevel":1"#)), key::LOG_LEVEL);
        assert_eq!(key(with(&format!(",{version}"))), key::PROTOCOL_VERSION);
        let level = with(r#","io.modelcontextprotocol/logLevel":"info","progressToken":1"#);
        let level = level.unwrap();
        assert_eq!(
            (level.log_level.as_deref(), level.progress_token),
            (Some("info"), Some("1".into()))
        );
    }

    #[test]
    fn what_is_said_of_one_hop_does_not_reach_the_next() {
        let without = |params: &'static str| {
            String::from_utf8(without_hop(&params.into()).unwrap().to_vec()).unwrap()
        };
        let params = r#"{ "name":"x", "_meta": {"io.modelcontextprotocol/protocolVersion":"2026-07-28", "progressToken" : 1.0,"io.modelcontextprotocol/clientCapabilities":{},"traceparent":"0"} }"#;
        let kept = r#"{ "name":"x", "_meta": {"progressToken":1.0,"traceparent":"0"} }"#;
        assert_eq!(without(params), kept);
        let only = r#"{"_meta":{"io.modelcontextprotocol/logLevel":"info"},"name":"x"}"#;
        assert_eq!(without(only), r#"{"name":"x"}"#);
        assert_eq!(without(r#"{"name":"x"}"#), r#"{"name":"x"}"#);
    }

    #[test]
    fn one_revision_is_spoken() {
        let meta = |version: &str| RequestMeta {
            protocol_version: version.to_owned(),
            capabilities: "{}".into(),
            client_info: None,
            log_level: None,
            progress_token: None,
        };
        assert_eq!(meta(REVISION).check_version(), Ok(()));
        let refused = meta("2025-11-25").check_version();
        assert_eq!(refused, Err(Refusal::UnsupportedVersion("2025-11-25".to_owned())));
    }
}

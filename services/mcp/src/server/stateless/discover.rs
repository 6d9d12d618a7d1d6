//! `server/discover`, and how long what we say may be kept.

use bytes::{BufMut, Bytes, BytesMut};

use super::{REVISION, key};
use crate::server::ServerInfo;
use crate::splice;

/// Who may keep a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Whoever comes by.
    Public,
    /// The client that asked, for itself.
    Private,
}

/// How long, and for whom, a result may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheHint {
    /// Milliseconds; 0 means that it is old at once.
    pub ttl_ms: u64,
    /// For whom.
    pub scope: CacheScope,
}

impl CacheHint {
    /// What can be said without knowing anything.
    pub const NONE: Self = Self { ttl_ms: 0, scope: CacheScope::Private };

    /// The stricter of both, in each respect.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let scope = match (self.scope, other.scope) {
            (CacheScope::Public, CacheScope::Public) => CacheScope::Public,
            _ => CacheScope::Private,
        };
        Self { ttl_ms: self.ttl_ms.min(other.ttl_ms), scope }
    }

    pub(super) fn put(self, out: &mut BytesMut) {
        out.put_slice(b"\"ttlMs\":");
        out.put_slice(self.ttl_ms.to_string().as_bytes());
        out.put_slice(b",\"cacheScope\":");
        out.put_slice(self.scope.as_json());
    }
}

impl CacheScope {
    pub(super) const fn as_json(self) -> &'static [u8] {
        match self {
            Self::Public => b"\"public\"",
            Self::Private => b"\"private\"",
        }
    }
}

/// Who we are as a raw object.
#[must_use]
pub fn server_info_json(info: &ServerInfo<'_>) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    out.put_slice(b"{\"name\":");
    out.put_slice(&splice::quote(info.name));
    if let Some(title) = info.title {
        out.put_slice(b",\"title\":");
        out.put_slice(&splice::quote(title));
    }
    out.put_slice(b",\"version\":");
    out.put_slice(&splice::quote(info.version));
    out.put_u8(b'}');
    out.freeze()
}

/// The answer to `server/discover`.
#[derive(Debug, Clone, Copy)]
pub struct DiscoverResult<'a> {
    /// The raw capabilities.
    pub capabilities: &'a [u8],
    /// Who answers, as [`server_info_json`] writes it.
    pub server_info: &'a [u8],
    /// Instructions for the model.
    pub instructions: Option<&'a str>,
    /// How long it may be kept.
    pub cache: CacheHint,
}

impl DiscoverResult<'_> {
    /// The raw result. Only revisions are named that a request may name, which the ones that open
    /// with `initialize` are not.
    #[must_use]
    pub fn to_json(self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.capabilities.len() + 512);
        out.put_slice(b"{\"resultType\":\"complete\",\"supportedVersions\":[\"");
        out.put_slice(REVISION.as_bytes());
        out.put_slice(b"\"],\"capabilities\":");
        out.put_slice(self.capabilities);
        if let Some(instructions) = self.instructions {
            out.put_slice(b",\"instructions\":");
            out.put_slice(&splice::quote(instructions));
        }
        out.put_u8(b',');
        self.cache.put(&mut out);
        out.put_slice(b",\"_meta\":{\"");
        out.put_slice(key::SERVER_INFO.as_bytes());
        out.put_slice(b"\":");
        out.put_slice(self.server_info);
        out.put_slice(b"}}");
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn discovery_says_what_the_schema_wants() {
        let info = ServerInfo { name: "m\"", title: None, version: "1" };
        let result = DiscoverResult {
            capabilities: br#"{"tools":{}}"#,
            server_info: &server_info_json(&info),
            instructions: Some("a\nb"),
            cache: CacheHint { ttl_ms: 5, scope: CacheScope::Public }.and(CacheHint::NONE),
        };
        let value: Value = serde_json::from_slice(&result.to_json()).unwrap();
        let expected = json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}}, "instructions": "a\nb",
            "ttlMs": 0, "cacheScope": "private",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "m\"", "version": "1"}},
        });
        assert_eq!(value, expected);
    }
}

//! `initialize` from the answering side.

use bytes::{BufMut, Bytes, BytesMut};

use crate::Revision;
use crate::splice::{self, SpliceError};

/// What a client says when it opens a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitializeRequest {
    /// The revision it asks for, as it wrote it.
    pub protocol_version: String,
    /// Its raw capabilities.
    pub capabilities: Option<Bytes>,
    /// Its raw name and version.
    pub client_info: Option<Bytes>,
}

impl InitializeRequest {
    /// Reads the raw parameters; `None` if the revision is missing (answered with invalid
    /// parameters).
    ///
    /// # Errors
    /// As [`splice::find`].
    pub fn parse(params: &Bytes) -> Result<Option<Self>, SpliceError> {
        let Some(version) = splice::find_string(params, &["protocolVersion"])? else {
            return Ok(None);
        };
        Ok(Some(Self {
            protocol_version: version.into_owned(),
            capabilities: splice::slice(params, &["capabilities"])?,
            client_info: splice::slice(params, &["clientInfo"])?,
        }))
    }

    /// The revision to answer with.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision::negotiate(&self.protocol_version)
    }

    /// The client's name and version for records: each at most 200 characters, empty if unsaid.
    #[must_use]
    pub fn client_name_and_version(&self) -> (String, String) {
        let part = |name| {
            let info = self.client_info.as_ref()?;
            let text = splice::find_string(info, &[name]).ok()??;
            Some(text.chars().take(200).collect::<String>())
        };
        (part("name").unwrap_or_default(), part("version").unwrap_or_default())
    }
}

/// Who we say we are to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerInfo<'a> {
    /// The program's name.
    pub name: &'a str,
    /// A name to show.
    pub title: Option<&'a str>,
    /// The program's version.
    pub version: &'a str,
}

/// The answer to `initialize`.
#[derive(Debug, Clone, Copy)]
pub struct InitializeResult<'a> {
    /// The revision that was agreed on.
    pub revision: Revision,
    /// The raw capabilities.
    pub capabilities: &'a [u8],
    /// Who answers.
    pub server_info: ServerInfo<'a>,
    /// Instructions for the model.
    pub instructions: Option<&'a str>,
}

impl InitializeResult<'_> {
    /// The raw result.
    #[must_use]
    pub fn to_json(self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.capabilities.len() + 512);
        out.put_slice(b"{\"protocolVersion\":\"");
        out.put_slice(self.revision.as_str().as_bytes());
        out.put_slice(b"\",\"capabilities\":");
        out.put_slice(self.capabilities);
        out.put_slice(b",\"serverInfo\":{\"name\":");
        out.put_slice(&splice::quote(self.server_info.name));
        // `title` came with 2025-06-18; older readers need not know it.
        let title = self.server_info.title.filter(|_| self.revision >= Revision::V2025_06_18);
        if let Some(title) = title {
            out.put_slice(b",\"title\":");
            out.put_slice(&splice::quote(title));
        }
        out.put_slice(b",\"version\":");
        out.put_slice(&splice::quote(self.server_info.version));
        out.put_u8(b'}');
        if let Some(instructions) = self.instructions {
            out.put_slice(b",\"instructions\":");
            out.put_slice(&splice::quote(instructions));
        }
        out.put_u8(b'}');
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_a_result_is_legal_json() {
        let params = Bytes::from_static(
            br#"{"protocolVersion":"2025-06-18","capabilities":{"roots":{}},"clientInfo":{"name":"c\"","version":"1"}}"#,
        );
        let request = InitializeRequest::parse(&params).unwrap().unwrap();
        assert_eq!(request.revision(), Revision::V2025_06_18);
        assert_eq!(request.client_name_and_version(), ("c\"".to_owned(), "1".to_owned()));
        assert_eq!(request.capabilities.as_deref(), Some(br#"{"roots":{}}"#.as_slice()));
        assert_eq!(InitializeRequest::parse(&Bytes::from_static(b"{}")), Ok(None));

        let server_info = ServerInfo { name: "mcp-orch", title: Some("p \"x\""), version: "0.1.0" };
        let instructions = Some("[a]\nline");
        let result = InitializeResult {
            revision: request.revision(),
            capabilities: b"{}",
            server_info,
            instructions,
        };
        let value: serde_json::Value = serde_json::from_slice(&result.to_json()).unwrap();
        let expected = serde_json::json!({
            "protocolVersion": "2025-06-18", "capabilities": {}, "instructions": "[a]\nline",
            "serverInfo": {"name": "mcp-orch", "title": "p \"x\"", "version": "0.1.0"},
        });
        assert_eq!(value, expected);
    }
}

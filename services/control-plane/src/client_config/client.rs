//! The formats of the clients: what goes into which file, and the link that does it by itself.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Refusal;
use serde::Serialize;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;
use utoipa::ToSchema;

use super::unified::{Endpoint, TIMEOUT_S};

/// A client with a format of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Claude Desktop: its file takes stdio servers only, so it gets a bridge.
    ClaudeDesktop,
    /// Claude Code.
    ClaudeCode,
    /// Cursor.
    Cursor,
    /// Cline, in VS Code.
    Cline,
    /// VS Code itself.
    VsCode,
    /// Windsurf.
    Windsurf,
    /// Zed.
    Zed,
}

impl Client {
    /// All clients.
    pub const ALL: [Self; 7] = [
        Self::ClaudeDesktop,
        Self::ClaudeCode,
        Self::Cursor,
        Self::Cline,
        Self::VsCode,
        Self::Windsurf,
        Self::Zed,
    ];

    /// The name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "claude-desktop",
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::Cline => "cline",
            Self::VsCode => "vscode",
            Self::Windsurf => "windsurf",
            Self::Zed => "zed",
        }
    }

    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::Cline => "Cline",
            Self::VsCode => "VS Code",
            Self::Windsurf => "Windsurf",
            Self::Zed => "Zed",
        }
    }

    /// Where the client reads its configuration.
    pub(super) fn files(self) -> Vec<ClientFile> {
        let file = |system: &str, path: &str| ClientFile {
            system: system.to_owned(),
            path: path.to_owned(),
        };
        match self {
            Self::ClaudeDesktop => vec![
                file("macos", "~/Library/Application Support/Claude/claude_desktop_config.json"),
                file("windows", r"%APPDATA%\Claude\claude_desktop_config.json"),
            ],
            Self::ClaudeCode => vec![file("any", ".mcp.json")],
            Self::Cursor => vec![file("any", "~/.cursor/mcp.json")],
            Self::Cline => vec![file("any", "Cline › MCP Servers › Configure MCP Servers")],
            Self::VsCode => vec![file("any", ".vscode/mcp.json")],
            Self::Windsurf => vec![file("any", "~/.codeium/windsurf/mcp_config.json")],
            Self::Zed => vec![file("any", "~/.config/zed/settings.json")],
        }
    }

    /// The configuration that opens `endpoint`, which is one of Streamable HTTP.
    pub(super) fn config(self, endpoint: &Endpoint<'_>) -> Value {
        let (name, url, headers) = (endpoint.name(), &endpoint.url, endpoint.headers());
        match self {
            Self::ClaudeDesktop => json!({ "mcpServers": { name: {
                "command": "mcp-orch",
                "args": ["connect", url],
                "env": { "MCP_ORCH_API_KEY": endpoint.key },
            } } }),
            Self::ClaudeCode => json!({ "mcpServers": { name: {
                "type": "http", "url": url, "headers": headers,
            } } }),
            Self::Cursor => json!({ "mcpServers": { name: { "url": url, "headers": headers } } }),
            Self::Cline => json!({ "mcpServers": { name: {
                "type": "streamableHttp",
                "url": url,
                "headers": headers,
                "disabled": false,
                "autoApprove": endpoint.auto_approve,
                "timeout": TIMEOUT_S,
            } } }),
            Self::VsCode => json!({ "servers": { name: {
                "type": "http", "url": url, "headers": headers,
            } } }),
            Self::Windsurf => json!({ "mcpServers": { name: {
                "serverUrl": url, "headers": headers,
            } } }),
            Self::Zed => json!({ "context_servers": { name: { "url": url, "headers": headers } } }),
        }
    }

    /// A link that puts the configuration in by itself, where the client has one.
    pub(super) fn deep_link(self, endpoint: &Endpoint<'_>) -> Option<String> {
        let (name, url, headers) = (endpoint.name(), &endpoint.url, endpoint.headers());
        match self {
            Self::Cursor => {
                let inner = json!({ "url": url, "headers": headers }).to_string();
                let (name, config) = (encode(&name), encode(&STANDARD.encode(inner)));
                Some(format!(
                    "cursor://anysphere.cursor-deeplink/mcp/install?name={name}&config={config}"
                ))
            }
            Self::VsCode => {
                let server =
                    json!({ "name": name, "type": "http", "url": url, "headers": headers });
                Some(format!("vscode:mcp/install?{}", encode(&server.to_string())))
            }
            _ => None,
        }
    }

    /// What a person does with the configuration.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => {
                "Put it into the file and restart Claude Desktop; the program mcp-orch must be on \
                 this machine's PATH."
            }
            Self::ClaudeCode => "Put it into the file in the project's folder.",
            Self::Cursor | Self::VsCode => "Open the link, or put it into the file.",
            Self::Cline | Self::Windsurf | Self::Zed => "Put it into the file.",
        }
    }
}

impl FromStr for Client {
    type Err = Refusal;
    fn from_str(text: &str) -> Result<Self, Refusal> {
        Self::ALL.into_iter().find(|client| client.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Refusal::invalid("client", format!("must be one of {known}"))
        })
    }
}

/// Where a client reads its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClientFile {
    /// `macos`, `windows` or `any`.
    pub system: String,
    /// The file, or the way to it in the client's menus.
    pub path: String,
}

/// Percent-encodes everything that a query would not take as it is.
fn encode(text: &str) -> String {
    let encoded: String = byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(of: impl Fn(Client, &Endpoint<'_>) -> Value) -> Value {
        let project = "p".parse().unwrap();
        let endpoint = Endpoint {
            project: &project,
            url: "https://h/projects/p/unified/mcp".into(),
            key: "api_key_x",
            auto_approve: vec![],
        };
        Client::ALL
            .map(|client| (client.as_str().to_owned(), of(client, &endpoint)))
            .into_iter()
            .collect()
    }

    #[test]
    fn each_client_gets_its_own_format() {
        let configs = all(Client::config);
        let (url, name) = ("https://h/projects/p/unified/mcp", "mcp-orch-unified-p");
        let bearer = json!({ "Authorization": "Bearer api_key_x" });
        let desktop = &configs["claude-desktop"]["mcpServers"][name];
        assert_eq!(desktop["args"], json!(["connect", url]));
        assert_eq!(desktop["env"]["MCP_ORCH_API_KEY"], "api_key_x");
        assert_eq!(configs["claude-code"]["mcpServers"][name]["type"], "http");
        assert_eq!(configs["cursor"]["mcpServers"][name], json!({ "url": url, "headers": bearer }));
        let cline = &configs["cline"]["mcpServers"][name];
        assert_eq!((&cline["type"], &cline["timeout"]), (&json!("streamableHttp"), &json!(60)));
        assert_eq!(configs["vscode"]["servers"][name]["headers"], bearer);
        assert_eq!(configs["windsurf"]["mcpServers"][name]["serverUrl"], url);
        assert_eq!(configs["zed"]["context_servers"][name]["url"], url);
    }

    #[test]
    fn deep_links_lead_back_to_the_configuration() {
        let links = all(|client, endpoint| json!(client.deep_link(endpoint)));
        let cursor = url::Url::parse(links["cursor"].as_str().unwrap()).unwrap();
        let query: std::collections::HashMap<_, _> = cursor.query_pairs().into_owned().collect();
        let inner: Value =
            serde_json::from_slice(&STANDARD.decode(&query["config"]).unwrap()).unwrap();
        assert_eq!(inner["headers"]["Authorization"], "Bearer api_key_x");
        assert_eq!(query["name"], "mcp-orch-unified-p");
        let vscode = links["vscode"].as_str().unwrap();
        let encoded = vscode.strip_prefix("vscode:mcp/install?").unwrap();
        assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"%-_.*".contains(&b)));
        assert!(encoded.contains("Bearer%20api_key_x"));
        assert_eq!(links["zed"], Value::Null);
    }

    #[test]
    fn names_lead_back_to_clients() {
        for client in Client::ALL {
            assert_eq!(client.as_str().parse(), Ok(client));
            assert!(!client.files().is_empty() && !client.hint().is_empty());
        }
        assert!("emacs".parse::<Client>().is_err());
    }
}

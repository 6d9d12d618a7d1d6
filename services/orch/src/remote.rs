//! A running system, as the commands see it: where it is, and as whom they speak to it.
//!
//! Url and token come from the flags or the environment, else from `run.json`, which a local
//! `up` keeps in its data directory for its own operator, else from the last `login`. All such
//! files can be read by their owner only.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proto::control::v1::api_key_service_client::ApiKeyServiceClient;
use proto::control::v1::call_service_client::CallServiceClient;
use proto::control::v1::project_service_client::ProjectServiceClient;
use proto::control::v1::server_service_client::ServerServiceClient;
use proto::control::v1::{ListProjectsRequest, ListServersRequest, Server};
use serde::{Deserialize, Serialize};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::cli;

/// The file in a data directory that tells the operator's commands where `up` runs.
pub(crate) const RUN_FILE: &str = "run.json";
/// Where a login is kept, below the user's configuration directory.
const LOGIN_FILE: &str = "mcp-orch/login.json";

/// Where, and as whom.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The system's URL.
    pub(crate) url: String,
    /// A JWT.
    pub(crate) token: String,
}

impl Saved {
    /// Writes the file so that only its owner can read it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let temporary = path.with_extension("tmp");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(&temporary, path)?;
        Ok(())
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

/// Where a login is kept.
pub(crate) fn login_file() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))
        .context("neither XDG_CONFIG_HOME nor HOME is set: give --system and --token")?;
    Ok(base.join(LOGIN_FILE))
}

/// The URL that a command without a login speaks to.
pub(crate) fn url_of(args: &cli::Remote) -> String {
    args.url
        .clone()
        .or_else(|| Saved::read(&args.data.join(RUN_FILE)).map(|saved| saved.url))
        .unwrap_or_else(|| "http://127.0.0.1:8080".to_owned())
}

fn resolve(args: &cli::Remote) -> Result<Saved> {
    let local = Saved::read(&args.data.join(RUN_FILE));
    let login = login_file().ok().and_then(|path| Saved::read(&path));
    match (&args.url, &args.token) {
        (Some(url), Some(token)) => Ok(Saved { url: url.clone(), token: token.clone() }),
        (None, Some(token)) => Ok(Saved { url: url_of(args), token: token.clone() }),
        (url, None) => [local, login]
            .into_iter()
            .flatten()
            .find(|saved| url.as_ref().is_none_or(|url| *url == saved.url))
            .context(
                "not logged in: run `mcp-orch login --email YOU`, or give --data with the data \
                 directory of a local `up`, or set MCP_ORCH_TOKEN",
            ),
    }
}

/// Puts the token into each request.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Authorized = InterceptedService<Channel, Bearer>;

/// A connection to a running system.
pub(crate) struct Session {
    channel: Channel,
    bearer: Bearer,
}

impl Session {
    /// Connects as the arguments say.
    pub(crate) async fn open(args: &cli::Remote) -> Result<Self> {
        let saved = resolve(args)?;
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", saved.token)
            .parse()
            .context("the token holds characters that no header can carry")?;
        value.set_sensitive(true);
        let channel = endpoint(&saved.url)?
            .connect()
            .await
            .with_context(|| format!("cannot reach {}: is `mcp-orch up` running?", saved.url))?;
        Ok(Self { channel, bearer: Bearer(value) })
    }

    pub(crate) fn projects(&self) -> ProjectServiceClient<Authorized> {
        ProjectServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn servers(&self) -> ServerServiceClient<Authorized> {
        ServerServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn keys(&self) -> ApiKeyServiceClient<Authorized> {
        ApiKeyServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn calls(&self) -> CallServiceClient<Authorized> {
        CallServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// The project that was named, or the only one there is.
    pub(crate) async fn project(&self, named: Option<&String>) -> Result<String> {
        if let Some(id) = named {
            return Ok(id.clone());
        }
        let request = ListProjectsRequest { page_size: 2, page_token: String::new() };
        let listed = self.projects().list_projects(request).await.map_err(explain)?;
        match listed.into_inner().projects.as_slice() {
            [only] => Ok(only.id.clone()),
            [] => bail!("there is no project yet: make one with `mcp-orch project create NAME`"),
            _ => bail!("there are several projects: name one with --project ID"),
        }
    }

    /// All servers of a project.
    pub(crate) async fn all_servers(&self, project_id: &str) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListServersRequest {
                project_id: project_id.to_owned(),
                page_size: 500,
                page_token,
            };
            let page = self.servers().list_servers(request).await.map_err(explain)?.into_inner();
            servers.extend(page.servers);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(servers);
            }
        }
    }

    /// The server of that name.
    pub(crate) async fn server_named(&self, project_id: &str, name: &str) -> Result<Server> {
        let servers = self.all_servers(project_id).await?;
        servers
            .into_iter()
            .find(|server| server.name == name)
            .with_context(|| format!("no server is named {name:?}: see `mcp-orch server list`"))
    }
}

/// Where calls go; behind `https` over TLS, with the certificates that this machine trusts.
fn endpoint(url: &str) -> Result<Endpoint> {
    let wrong = || format!("{url} is no URL");
    let endpoint = Endpoint::from_shared(url.to_owned()).with_context(wrong)?;
    if endpoint.uri().scheme_str() != Some("https") {
        return Ok(endpoint);
    }
    let tls = ClientTlsConfig::new().with_native_roots();
    endpoint.tls_config(tls).with_context(|| format!("cannot set up TLS for {url}"))
}

/// A refusal in words, with its stable reason.
pub(crate) fn explain(status: Status) -> anyhow::Error {
    use tonic_types::StatusExt;
    let reason = status.get_details_error_info().map(|info| info.reason);
    match reason {
        Some(reason) => anyhow::anyhow!("{} ({reason})", status.message()),
        None => anyhow::anyhow!("{} ({:?})", status.message(), status.code()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// The first byte that is sent to a server with that scheme.
    async fn first_byte(scheme: &str) -> u8 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("{scheme}://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let endpoint = endpoint(&url).unwrap();
        let first = async { listener.accept().await.unwrap().0.read_u8().await.unwrap() };
        let connected = async {
            // It lives until the byte arrived.
            let _connected = endpoint.connect().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            first = first => first,
            () = connected => unreachable!(),
        }
    }

    #[tokio::test]
    async fn https_is_tls_and_http_is_not() {
        rustls::crypto::ring::default_provider().install_default().ok();
        assert_eq!(first_byte("https").await, 0x16, "a TLS handshake");
        assert_eq!(first_byte("http").await, b'P', "the preface of HTTP/2");
    }
}

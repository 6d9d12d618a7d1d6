//! `mcp-orch connect URL`: a stdio bridge to a unified endpoint, for clients that only speak
//! stdio.
//!
//! Lines from standard input go up as they are, answers come back as they are. A session that
//! ended on the other side (404) is opened again with the client's own `initialize`, and the
//! refused request, which did not run, is sent once more. Nothing else is ever sent twice.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::StreamExt;
use mcp::sse::Decoder;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Stdin, stdin, stdout};
use tokio::sync::{Mutex, RwLock, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::cli::ConnectArgs;

/// Most requests of the client that are under way at once.
const MAX_IN_FLIGHT: usize = 256;
/// Longest message, either way.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Bridges until standard input ends.
pub(crate) async fn run(args: ConnectArgs) -> Result<()> {
    let bridge = Arc::new(Bridge::new(&args)?);
    let (lines, mut outgoing) = mpsc::channel::<Bytes>(MAX_IN_FLIGHT);
    let writer = tokio::spawn(async move {
        let mut out = stdout();
        while let Some(line) = outgoing.recv().await {
            let written = async {
                out.write_all(&line).await?;
                out.write_all(b"\n").await?;
                out.flush().await
            };
            if written.await.is_err() {
                break;
            }
        }
    });
    let mut input = BufReader::new(stdin());
    let mut listening = JoinSet::new();
    let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    while let Some(line) = next_line(&mut input).await? {
        let message: Value = match serde_json::from_str(&line) {
            Ok(message) => message,
            Err(error) => {
                lines.send(failure(&Value::Null, -32700, &format!("Parse error: {error}"))).await?;
                continue;
            }
        };
        // The order of initialize, initialized and what follows matters; requests after that may
        // overtake each other.
        if message["id"].is_null() || message["method"] == "initialize" {
            bridge.exchange(&message, line, &lines).await;
            if message["method"] == "notifications/initialized" {
                listening.spawn(Arc::clone(&bridge).listen(lines.clone()));
            }
            continue;
        }
        let permit = Arc::clone(&in_flight).acquire_owned().await?;
        let (bridge, lines) = (Arc::clone(&bridge), lines.clone());
        tokio::spawn(async move {
            bridge.exchange(&message, line, &lines).await;
            drop(permit);
        });
    }
    // Answers that are on their way are waited for.
    let all = u32::try_from(MAX_IN_FLIGHT).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(30), in_flight.acquire_many(all)).await;
    listening.shutdown().await;
    bridge.end().await;
    drop(lines);
    writer.await.context("standard output")
}

async fn next_line(input: &mut BufReader<Stdin>) -> Result<Option<String>> {
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).await.context("standard input")? == 0 {
            return Ok(None);
        }
        if line.len() > MAX_MESSAGE_BYTES {
            bail!("a message of more than {MAX_MESSAGE_BYTES} bytes came from the client");
        }
        let line = line.trim();
        if !line.is_empty() {
            return Ok(Some(line.to_owned()));
        }
    }
}

struct Bridge {
    client: Client,
    url: String,
    session: RwLock<Option<HeaderValue>>,
    /// The client's own `initialize`, to open a session again with.
    opening: Mutex<Option<String>>,
}

impl Bridge {
    fn new(args: &ConnectArgs) -> Result<Self> {
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_str(&format!("Bearer {}", args.api_key.trim()))
            .context("the API key holds characters that no header can carry")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let client = Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let url = match args.url.strip_suffix("/sse") {
            Some(base) => format!("{base}/mcp"),
            None => args.url.clone(),
        };
        Ok(Self { client, url, session: RwLock::default(), opening: Mutex::default() })
    }

    /// Sends one message and passes on whatever comes back for it.
    async fn exchange(&self, message: &Value, line: String, lines: &mpsc::Sender<Bytes>) {
        if message["method"] == "initialize" {
            *self.opening.lock().await = Some(line.clone());
        }
        let outcome = match self.send(line.clone()).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                match self.open_again().await {
                    Ok(true) => self.send(line).await,
                    Ok(false) => Ok(response),
                    Err(error) => Err(error),
                }
            }
            outcome => outcome,
        };
        let passed = match outcome {
            Ok(response) => self.pass(response, lines).await,
            Err(error) => Err(error),
        };
        if let (Err(error), false) = (passed, message["id"].is_null()) {
            // Nobody is left to read the answer when this fails.
            let _ = lines.send(failure(&message["id"], -32000, &format!("{error:#}"))).await;
        }
    }

    async fn send(&self, body: String) -> Result<Response> {
        let mut request = self.client.post(&self.url).body(body);
        if let Some(session) = self.session.read().await.clone() {
            request = request.header("Mcp-Session-Id", session);
        }
        let response = request.send().await.context("cannot reach the gateway")?;
        if let Some(session) = response.headers().get("Mcp-Session-Id") {
            *self.session.write().await = Some(session.clone());
        }
        Ok(response)
    }

    /// Opens a new session where the old one ended; `false` when there was none.
    async fn open_again(&self) -> Result<bool> {
        let opening = self.opening.lock().await;
        let (Some(line), true) = (opening.clone(), self.session.read().await.is_some()) else {
            return Ok(false);
        };
        *self.session.write().await = None;
        let response = self.send(line).await?;
        if !response.status().is_success() {
            bail!("the session ended and cannot be opened again: HTTP {}", response.status());
        }
        response.bytes().await?;
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.send(initialized.to_owned()).await?;
        Ok(true)
    }

    async fn pass(&self, response: Response, lines: &mpsc::Sender<Bytes>) -> Result<()> {
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        if content_type.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return pass_stream(response, lines).await;
        }
        let body = response.text().await?;
        if serde_json::from_str::<Value>(&body).is_ok_and(|body| body["jsonrpc"] == "2.0") {
            lines.send(one_line(body.into())).await?;
        } else if !status.is_success() {
            bail!("HTTP {status}: {}", body.chars().take(300).collect::<String>());
        }
        Ok(())
    }

    /// Passes on what the gateway says unasked, e.g. that a list changed.
    async fn listen(self: Arc<Self>, lines: mpsc::Sender<Bytes>) {
        let mut request = self.client.get(&self.url).header(ACCEPT, "text/event-stream");
        if let Some(session) = self.session.read().await.clone() {
            request = request.header("Mcp-Session-Id", session);
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => {
                if let Err(error) = pass_stream(response, &lines).await {
                    tracing::debug!(%error, "the gateway's stream ended");
                }
            }
            Ok(response) => tracing::debug!(status = %response.status(), "no stream"),
            Err(error) => tracing::debug!(%error, "no stream"),
        }
    }

    async fn end(&self) {
        if let Some(session) = self.session.read().await.clone() {
            let request = self.client.delete(&self.url).header("Mcp-Session-Id", session);
            let _ = request.timeout(Duration::from_secs(2)).send().await;
        }
    }
}

async fn pass_stream(response: Response, lines: &mpsc::Sender<Bytes>) -> Result<()> {
    let mut decoder = Decoder::new(MAX_MESSAGE_BYTES);
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        decoder.push(&chunk.context("the gateway's stream broke")?);
        while let Some(event) = decoder.next()? {
            if !event.data.trim_ascii().is_empty() {
                lines.send(one_line(event.data)).await?;
            }
        }
    }
    Ok(())
}

/// A message on one line: between the tokens of JSON a space is as good as a line end, and inside
/// of a string there is none.
fn one_line(message: Bytes) -> Bytes {
    if !message.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return message;
    }
    let spaced =
        message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte });
    spaced.collect()
}

fn failure(id: &Value, code: i32, message: &str) -> Bytes {
    let error = serde_json::json!({
        "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message },
    });
    error.to_string().into()
}

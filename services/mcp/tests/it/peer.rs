//! The peers. Each is driven by its test, so a test reads as a conversation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use bytes::Bytes;
use mcp::client::{ClientOptions, Connected, Connector, EraChoice, Events, HttpTarget, Target};
use mcp::client::{ConnectError, Connection, ConnectionEvent, Pending, RequestOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Longer than anything here takes; a test that runs into it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

/// Options of a client that knows that the server has sessions.
pub(crate) fn sessions() -> ClientOptions {
    ClientOptions { era: EraChoice::Sessions, ..ClientOptions::default() }
}

pub(crate) fn initialize_result() -> Value {
    json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {"listChanged": true}, "resources": {}, "prompts": {}},
        "serverInfo": {"name": "peer", "version": "1"},
        "instructions": "be kind",
    })
}

/// What a stateless server says of itself.
pub(crate) fn discovered(capabilities: Value) -> Value {
    json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": capabilities,
        "instructions": "be quick",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "peer", "version": "2"}},
    })
}

/// A process, seen from inside: lines in, lines out.
pub(crate) struct Peer {
    stdin: Lines<BufReader<DuplexStream>>,
    stdout: DuplexStream,
}

impl Peer {
    /// A process and the target that reaches it. `stdin_bytes` is how much its stdin buffers.
    pub(crate) fn new(stdin_bytes: usize) -> (Self, Target) {
        let (stdin, their_stdin) = tokio::io::duplex(stdin_bytes);
        let (stdout, our_stdout) = tokio::io::duplex(64 * 1024);
        let target = Target::Stdio { stdin: Box::new(their_stdin), stdout: Box::new(stdout) };
        (Self { stdin: BufReader::new(stdin).lines(), stdout: our_stdout }, target)
    }

    /// A process that has been initialized.
    pub(crate) async fn connected(options: ClientOptions) -> (Self, Connected) {
        let (mut peer, target) = Self::new(1024 * 1024);
        let connector = Connector::new();
        let (connected, ()) = tokio::join!(connector.connect(target, &options), peer.initialize());
        (peer, connected.unwrap())
    }

    pub(crate) async fn initialize(&mut self) {
        let request = self.read().await;
        assert_eq!(request["method"], "initialize");
        self.answer(&request, initialize_result()).await;
        assert_eq!(self.read().await["method"], "notifications/initialized");
    }

    pub(crate) async fn read_line(&mut self) -> String {
        soon(self.stdin.next_line()).await.unwrap().expect("stdin ended")
    }

    pub(crate) async fn read(&mut self) -> Value {
        serde_json::from_str(&self.read_line().await).unwrap()
    }

    /// Waits until something is in the pipe, and leaves it there.
    pub(crate) async fn read_some(&mut self) {
        assert!(!self.stdin.get_mut().fill_buf().await.unwrap().is_empty());
    }

    /// Whether our side closed the pipe.
    pub(crate) async fn stdin_ended(&mut self) -> bool {
        soon(self.stdin.next_line()).await.unwrap().is_none()
    }

    pub(crate) async fn write_line(&mut self, line: &str) {
        soon(self.stdout.write_all(format!("{line}\n").as_bytes())).await.unwrap();
    }

    pub(crate) async fn write(&mut self, message: Value) {
        self.write_line(&message.to_string()).await;
    }

    pub(crate) async fn answer(&mut self, request: &Value, result: Value) {
        self.write(json!({"jsonrpc": "2.0", "id": request["id"], "result": result})).await;
    }
}

pub(crate) fn call(connection: &Connection, params: Value) -> Pending {
    let params = Bytes::from(params.to_string());
    connection.request("tools/call", Some(params), RequestOptions::default())
}

/// One request that an HTTP peer got, waiting for the test to answer it.
pub(crate) struct HttpRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// The body as JSON; null where there is none.
    pub(crate) message: Value,
    reply: oneshot::Sender<Response>,
}

impl HttpRequest {
    pub(crate) fn reply(self, response: impl IntoResponse) {
        // The client may have gone away: that is part of some tests.
        let _ = self.reply.send(response.into_response());
    }

    pub(crate) fn status(self, status: u16) {
        self.reply(StatusCode::from_u16(status).unwrap());
    }

    pub(crate) fn json(self, message: &Value) {
        self.reply(([(header::CONTENT_TYPE, "application/json")], message.to_string()));
    }

    /// Answers the request with a JSON body.
    pub(crate) fn result(self, result: Value) {
        let message = json!({"jsonrpc": "2.0", "id": self.message["id"], "result": result});
        self.json(&message);
    }

    /// Answers with an event stream that the test writes to.
    pub(crate) fn stream(self) -> EventWriter {
        let (sender, receiver) = mpsc::channel::<Bytes>(16);
        let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, std::io::Error>));
        self.reply(([(header::CONTENT_TYPE, "text/event-stream")], body));
        EventWriter(sender)
    }

    pub(crate) fn redirect(self, status: u16, location: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        self.reply((status, [(header::LOCATION, location.to_owned())]));
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An open event stream, from the server's side. Dropped, it ends.
pub(crate) struct EventWriter(mpsc::Sender<Bytes>);

impl EventWriter {
    pub(crate) async fn raw(&self, text: &str) {
        soon(self.0.send(Bytes::from(text.to_owned()))).await.unwrap();
    }

    pub(crate) async fn message(&self, message: Value) {
        self.raw(&format!("event: message\ndata: {message}\n\n")).await;
    }

    pub(crate) async fn answer(&self, request: &Value, result: Value) {
        self.message(json!({"jsonrpc": "2.0", "id": request["id"], "result": result})).await;
    }

    /// Waits until the client has closed the stream.
    pub(crate) async fn closed(&self) {
        soon(self.0.closed()).await;
    }
}

/// An HTTP server whose test answers each request.
pub(crate) struct HttpPeer {
    pub(crate) address: SocketAddr,
    requests: mpsc::Receiver<HttpRequest>,
    connections: Arc<AtomicUsize>,
    listening: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for HttpPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpPeer {
    pub(crate) async fn start() -> Self {
        let (sender, requests) = mpsc::channel(64);
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let listening = Arc::new(AtomicBool::new(false));
        let state = (sender, Arc::clone(&listening));
        let router = Router::new().fallback(handle).with_state(state);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, requests, connections, listening, task }
    }

    pub(crate) fn target(&self, path: &str) -> HttpTarget {
        let mut headers = HeaderMap::new();
        headers.insert("x-secret", "canary".parse().unwrap());
        HttpTarget { url: format!("http://{}{path}", self.address).parse().unwrap(), headers }
    }

    /// From now on a GET to `/mcp` is the test's to answer; before, it is refused.
    pub(crate) fn allow_listening(&self) {
        self.listening.store(true, Ordering::SeqCst);
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> HttpRequest {
        soon(self.requests.recv()).await.expect("the server ended")
    }

    /// The next request with this JSON-RPC method.
    pub(crate) async fn next_message(&mut self, method: &str) -> HttpRequest {
        let request = self.next().await;
        assert_eq!(request.message["method"], method, "{}", request.message);
        request
    }

    /// Whether a request waits that nobody took.
    pub(crate) fn has_more(&mut self) -> bool {
        self.requests.try_recv().is_ok()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn handle(
    State((requests, listening)): State<(mpsc::Sender<HttpRequest>, Arc<AtomicBool>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let listens = method == Method::GET && uri.path() == "/mcp";
    if listens && !listening.load(Ordering::SeqCst) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let (reply, answer) = oneshot::channel();
    let message = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let request = HttpRequest { method, uri, headers, message, reply };
    if requests.send(request).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // A request that the test drops is a connection that breaks.
    answer.await.unwrap_or_else(|_| broken())
}

/// An answer that breaks off: its body fails before the declared length is there.
fn broken() -> Response {
    let error = std::io::Error::other("broken on purpose");
    let parts = vec![Ok(Bytes::from_static(b"{\"jsonrpc\":")), Err(error)];
    let body = Body::from_stream(tokio_stream::iter(parts));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Connects while the test plays the server.
pub(crate) async fn connect(
    target: Target,
    options: &ClientOptions,
) -> Result<Connected, ConnectError> {
    soon(Connector::new().connect(target, options)).await
}

/// The event that a notification becomes.
pub(crate) fn note(method: &str, params: &str) -> ConnectionEvent {
    ConnectionEvent::Notification {
        method: method.to_owned(),
        params: Bytes::copy_from_slice(params.as_bytes()),
    }
}

/// What a log line would show of these.
pub(crate) fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

/// Events that are waited for with patience.
pub(crate) async fn next_event(events: &mut Events) -> ConnectionEvent {
    soon(events.next()).await.expect("the events ended")
}

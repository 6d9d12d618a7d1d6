//! The HTTP clients: one for each set of settings, shared by all connections that have them.
//!
//! The environment's proxies are never used. A redirect is followed within its own origin only,
//! for a POST only where it stays a POST, so headers never leave the origin they are meant for.

use std::collections::HashMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use reqwest::redirect::{Attempt, Policy};
use url::Url;

use super::post::{self, PlainClient};
use super::{ClientOptions, ConnectError, HttpTarget, SendFailure, Transport};
use crate::server::{PROTOCOL_VERSION, SESSION_ID};

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// How long an unused connection is kept. Many servers close theirs after five seconds; a request
/// that meets such a close may have been lost or not.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// How long a silent connection stands before the system asks whether the other side is there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The most sets of settings that are kept.
const MAX_CLIENTS: usize = 64;

/// The clients of one set of settings.
#[derive(Clone)]
pub(super) struct HttpClients {
    /// For messages over plain HTTP, if no proxy is configured.
    pub(super) plain: Option<PlainClient>,
    /// For all other messages: only redirects that keep the method and the body.
    pub(super) post: reqwest::Client,
    /// For streams.
    pub(super) get: reqwest::Client,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Settings {
    connect_timeout: Duration,
    ca_file: Option<PathBuf>,
    proxy: Option<Url>,
}

/// The clients that were made.
#[derive(Default)]
pub(super) struct HttpPool(Mutex<HashMap<Settings, HttpClients>>);

impl HttpPool {
    /// The clients for these options.
    pub(super) fn clients(&self, options: &ClientOptions) -> Result<HttpClients, ConnectError> {
        let settings = Settings {
            connect_timeout: options.connect_timeout,
            ca_file: options.ca_file.clone(),
            proxy: options.proxy.clone(),
        };
        // A panic cannot leave the map half changed.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = known.get(&settings) {
            return Ok(clients.clone());
        }
        let clients = build(&settings)?;
        if known.len() >= MAX_CLIENTS {
            known.clear();
        }
        known.insert(settings, clients.clone());
        Ok(clients)
    }
}

fn build(settings: &Settings) -> Result<HttpClients, ConnectError> {
    // Fails when another part of the process was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let build = |policy| {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(policy)
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_keepalive(TCP_KEEPALIVE)
            .tcp_nodelay(true);
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path)
                .map_err(|error| configuration(&format!("ca_file: {}", error.kind())))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|_| configuration("ca_file holds no PEM certificates"))?;
            if certificates.is_empty() {
                return Err(configuration("ca_file holds no PEM certificates"));
            }
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if let Some(proxy) = &settings.proxy {
            let proxy = reqwest::Proxy::all(proxy.clone())
                .map_err(|_| configuration("the proxy is not a usable URL"))?;
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(|error| configuration(&cause(error)))
    };
    let plain = post::plain_client(settings.connect_timeout, POOL_IDLE, TCP_KEEPALIVE);
    Ok(HttpClients {
        plain: settings.proxy.is_none().then_some(plain),
        post: build(Policy::custom(|attempt| redirect(attempt, false)))?,
        get: build(Policy::custom(|attempt| redirect(attempt, true)))?,
    })
}

fn configuration(text: &str) -> ConnectError {
    ConnectError::Configuration(text.to_owned())
}

fn redirect(attempt: Attempt<'_>, any_kind: bool) -> reqwest::redirect::Action {
    let keeps_method = keeps_method(attempt.status());
    let home = attempt.previous().first().is_some_and(|first| same_origin(first, attempt.url()));
    if home && (any_kind || keeps_method) && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// Whether a redirect leaves the method and the body as they are.
pub(super) fn keeps_method(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// Whether two URLs have scheme, host and port in common.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin().is_tuple() && one.origin() == other.origin()
}

/// Headers that belong to the exchange itself and cannot be configured.
const RESERVED: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    PROTOCOL_VERSION,
    SESSION_ID,
];

/// The headers of every request to an upstream: the configured ones, and ours over them.
pub(super) fn headers(configured: &HeaderMap, ours: &[(HeaderName, &'static str)]) -> HeaderMap {
    let mut headers = configured.clone();
    for value in headers.values_mut() {
        value.set_sensitive(true);
    }
    for name in &RESERVED {
        headers.remove(name);
    }
    for (name, value) in ours {
        headers.insert(name.clone(), HeaderValue::from_static(value));
    }
    headers
}

/// The target with the user and password of its URL as a header, as HTTP sends them. A configured
/// `Authorization` header comes first.
pub(super) fn take_credentials(mut target: HttpTarget) -> HttpTarget {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = decode(target.url.username());
    let password = target.url.password().map(decode);
    if user.is_empty() && password.is_none() {
        return target;
    }
    let pair = format!("{user}:{}", password.unwrap_or_default());
    let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)));
    if let Ok(mut value) = value {
        value.set_sensitive(true);
        target.headers.entry(header::AUTHORIZATION).or_insert(value);
    }
    target.url = without_credentials(target.url);
    target
}

/// The URL without user and password.
pub(super) fn without_credentials(mut url: Url) -> Url {
    // These fail for URLs without a host only, which have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// A request with these headers and nothing else.
pub(super) fn request(
    method: http::Method,
    url: &Url,
    headers: HeaderMap,
    body: Option<bytes::Bytes>,
) -> reqwest::Request {
    let mut request = reqwest::Request::new(method, url.clone());
    *request.headers_mut() = headers;
    *request.body_mut() = body.map(reqwest::Body::from);
    request
}

/// What failed below HTTP, without the URL (its query may hold a secret).
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut source = error.source();
    let mut text = None;
    while let Some(inner) = source {
        text = Some(inner.to_string());
        source = inner.source();
    }
    text.unwrap_or_else(|| "the HTTP exchange failed".to_owned())
}

/// A failed request while a connection is set up.
pub(super) fn connect_error(transport: Transport, error: reqwest::Error) -> ConnectError {
    if error.is_timeout() {
        return ConnectError::Timeout(transport);
    }
    ConnectError::Unreachable { transport, cause: cause(error) }
}

/// Why a message was not taken, and whether it may have been. Before there is a connection nothing
/// has left.
pub(super) fn send_failure(error: reqwest::Error) -> (SendFailure, bool) {
    if error.is_connect() && error.is_timeout() {
        return (SendFailure::TimedOut, false);
    }
    if error.is_connect() {
        return (SendFailure::Unreachable(cause(error)), false);
    }
    (SendFailure::Broken(cause(error)), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> HttpTarget {
        HttpTarget { url: Url::parse(url).unwrap(), headers: HeaderMap::new() }
    }

    #[test]
    fn credentials_of_a_url_become_a_header_unless_one_is_configured() {
        let taken = take_credentials(target("http://us%40r:p%3Aw@h/x?q=1"));
        assert_eq!(taken.url.as_str(), "http://h/x?q=1");
        let expected = format!("Basic {}", STANDARD.encode("us@r:p:w"));
        assert_eq!(taken.headers[header::AUTHORIZATION], expected);

        let mut configured = target("http://user@h/");
        configured.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        let taken = take_credentials(configured);
        assert_eq!(taken.headers[header::AUTHORIZATION], "Bearer x");
        assert_eq!(taken.url.as_str(), "http://h/");

        assert!(take_credentials(target("http://h/")).headers.is_empty());
    }

    #[test]
    fn headers_of_the_exchange_itself_cannot_be_configured() {
        let mut configured = HeaderMap::new();
        for name in ["content-length", "transfer-encoding", "mcp-session-id", "x-key", "accept"] {
            configured.insert(name, HeaderValue::from_static("1"));
        }
        let made = headers(&configured, &[(header::ACCEPT, "application/json")]);
        assert_eq!(made.len(), 2);
        assert!(made["x-key"].is_sensitive());
        assert_eq!(made[header::ACCEPT], "application/json");
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let same = |one: &str, other: &str| {
            same_origin(&Url::parse(one).unwrap(), &Url::parse(other).unwrap())
        };
        assert!(same("http://h/a", "http://H:80/b?c"));
        for other in ["https://h/", "http://h:81/", "http://h.evil/", "data:x"] {
            assert!(!same("http://h/", other), "{other}");
        }
        assert!(!same("data:x", "data:x"));
    }
}

//! Which web pages may speak to an edge, and under which host names.
//!
//! A browser sends `Origin`; programs do not. The specification of the transports demands the
//! check, since a page on another site could otherwise reach a gateway on the reader's machine.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

use crate::config::EdgeConfig;

/// The origins and hosts that are accepted.
#[derive(Debug)]
pub(crate) struct OriginRules {
    origins: Vec<String>,
    loopback: bool,
    public_host: String,
}

impl OriginRules {
    pub(crate) fn new(config: &EdgeConfig) -> Self {
        let own = origin_of(&config.public_url);
        let mut origins = config.allowed_origins.clone();
        let public_host = own.split_once("://").map_or("", |(_, host)| host).to_owned();
        origins.push(own);
        Self { origins, loopback: config.loopback, public_host }
    }

    /// Whether a request may pass.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        self.allow_origin(headers) && self.allow_host(headers)
    }

    fn allow_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        if self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        self.loopback && is_loopback(host)
    }

    fn allow_host(&self, headers: &HeaderMap) -> bool {
        if !self.loopback {
            return true;
        }
        match headers.get(HOST).map(|host| host.to_str()) {
            None => true,
            Some(Ok(host)) => is_loopback(host) || host.eq_ignore_ascii_case(&self.public_host),
            Some(Err(_)) => false,
        }
    }
}

/// Scheme, host and port of a URL.
fn origin_of(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            format!("{scheme}://{host}")
        }
        None => url.to_owned(),
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::EdgeLimits;

    fn rules(loopback: bool) -> OriginRules {
        OriginRules::new(&EdgeConfig {
            public_url: "https://mcp.example.com/gateway".into(),
            loopback,
            allowed_origins: vec!["https://console.example.com".into()],
            shared_sessions: false,
            cluster: false,
            limits: EdgeLimits::default(),
        })
    }

    fn with(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.clone(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn programs_and_known_pages_pass_and_others_do_not() {
        let rules = rules(false);
        assert!(rules.allow(&with(&[])));
        assert!(rules.allow(&with(&[(ORIGIN, "https://mcp.example.com")])));
        assert!(rules.allow(&with(&[(ORIGIN, "https://console.example.com")])));
        assert!(!rules.allow(&with(&[(ORIGIN, "https://evil.example")])));
        assert!(!rules.allow(&with(&[(ORIGIN, "http://localhost:3000")])));
        assert!(!rules.allow(&with(&[(ORIGIN, "null")])));
    }

    #[test]
    fn on_loopback_a_foreign_host_is_refused() {
        let rules = rules(true);
        assert!(rules.allow(&with(&[(HOST, "127.0.0.1:8080"), (ORIGIN, "http://localhost:1")])));
        assert!(rules.allow(&with(&[(HOST, "[::1]:8080")])));
        assert!(rules.allow(&with(&[(HOST, "mcp.example.com")])));
        assert!(!rules.allow(&with(&[(HOST, "evil.example:8080")])));
        assert!(!rules.allow(&with(&[(HOST, "localhost.evil.example")])));
    }
}

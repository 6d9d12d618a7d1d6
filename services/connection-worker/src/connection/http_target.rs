//! Upstreams behind HTTP: the target from what is shown and what is sealed.

use domain::server::HttpTarget as Shown;
use http::{HeaderMap, HeaderName, HeaderValue};
use mcp::client::HttpTarget;
use secrecy::ExposeSecret;
use url::Url;

use crate::launch::LaunchBundle;

/// Puts the target together.
///
/// # Errors
/// What is wrong with it, in words that hold no value.
pub(super) fn target(shown: &Shown, launch: &LaunchBundle) -> Result<HttpTarget, String> {
    let url = launch.url.as_ref().map_or(shown.url.as_str(), |url| url.expose_secret());
    let url = Url::parse(url).map_err(|_| "the URL cannot be read".to_owned())?;
    let mut headers = HeaderMap::with_capacity(launch.headers.len());
    for (name, value) in &launch.headers {
        let wrong = |_| format!("the header {name:?} or its value is not allowed in HTTP");
        let key: HeaderName = name.parse().map_err(|_| wrong(()))?;
        let mut value: HeaderValue = value.expose_secret().parse().map_err(|_| wrong(()))?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(HttpTarget { url, headers })
}

/// The outbound proxy.
///
/// # Errors
/// When it is none, in words that hold no value.
pub(super) fn proxy(shown: &Shown, launch: &LaunchBundle) -> Result<Option<Url>, String> {
    let sealed = launch.proxy.as_ref().map(|proxy| proxy.expose_secret());
    sealed
        .or(shown.proxy.as_deref())
        .map(|proxy| Url::parse(proxy).map_err(|_| "the proxy's URL cannot be read".to_owned()))
        .transpose()
}

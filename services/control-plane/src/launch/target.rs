//! URLs: what of one may be shown, and the whole of it where that is more.

use domain::Refusal;
use url::Url;

/// Longest URL, in bytes.
const MAX_URL_BYTES: usize = 8 * 1024;

/// A URL in two parts. Has no `Debug` on purpose.
pub(super) struct SplitUrl {
    /// Scheme, host, port and path.
    pub(super) shown: String,
    /// The whole, if it has a query, user info or a fragment.
    pub(super) sealed: Option<String>,
}

/// Checks and splits a URL.
///
/// # Errors
/// Names the field; says nothing of the URL, which may hold a secret.
pub(super) fn split(field: &str, text: &str) -> Result<SplitUrl, Refusal> {
    let text = text.trim();
    let bad = || Refusal::invalid(field, "must be an http:// or https:// URL with a host");
    if text.is_empty() {
        return Err(Refusal::invalid(field, "must not be empty"));
    }
    if text.len() > MAX_URL_BYTES {
        return Err(Refusal::invalid(field, "has more than 8 KiB"));
    }
    let mut url = Url::parse(text).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad());
    }
    // Written plainly, the text is its own shown form; clients of the guide compare it so.
    if !text.contains(['?', '#', '@', '\\']) && !text.chars().any(|c| c.is_control() || c == ' ') {
        let plain = text.starts_with("http://") || text.starts_with("https://");
        let shown = if plain { text.to_owned() } else { url.into() };
        return Ok(SplitUrl { shown, sealed: None });
    }
    let whole = url.to_string();
    url.set_query(None);
    url.set_fragment(None);
    url.set_username("").map_err(|()| bad())?;
    url.set_password(None).map_err(|()| bad())?;
    let shown = url.to_string();
    let sealed = (shown != whole).then(|| text.to_owned());
    Ok(SplitUrl { shown, sealed })
}

/// The beginning of a name that is wrong, for a message.
pub(super) fn excerpt(name: &str) -> String {
    name.chars().take(40).collect()
}

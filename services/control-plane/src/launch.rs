//! What is needed to start or reach a server, apart from what may be shown of it.
//!
//! What always holds: a value that may be secret — an argument, an environment variable's or a
//! header's value, the query and the user info of a URL — is in the [`LaunchBundle`] and nowhere
//! in the [`Transport`], which goes into events and answers. Refusals name fields and names,
//! never values.

use std::collections::BTreeMap;

use domain::Refusal;
use domain::server::{HttpTarget, ServerConfig, Transport};
use proto::control::v1 as pb;
use proto::control::v1::ServerSpec;
use serde::{Deserialize, Serialize};

mod shown;
mod target;

pub use shown::{HIDDEN, shown_args};

/// Most bytes of all values of one server together.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;
/// Longest name of an environment variable or a header, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The values that may be secret, as they are sealed. Has no `Debug` on purpose.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaunchBundle {
    /// stdio: all arguments.
    pub args: Vec<String>,
    /// stdio: the environment.
    pub env: BTreeMap<String, String>,
    /// HTTP: the headers.
    pub headers: BTreeMap<String, String>,
    /// HTTP: the full URL, where it has more than what is shown.
    pub url: Option<String>,
    /// HTTP: the full URL of the outbound proxy, where it has more than what is shown.
    pub proxy: Option<String>,
}

/// Splits a specification into what may be shown and what is sealed. Fields of the other
/// transport are dropped.
///
/// # Errors
/// Names the field that breaks its rule.
pub fn split(spec: &ServerSpec) -> Result<(Transport, LaunchBundle), Refusal> {
    let kind = pb::Transport::try_from(spec.transport).unwrap_or_default();
    if kind == pb::Transport::Unspecified {
        return Err(Refusal::invalid(
            "spec.transport",
            "must be stdio, sse, streamable_http or probe",
        ));
    }
    if pb::Isolation::try_from(spec.isolation).is_err() {
        return Err(Refusal::invalid("spec.isolation", "must be shared or session"));
    }
    if spec.disabled && spec.command.trim().is_empty() && spec.url.trim().is_empty() {
        return Ok((Transport::Unset, unset_bundle(spec)?));
    }
    match kind {
        pb::Transport::Stdio => split_stdio(spec),
        pb::Transport::Sse => split_http(spec, Transport::Sse),
        pb::Transport::StreamableHttp => split_http(spec, Transport::StreamableHttp),
        _ => split_http(spec, Transport::Probe),
    }
}

/// What a server without a command and a URL may keep until it gets one.
fn unset_bundle(spec: &ServerSpec) -> Result<LaunchBundle, Refusal> {
    let bundle = LaunchBundle {
        args: spec.args.clone(),
        env: environment(spec)?,
        headers: headers(spec)?,
        ..LaunchBundle::default()
    };
    check_size(&bundle)?;
    Ok(bundle)
}

fn split_stdio(spec: &ServerSpec) -> Result<(Transport, LaunchBundle), Refusal> {
    let command = spec.command.trim();
    // A whole command line would be shown with the secrets in it, and would not start either.
    if command.contains(" -") || command.chars().any(char::is_control) {
        return Err(Refusal::invalid(
            "spec.command",
            "must be the program alone: its arguments go into args",
        ));
    }
    if spec.args.iter().any(|arg| arg.contains('\0')) {
        return Err(Refusal::invalid("spec.args", "must not contain a NUL character"));
    }
    let bundle = LaunchBundle {
        args: spec.args.clone(),
        env: environment(spec)?,
        ..LaunchBundle::default()
    };
    check_size(&bundle)?;
    let transport = Transport::Stdio {
        command: command.to_owned(),
        shown_args: shown_args(&bundle.args),
        env_names: bundle.env.keys().cloned().collect(),
        cwd: non_empty(&spec.cwd),
    };
    Ok((transport, bundle))
}

fn split_http(
    spec: &ServerSpec,
    transport: fn(HttpTarget) -> Transport,
) -> Result<(Transport, LaunchBundle), Refusal> {
    let url = target::split("spec.url", &spec.url)?;
    let proxy = match spec.proxy.trim() {
        "" => None,
        proxy => Some(target::split("spec.proxy", proxy)?),
    };
    let (proxy, proxy_sealed) = proxy.map(|proxy| (proxy.shown, proxy.sealed)).unzip();
    let bundle = LaunchBundle {
        headers: headers(spec)?,
        url: url.sealed,
        proxy: proxy_sealed.flatten(),
        ..LaunchBundle::default()
    };
    check_size(&bundle)?;
    let target = HttpTarget {
        url: url.shown,
        header_names: bundle.headers.keys().cloned().collect(),
        ca_file: non_empty(&spec.ca_file),
        proxy,
    };
    Ok((transport(target), bundle))
}

fn environment(spec: &ServerSpec) -> Result<BTreeMap<String, String>, Refusal> {
    for (name, value) in &spec.env {
        let bad_name = name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || name.chars().any(|c| c == '=' || c.is_control());
        if bad_name {
            let shown = target::excerpt(name);
            let message = format!("has a name that no environment takes: {shown:?}");
            return Err(Refusal::invalid("spec.env", message));
        }
        if value.contains('\0') {
            let message = format!("the value of {name:?} has a NUL character");
            return Err(Refusal::invalid("spec.env", message));
        }
    }
    check_count("spec.env", spec.env.len())?;
    Ok(spec.env.clone().into_iter().collect())
}

/// Headers that the connection itself decides.
const RESERVED_HEADERS: [&str; 6] =
    ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

fn headers(spec: &ServerSpec) -> Result<BTreeMap<String, String>, Refusal> {
    let mut lower = std::collections::BTreeSet::new();
    for (name, value) in &spec.headers {
        let shown = target::excerpt(name);
        let wrong = |what: &str| Err(Refusal::invalid("spec.headers", format!("{shown:?} {what}")));
        let valid = name.len() <= MAX_NAME_BYTES && http::HeaderName::try_from(name).is_ok();
        if !valid {
            return wrong("is not a name of a header");
        }
        if http::HeaderValue::from_str(value).is_err() {
            return wrong("has a value that no header can carry");
        }
        let name = name.to_ascii_lowercase();
        if RESERVED_HEADERS.contains(&name.as_str()) {
            return wrong("is set by the connection itself");
        }
        if !lower.insert(name) {
            return wrong("is given twice");
        }
    }
    check_count("spec.headers", spec.headers.len())?;
    Ok(spec.headers.clone().into_iter().collect())
}

fn check_count(field: &str, count: usize) -> Result<(), Refusal> {
    if count > ServerConfig::MAX_VALUES {
        return Err(Refusal::invalid(field, "has more than 1,000 entries"));
    }
    Ok(())
}

fn check_size(bundle: &LaunchBundle) -> Result<(), Refusal> {
    check_count("spec.args", bundle.args.len())?;
    let maps = bundle.env.iter().chain(&bundle.headers);
    let size = bundle.args.iter().map(String::len).sum::<usize>()
        + maps.map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if size > MAX_VALUE_BYTES {
        return Err(Refusal::invalid(
            "spec",
            "arguments, environment and headers have more than 512 KiB together",
        ));
    }
    Ok(())
}

fn non_empty(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;

//! Typed configuration from a file, the environment and flags; the later one wins.
//!
//! A service parses its configuration once, here, into its own struct and passes it down.
//!
//! What always holds:
//! - An error names the key, where its value came from, and what to do.
//! - No error shows a value: what was given may be a secret.
//! - A key of the file that nobody reads is an error, as it is a typing error or a wish that
//!   would not come true. A variable of the environment that nobody reads is none: others share
//!   its prefix.

mod environment;
mod fault;
mod unknown;

use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Json, Serialized, Toml};
use figment::value::Dict;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::environment::Environment;
use self::fault::Origin;

/// What the environment variables of the services begin with.
const PREFIX: &str = "MCP_ORCH_";
/// Between the parts of a nested key in the name of a variable.
const NESTING: &str = "__";
/// Most variables that are looked at.
const MAX_VARIABLES: usize = 1_000;
/// Largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A configuration that cannot be used, in words that name the key, where it came from, and what
/// to do. One line for each fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

/// Loads a `T`: its defaults, then `file` (TOML, or JSON by its ending), then environment
/// variables that begin with `MCP_ORCH_` (`__` between the parts of a nested key), then `flags`,
/// of which absent ones do not count.
///
/// # Errors
/// As of [`load_with_prefix`].
pub fn load<T, F>(file: Option<&Path>, flags: &F) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
    F: Serialize,
{
    load_with_prefix(file, PREFIX, flags)
}

/// As [`load`], with environment variables that begin with `prefix`.
///
/// A variable holds a text, a number, `true`, or a list such as `[a,b]`; where the default is a
/// text it is always taken as one. One that is not UTF-8 is passed over.
///
/// # Errors
/// When the file is missing, too large or malformed; when it has a key that is none of `T`'s
/// defaults; when a value has the wrong type.
pub fn load_with_prefix<T, F>(
    file: Option<&Path>,
    prefix: &str,
    flags: &F,
) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
    F: Serialize,
{
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    layered(file, prefix, variables, flags)
}

fn layered<T, F>(
    file: Option<&Path>,
    prefix: &str,
    variables: impl Iterator<Item = (String, String)>,
    flags: &F,
) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
    F: Serialize,
{
    let origin = Origin { file, prefix };
    let failed = |error: figment::Error| ConfigError(fault::describe(error, &origin));
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    let known: Dict = figment.extract().map_err(failed)?;
    if let Some(path) = file {
        let text = read(path).map_err(ConfigError)?;
        let layer = match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => Figment::from(Json::string(&text)),
            _ => Figment::from(Toml::string(&text)),
        };
        let given: Dict = layer.extract().map_err(failed)?;
        unknown::check(&known, &given, path).map_err(ConfigError)?;
        figment = figment.merge(layer);
    }
    figment
        .merge(Environment::of(variables, prefix, &known))
        .merge(Serialized::defaults(flags))
        .extract()
        .map_err(failed)
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |why: String| format!("the file {}: {why}", path.display());
    let metadata = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("it is no file".to_owned()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(failed(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests;

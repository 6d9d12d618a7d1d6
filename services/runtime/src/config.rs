//! Typed configuration from a file, the environment and flags; the later one wins.
//!
//! A service parses its configuration once, here, into its own struct and passes it down.

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Json, Serialized, Toml};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A configuration that cannot be used, in words that name the key and where it came from.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

/// Loads a `T`: its defaults, then `file` (TOML, or JSON by its ending), then environment
/// variables that begin with `MCP_ORCH_` (`__` between the parts of a nested key), then `flags`,
/// of which absent ones do not count.
///
/// # Errors
/// When the file cannot be read, a key is unknown to `T`, or a value has the wrong type.
pub fn load<T, F>(file: Option<&Path>, flags: &F) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
    F: Serialize,
{
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(path) = file {
        if !path.is_file() {
            return Err(ConfigError(format!("there is no file {}", path.display())));
        }
        figment = match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => figment.merge(Json::file_exact(path)),
            _ => figment.merge(Toml::file_exact(path)),
        };
    }
    figment
        .merge(Env::prefixed("MCP_ORCH_").split("__"))
        .merge(Serialized::defaults(flags))
        .extract()
        .map_err(|error| ConfigError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Sample {
        listen: String,
        workers: u32,
    }

    #[derive(Serialize)]
    struct Flags {
        #[serde(skip_serializing_if = "Option::is_none")]
        workers: Option<u32>,
    }

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp-orch.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn flags_weigh_more_than_the_file_and_the_file_more_than_defaults() {
        let (_dir, path) = file("listen = \"a\"\nworkers = 1");
        let loaded: Sample = load(Some(&path), &Flags { workers: Some(2) }).unwrap();
        assert_eq!(loaded, Sample { listen: "a".into(), workers: 2 });
        let loaded: Sample = load(Some(&path), &Flags { workers: None }).unwrap();
        assert_eq!(loaded.workers, 1);
    }

    #[test]
    fn a_wrong_type_names_the_key() {
        let (_dir, path) = file("workers = \"many\"");
        let error = load::<Sample, _>(Some(&path), &Flags { workers: None }).unwrap_err();
        assert!(error.to_string().contains("workers"), "{error}");
    }

    #[test]
    fn a_missing_file_is_said() {
        let error =
            load::<Sample, _>(Some(Path::new("/no/such")), &Flags { workers: None }).unwrap_err();
        assert!(error.to_string().contains("/no/such"), "{error}");
    }
}

//! Secrets of the configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Largest file that a secret is read from, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A secret that was given as it is. It is read, and never written or shown.
#[derive(Clone)]
pub(crate) struct Hidden(SecretString);

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.into()))
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Only defaults are serialized, and no default holds a secret.
        serializer.serialize_none()
    }
}

/// The secret of a key: from its file, or as it was given; none where neither is.
///
/// # Errors
/// When both are given, or the file cannot be read or is empty.
pub(crate) fn resolve(
    key: &str,
    given: Option<&Hidden>,
    file: Option<&PathBuf>,
) -> Result<Option<SecretString>> {
    match (given, file) {
        (Some(_), Some(_)) => bail!("give either {key} or {key}_file"),
        (Some(hidden), None) => Ok(Some(hidden.0.clone())),
        (None, Some(path)) => read(path).with_context(|| format!("{key}_file")).map(Some),
        (None, None) => Ok(None),
    }
}

/// The same for a secret that must be there.
///
/// # Errors
/// As of [`resolve`], and when neither is given.
pub(crate) fn require(
    key: &str,
    given: Option<&Hidden>,
    file: Option<&PathBuf>,
) -> Result<SecretString> {
    resolve(key, given, file)?.with_context(|| format!("{key} or {key}_file is missing"))
}

/// The secret that a file holds, without the line's end.
///
/// # Errors
/// When it cannot be read, is empty or too large.
pub(crate) fn read(path: &Path) -> Result<SecretString> {
    let cannot = || format!("cannot read {}", path.display());
    let size = std::fs::metadata(path).with_context(cannot)?.len();
    if size > MAX_BYTES {
        bail!("{} has {size} bytes: a secret has at most {MAX_BYTES}", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn hidden(text: &str) -> Hidden {
        Hidden(text.to_owned().into())
    }

    #[test]
    fn a_secret_comes_from_its_file_without_the_line_s_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seed");
        std::fs::write(&path, "SUAB\n").unwrap();
        let secret = resolve("seed", None, Some(&path)).unwrap().unwrap();
        assert_eq!(secret.expose_secret(), "SUAB");
        std::fs::write(&path, "\n").unwrap();
        assert!(resolve("seed", None, Some(&path)).unwrap_err().to_string().contains("seed_file"));
    }

    #[test]
    fn it_is_given_in_one_way_and_never_shown() {
        let path = PathBuf::from("/no/such");
        assert!(resolve("seed", Some(&hidden("x")), Some(&path)).is_err());
        assert!(require("seed", None, None).unwrap_err().to_string().contains("seed_file"));
        assert_eq!(format!("{:?}", hidden("x")), "(hidden)");
        assert_eq!(serde_json::to_string(&hidden("x")).unwrap(), "null");
    }
}

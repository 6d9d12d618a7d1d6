//! Files that are written once.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A directory with what one service must know.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Takes the directory, or makes it.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// One below it.
    pub(crate) fn below(&self, name: &str) -> Result<Self> {
        Self::make(&self.0.join(name))
    }

    /// Whether a file is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// The content of a file.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.0.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The content of a file, which is made first where it is not there.
    ///
    /// Who may enter the directory may read the file: services run as users of their own, which
    /// are not known here, and each directory is mounted at its own service only.
    pub(crate) fn once(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        if self.has(name) {
            return self.read(name);
        }
        let content = make()?;
        self.replace(name, &content)?;
        Ok(content)
    }

    /// Where a file is.
    pub(crate) fn path_of(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file, whole or not at all.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        let temporary = self.0.join(format!(".{name}.new"));
        let written = || -> std::io::Result<()> {
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o444).open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }
}

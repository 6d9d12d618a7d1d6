//! Files that survive a crash, and the lock between processes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a file is named while it is written.
pub(super) const UNFINISHED: &str = "unfinished";

/// Waits for the exclusive lock on `path`; dropping the file, or dying, gives it back.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.lock()?;
    Ok(file)
}

/// Writes a file, mode 0600, or replaces it. Once this returned, the file survives any crash;
/// after a crash before, it is as it was. The caller holds the lock of the store.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path);
    remove_if_there(&unfinished)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&unfinished, path)) {
        // What is left is overwritten or removed by the next writer, should this fail too.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    sync_parent(path)
}

/// One name per target, so that an interrupted write leaves no more than one file behind.
fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension(UNFINISHED)
}

/// Makes one directory, mode 0700, durably. It may exist.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // Synced also then: whoever made it may have died before.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_parent(path),
    }
}

/// The content, unless it is above `limit_bytes`; `None` if there is no such file.
pub(super) fn read_if_there(path: &Path, limit_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(limit_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit_bytes {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
    }
    Ok(Some(bytes))
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

//! Folders that are made once for a given content, and made anew when the content changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::failure::{Context, Outcome};

/// Says for which content a folder was made; written last, so half a folder has none.
const STAMP: &str = ".made-for";

/// Gives `parent/name`, which `make` filled for exactly this `content`.
///
/// `content` is all that decides what is in the folder, such as a lock file. A second process
/// waits for the first.
///
/// # Errors
/// Those of `make`, or if the folder cannot be written. A failed attempt leaves no stamp, and
/// the next one starts from nothing.
pub(crate) fn folder(
    parent: &Path,
    name: &str,
    content: &str,
    make: impl FnOnce(&Path) -> Outcome,
) -> Outcome<PathBuf> {
    fs::create_dir_all(parent).cannot(|| format!("create {}", parent.display()))?;
    let lock = File::create(parent.join(format!("{name}.lock")))
        .and_then(|lock| lock.lock().map(|()| lock))
        .cannot(|| format!("lock {name} in {}", parent.display()))?;
    let folder = parent.join(name);
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|made_for| made_for == content) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).cannot(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).cannot(|| format!("create {}", folder.display()))?;
    make(&folder)?;
    fs::write(&stamp, content).cannot(|| format!("write {}", stamp.display()))?;
    drop(lock);
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::folder;
    use crate::failure::{Failure, Outcome};

    fn make_into(path: &std::path::Path) -> Outcome {
        fs::write(path.join("made"), "").map_err(|error| Failure::new(error.to_string()))
    }

    #[test]
    fn a_folder_is_made_once_for_a_content_and_anew_for_another() {
        let root = tempfile::tempdir().expect("folder");
        let made = folder(root.path(), "tool", "1", make_into).expect("made");
        fs::write(made.join("old"), "").expect("written");

        folder(root.path(), "tool", "1", |_| panic!("made twice")).expect("kept");
        assert!(made.join("old").exists());

        folder(root.path(), "tool", "2", make_into).expect("made anew");
        assert!(made.join("made").exists() && !made.join("old").exists());
    }

    #[test]
    fn a_failed_attempt_is_not_taken_for_a_made_folder() {
        let root = tempfile::tempdir().expect("folder");
        let failed = folder(root.path(), "tool", "1", |_| Err(Failure::new("no network")));
        assert!(failed.is_err());
        let made = folder(root.path(), "tool", "1", make_into).expect("made");
        assert!(made.join("made").exists());
    }
}

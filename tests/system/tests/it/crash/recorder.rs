//! Writes down what was answered, outside of the system that dies.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What was answered, in memory and in a file.
#[derive(Debug)]
pub(super) struct Recorder {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    answered: BTreeSet<String>,
    finished: usize,
    refusals: Vec<String>,
    /// The process that is killed with this answer, in the very moment in which it arrives.
    kill_at: Option<(usize, Pid)>,
}

impl Recorder {
    /// Writes to a file; kills the process with the given answer, if one is given.
    pub(super) fn new(path: &Path, kill_at: Option<(usize, Pid)>) -> Self {
        let file = File::create(path).unwrap();
        let inner =
            Inner { file, answered: BTreeSet::new(), finished: 0, refusals: Vec::new(), kill_at };
        Self { inner: Mutex::new(inner) }
    }

    /// An operation ended; an error may mean that nobody was there any more.
    pub(super) fn ended(&self, unique: &str, outcome: Result<(), String>) {
        let mut inner = self.inner.lock().unwrap();
        inner.finished += 1;
        match outcome {
            Ok(()) => {
                writeln!(inner.file, "{unique}").unwrap();
                inner.answered.insert(unique.to_owned());
                if let Some((number, process)) = inner.kill_at
                    && inner.answered.len() == number
                {
                    kill(process, Signal::SIGKILL).unwrap();
                }
            }
            Err(reason) => inner.refusals.push(format!("{unique}: {reason}")),
        }
    }

    /// How many operations ended, and how many of them were answered.
    pub(super) fn progress(&self) -> (usize, usize) {
        let inner = self.inner.lock().unwrap();
        (inner.finished, inner.answered.len())
    }

    /// What was answered.
    pub(super) fn answered(&self) -> BTreeSet<String> {
        self.inner.lock().unwrap().answered.clone()
    }

    /// Why another was not, for the first one.
    pub(super) fn refusal(&self) -> Option<String> {
        self.inner.lock().unwrap().refusals.first().cloned()
    }
}

//! Why a task failed, as one text for the person at the terminal.
//!
//! A task's caller can do nothing with a failure but print it, so there are no variants.

use std::fmt;

/// A text that says what failed and, where it is known, what to do about it.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// What a task or a step gives back.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Turns any error into a [`Failure`] that says what was being done.
pub(crate) trait Context<T> {
    /// `doing` completes the sentence "cannot …".
    fn cannot(self, doing: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn cannot(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| Failure(format!("cannot {}: {error}", doing())))
    }
}

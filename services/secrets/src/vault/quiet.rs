//! Keeps a library from logging: what it knows are tokens and values, and its own errors would
//! stand in our log beside what we say of them.

use std::future::Future;

use tracing::dispatcher::{self, Dispatch};
use tracing::instrument::WithSubscriber as _;

/// Runs `future` without a log.
pub(super) fn quietly<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    future.with_subscriber(Dispatch::none())
}

/// Runs `work` without a log.
pub(super) fn quiet<T>(work: impl FnOnce() -> T) -> T {
    dispatcher::with_default(&Dispatch::none(), work)
}

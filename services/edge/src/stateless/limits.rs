//! The limits of what stateless clients may keep here.

use std::time::Duration;

/// The limits of stateless clients. Hitting one is a clear error.
#[derive(Clone, Debug)]
pub struct StatelessLimits {
    /// Most calls of one key whose answers were not taken yet, those that wait for input included.
    pub calls_per_key: usize,
    /// Most calls in all that wait for their client's input.
    pub parked_calls: usize,
    /// Most calls of one key that wait for input.
    pub parked_calls_per_key: usize,
    /// How long a call waits for input, and how long a state that leads to an upstream's own
    /// state is taken back.
    pub input_wait: Duration,
    /// How long more questions of an upstream are waited for after the first, so that they are
    /// asked together.
    pub gather: Duration,
    /// Most subscriptions that are open at once.
    pub subscriptions: usize,
    /// Most open subscriptions of one key.
    pub subscriptions_per_key: usize,
}

impl Default for StatelessLimits {
    fn default() -> Self {
        Self {
            calls_per_key: 2_048,
            parked_calls: 1_024,
            parked_calls_per_key: 128,
            input_wait: Duration::from_secs(5 * 60),
            gather: Duration::from_millis(20),
            subscriptions: 10_000,
            subscriptions_per_key: 1_000,
        }
    }
}

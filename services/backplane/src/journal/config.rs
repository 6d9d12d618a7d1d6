//! Limits of a journal.

use std::time::Duration;

/// Limits of a [`Journal`](super::Journal).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Most entries of a tenant in memory.
    pub tenant_entries: usize,
    /// Most bytes of a tenant in memory.
    pub tenant_bytes: usize,
    /// Most bytes in memory over all tenants.
    pub total_bytes: usize,
    /// Most entries in one request.
    pub batch_entries: usize,
    /// Most bytes in one request, unless a single entry is larger.
    pub batch_bytes: usize,
    /// How long [`Journal::record`](super::Journal::record) tries to reach the record.
    pub record_timeout: Duration,
    /// How long a queued entry waits for others to share its request.
    pub linger: Duration,
}

impl Default for JournalConfig {
    /// 8,192 entries and 64 MiB for a tenant, 256 MiB in all, requests of 512 entries or 8 MiB,
    /// 5 s to record, 250 ms to gather.
    fn default() -> Self {
        Self {
            tenant_entries: 8_192,
            tenant_bytes: 64 * 1024 * 1024,
            total_bytes: 256 * 1024 * 1024,
            batch_entries: 512,
            batch_bytes: 8 * 1024 * 1024,
            record_timeout: Duration::from_secs(5),
            linger: Duration::from_millis(250),
        }
    }
}

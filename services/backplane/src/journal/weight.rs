//! How much memory entries take, and who has how much of it.

use std::collections::HashMap;

use domain::TenantId;
use prost::Message;
use proto::internal::v1;

use super::{Full, JournalConfig, JournalError};

/// What an entry counts for besides its encoded size: its place in the queues.
const OVERHEAD_BYTES: usize = 256;

/// What some entries take, per tenant. Nearly always of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Load(Vec<(TenantId, Weight)>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weight {
    entries: usize,
    bytes: usize,
}

impl Load {
    /// Weighs entries that are to go in one request.
    pub(super) fn of(
        entries: &[v1::JournalEntry],
        config: &JournalConfig,
    ) -> Result<Self, JournalError> {
        let mut load = Self::default();
        for entry in entries {
            let tenant = entry.tenant.parse().map_err(|_| JournalError::NoTenant)?;
            let bytes = entry.encoded_len() + OVERHEAD_BYTES;
            load.add(tenant, Weight { entries: 1, bytes });
        }
        let fits = entries.len() <= config.batch_entries && load.bytes() < bus::MAX_FRAME_BYTES;
        if fits { Ok(load) } else { Err(JournalError::TooLarge) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, weight)| weight.bytes).sum()
    }

    /// Puts `other` on top.
    pub(super) fn merge(&mut self, other: &Self) {
        for (tenant, weight) in &other.0 {
            self.add(*tenant, *weight);
        }
    }

    fn add(&mut self, tenant: TenantId, weight: Weight) {
        match self.0.iter_mut().find(|(of, _)| *of == tenant) {
            Some((_, sum)) => {
                sum.entries += weight.entries;
                sum.bytes += weight.bytes;
            }
            None => self.0.push((tenant, weight)),
        }
    }
}

/// What is in memory.
#[derive(Debug, Default)]
pub(super) struct Usage {
    tenants: HashMap<TenantId, Weight>,
    bytes: usize,
}

impl Usage {
    /// Counts `load` in, or nothing of it. A tenant that has nothing in memory may exceed its
    /// bytes with one request, so that nothing is too large for ever.
    pub(super) fn take(&mut self, load: &Load, config: &JournalConfig) -> Result<(), Full> {
        let fits = load.0.iter().all(|(tenant, more)| {
            self.tenants.get(tenant).is_none_or(|used| {
                used.entries + more.entries <= config.tenant_entries
                    && used.bytes + more.bytes <= config.tenant_bytes
            })
        });
        if !fits || (self.bytes > 0 && self.bytes + load.bytes() > config.total_bytes) {
            return Err(Full);
        }
        for (tenant, more) in &load.0 {
            let used = self.tenants.entry(*tenant).or_default();
            used.entries += more.entries;
            used.bytes += more.bytes;
        }
        self.bytes += load.bytes();
        Ok(())
    }

    /// Counts `load` out again.
    pub(super) fn give_back(&mut self, load: &Load) {
        for (tenant, less) in &load.0 {
            if let Some(used) = self.tenants.get_mut(tenant) {
                used.entries = used.entries.saturating_sub(less.entries);
                used.bytes = used.bytes.saturating_sub(less.bytes);
                if used.entries == 0 {
                    self.tenants.remove(tenant);
                }
            }
        }
        self.bytes = self.bytes.saturating_sub(load.bytes());
    }

    /// Whether less than three quarters are in use, of the tenant's share and in all.
    pub(super) fn has_room(&self, tenant: TenantId, config: &JournalConfig) -> bool {
        let below = |used: usize, limit: usize| used < limit - limit / 4;
        below(self.bytes, config.total_bytes)
            && self.tenants.get(&tenant).is_none_or(|used| {
                below(used.entries, config.tenant_entries) && below(used.bytes, config.tenant_bytes)
            })
    }
}

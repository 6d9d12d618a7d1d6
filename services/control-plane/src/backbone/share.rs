//! Each tenant's share of what is being journaled, in number and in bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::TenantId;

/// What is under way, by tenant.
#[derive(Debug)]
pub(super) struct Shares {
    entries: usize,
    bytes: usize,
    used: Mutex<HashMap<TenantId, (usize, usize)>>,
}

/// A part of a tenant's share; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    tenant: TenantId,
    bytes: usize,
}

impl Shares {
    /// So much for each tenant.
    pub(super) fn new(entries: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self { entries, bytes, used: Mutex::default() })
    }

    fn used(&self) -> MutexGuard<'_, HashMap<TenantId, (usize, usize)>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one entry of `bytes`, or none. A single entry always fits into an empty share.
    pub(super) fn take(self: &Arc<Self>, tenant: TenantId, bytes: usize) -> Option<Share> {
        let mut used = self.used();
        let (entries, held) = used.entry(tenant).or_default();
        if *entries > 0 && (*entries >= self.entries || *held + bytes > self.bytes) {
            return None;
        }
        *entries += 1;
        *held += bytes;
        Some(Share { shares: Arc::clone(self), tenant, bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut used = self.shares.used();
        if let Some((entries, bytes)) = used.get_mut(&self.tenant) {
            *entries -= 1;
            *bytes -= self.bytes;
            if *entries == 0 {
                used.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn one_tenants_full_share_leaves_anothers_alone_and_is_given_back() {
        let shares = Shares::new(2, 100);
        let tenant = |id| TenantId::from_uuid(Uuid::from_u128(id));
        let first = shares.take(tenant(1), 10).unwrap();
        assert!(shares.take(tenant(1), 91).is_none());
        let second = shares.take(tenant(1), 10).unwrap();
        assert!(shares.take(tenant(1), 1).is_none());
        assert!(shares.take(tenant(2), 500).is_some());
        drop((first, second));
        assert!(shares.used().is_empty());
    }
}

//! Who a key belongs to: read through from the registry, the rows of recent keys kept in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use rederive_hsm::access_key_id::AccessKeyId;

use crate::registry::{KeyRow, KeyStatus, Registry, RegistryError, UserId};

/// Rows of keys that are in use. Whether a key is denied is never read from here, but from the deny list.
pub struct Principals {
    rows: Cache<AccessKeyId, Arc<KeyRow>>,
    /// How often something was forgotten: what was read before it may be what was to be forgotten.
    forgotten: AtomicU64,
}

impl Principals {
    /// With room for so many rows.
    pub fn new(capacity: usize) -> Self {
        Self { rows: Cache::new(capacity), forgotten: AtomicU64::new(0) }
    }

    /// The row of an id, if it is in memory.
    pub fn at_hand(&self, id: &AccessKeyId) -> Option<Arc<KeyRow>> {
        self.rows.get(id)
    }

    /// The row of an active key from the registry; `None` if no such key was issued, or it is not active.
    pub async fn read(&self, id: &AccessKeyId, registry: &Registry) -> Result<Option<Arc<KeyRow>>, RegistryError> {
        let before = self.forgotten.load(Ordering::Acquire);
        let row = registry.key(id).await?.filter(|row| row.status == KeyStatus::Active).map(Arc::new);
        if let Some(row) = &row {
            self.rows.insert(*id, row.clone());
        }
        if self.forgotten.load(Ordering::Acquire) != before {
            self.rows.remove(id);
        }
        Ok(row)
    }

    /// Forgets the rows of a user's keys: it has another name.
    pub fn forget(&self, user_id: &UserId) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.rows.retain(|_, row| row.user.as_ref().is_none_or(|user| user.user_id != *user_id));
    }
}

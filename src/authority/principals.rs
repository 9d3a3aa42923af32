//! Who a key belongs to: read through from the registry, the rows of recent keys kept in memory.

use std::sync::Arc;

use quick_cache::sync::Cache;
use rederive_hsm::access_key_id::AccessKeyId;

use crate::registry::{KeyRow, KeyStatus, Registry, RegistryError};

/// Rows of keys that are in use. Whether a key is denied is never read from here, but from the deny list.
pub struct Principals(Cache<AccessKeyId, Arc<KeyRow>>);

impl Principals {
    /// With room for so many rows.
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// The row of an id, if it is in memory.
    pub fn at_hand(&self, id: &AccessKeyId) -> Option<Arc<KeyRow>> {
        self.0.get(id)
    }

    /// The row of an active key from the registry; `None` if no such key was issued, or it is not active.
    pub async fn read(&self, id: &AccessKeyId, registry: &Registry) -> Result<Option<Arc<KeyRow>>, RegistryError> {
        let row = registry.key(id).await?.filter(|row| row.status == KeyStatus::Active).map(Arc::new);
        if let Some(row) = &row {
            self.0.insert(*id, row.clone());
        }
        Ok(row)
    }
}

//! When each key was last used: noted in memory by the verification, written to the registry in batches.

use std::sync::Mutex;

use ahash::AHashMap;
use rederive_hsm::access_key_id::AccessKeyId;

use crate::registry::{KeyUse, LastUsed, Registry, RegistryError};

/// Keys whose use may wait to be written. Past it, uses of further keys go unrecorded until the next batch.
const PENDING: usize = 100_000;

/// Uses that wait to be written.
#[derive(Default)]
pub struct Uses(Mutex<AHashMap<AccessKeyId, LastUsed>>);

impl Uses {
    /// Notes a use. Costs a look-up; allocates only for the first use of a key since the last batch.
    pub fn note(&self, id: AccessKeyId, at: i64, service: &str, region: &str) {
        let mut uses = self.lock();
        if let Some(last) = uses.get_mut(&id) {
            last.at = last.at.max(at);
            last.service.clear();
            last.service.push_str(service);
            last.region.clear();
            last.region.push_str(region);
        } else if uses.len() < PENDING {
            uses.insert(id, LastUsed { at, service: service.to_owned(), region: region.to_owned() });
        }
    }

    /// Writes what has gathered. When the registry cannot take it, it stays for the next time.
    pub async fn write(&self, registry: &Registry) -> Result<(), RegistryError> {
        let batch = self.lock().clone();
        if batch.is_empty() {
            return Ok(());
        }
        let uses: Vec<_> = batch.iter().map(|(id, used)| KeyUse { id: *id, used: used.clone() }).collect();
        registry.record_last_used(&uses).await?;
        self.lock().retain(|id, used| batch.get(id) != Some(used));
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, AHashMap<AccessKeyId, LastUsed>> {
        // A map is whole between any two of its operations.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

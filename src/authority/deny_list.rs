//! What must be refused, in memory: every key id that is inactive or deleted. It follows the registry's changes.

use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, Ordering};

use ahash::AHashSet;
use rederive_hsm::access_key_id::AccessKeyId;

use crate::registry::{Change, ChangeKind};

/// The list is older than allowed, so nothing can be decided by it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the deny list is {age} s old, more than the {allowed} s allowed: the registry cannot be read")]
pub struct Stale {
    /// Its age in seconds.
    pub age: i64,
    /// `max_staleness` in seconds.
    pub allowed: i64,
}

/// The denied ids, and up to when they are known.
#[derive(Default)]
pub struct DenyList {
    ids: RwLock<AHashSet<AccessKeyId>>,
    as_of: AtomicI64,
}

impl DenyList {
    /// With the ids that are denied at a time.
    pub fn load(&self, ids: Vec<AccessKeyId>, at: i64) {
        *self.write() = ids.into_iter().collect();
        self.as_of.store(at, Ordering::Release);
    }

    /// Takes in one change.
    pub fn apply(&self, change: &Change) {
        let Some(id) = AccessKeyId::parse(change.subject.as_bytes()) else { return };
        match change.kind {
            ChangeKind::KeyDeactivated | ChangeKind::KeyDeleted => {
                self.write().insert(id);
            }
            ChangeKind::KeyActivated => {
                self.write().remove(&id);
            }
            _ => {}
        }
    }

    /// Every change up to this time was taken in. The time may lie before the last one, when the clock was set right.
    pub fn is_current_at(&self, at: i64) {
        self.as_of.store(at, Ordering::Release);
    }

    /// Up to when it is known, in seconds since 1970.
    pub fn as_of(&self) -> i64 {
        self.as_of.load(Ordering::Acquire)
    }

    /// Refuses to speak when it is too old.
    pub fn check_fresh(&self, now: i64, allowed: i64) -> Result<(), Stale> {
        let age = now - self.as_of();
        if age > allowed { Err(Stale { age, allowed }) } else { Ok(()) }
    }

    /// Whether an id is denied.
    pub fn holds(&self, id: &AccessKeyId) -> bool {
        self.ids.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains(id)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, AHashSet<AccessKeyId>> {
        // A set is whole between any two of its operations.
        self.ids.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

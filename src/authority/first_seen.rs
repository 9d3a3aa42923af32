//! Ids that were accepted although nobody here knows whether they were ever issued: each is reported to an issuer once.
//!
//! Only an id under which a signature matched is noted. A made-up one with the right tag and a wrong signature tells nothing
//! of a stolen master, and anybody could fill the deny list with such.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::AHashSet;
use rederive_hsm::access_key_id::{AccessKeyId, PackedId};

/// Ids that are remembered as reported, or wait to be. Past it all are forgotten, and reported again when they come again.
const REMEMBERED: usize = 1_000_000;

/// What was seen, and what waits to be reported.
#[derive(Default)]
pub(super) struct FirstSeen(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    ids: AHashSet<PackedId>,
    to_report: Vec<AccessKeyId>,
}

impl FirstSeen {
    pub(super) fn note(&self, id: &AccessKeyId) {
        let mut seen = self.lock();
        if seen.ids.len() >= REMEMBERED {
            *seen = Seen::default();
        }
        if seen.ids.insert(id.packed()) {
            seen.to_report.push(*id);
        }
    }

    /// Those that wait, at most so many; they wait on until [`FirstSeen::reported`].
    pub(super) fn to_report(&self, at_most: usize) -> Vec<AccessKeyId> {
        let seen = self.lock();
        seen.to_report.iter().take(at_most).copied().collect()
    }

    pub(super) fn reported(&self, ids: &[AccessKeyId]) {
        self.lock().to_report.retain(|id| !ids.contains(id));
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // An id that waits and is not remembered is reported twice at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

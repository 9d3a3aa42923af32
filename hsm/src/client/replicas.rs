//! On which tokens each generation's master was seen, by its check value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use crate::access_key_id::Generation;

/// Tokens, by their numbers, on which a generation's check value was computed rightly.
#[derive(Default)]
pub(super) struct Replicas(Mutex<BTreeMap<Generation, BTreeSet<usize>>>);

impl Replicas {
    /// A token computed the recorded check value of a generation.
    pub(super) fn saw(&self, generation: Generation, token: usize) {
        self.books().entry(generation).or_default().insert(token);
    }

    /// A token computed another one.
    pub(super) fn contradicted(&self, generation: Generation, token: usize) {
        if let Some(tokens) = self.books().get_mut(&generation) {
            tokens.remove(&token);
        }
    }

    /// On how many tokens it was seen.
    pub(super) fn of(&self, generation: Generation) -> usize {
        self.books().get(&generation).map_or(0, BTreeSet::len)
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<Generation, BTreeSet<usize>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

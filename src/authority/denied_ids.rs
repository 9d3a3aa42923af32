//! Denied ids, packed: a sorted array with a filter before it, and beside it what changed since the array was made.
//!
//! The array costs 14 bytes an id and the filter one, twice that while a new array is made. A look-up of an id that is not
//! denied, which nearly every one is, mostly ends at the filter.

use std::sync::Arc;

use ahash::{AHashSet, RandomState};
use rederive_hsm::access_key_id::{AccessKeyId, PackedId};

/// Changes that are kept beside the array at the least, before a new one is made.
const FEW: usize = 1024;
/// Beyond that, up to this part of the array.
const PART: usize = 32;
/// Bits of filter for each id: one in eight of the others gets past it.
const FILTER_BITS: usize = 8;

/// A set of ids. A clone shares the array.
#[derive(Clone, Default)]
pub(super) struct DeniedIds {
    sorted: Arc<Sorted>,
    added: AHashSet<PackedId>,
    removed: AHashSet<PackedId>,
}

impl DeniedIds {
    /// Of ids in any order, each perhaps more than once.
    pub(super) fn new(ids: Vec<PackedId>) -> Self {
        Self { sorted: Arc::new(Sorted::new(ids)), ..Self::default() }
    }

    pub(super) fn contains(&self, id: &AccessKeyId) -> bool {
        let id = id.packed();
        match self.sorted.contains(&id) {
            true => self.removed.is_empty() || !self.removed.contains(&id),
            false => !self.added.is_empty() && self.added.contains(&id),
        }
    }

    pub(super) fn insert(&mut self, id: &AccessKeyId) {
        let id = id.packed();
        self.removed.remove(&id);
        if !self.sorted.contains(&id) {
            self.added.insert(id);
        }
    }

    pub(super) fn remove(&mut self, id: &AccessKeyId) {
        let id = id.packed();
        self.added.remove(&id);
        if self.sorted.contains(&id) {
            self.removed.insert(id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.ids.len() + self.added.len() - self.removed.len()
    }

    /// Makes a new array where enough has gathered beside the old one.
    pub(super) fn tidy(&mut self) {
        let beside = self.added.len() + self.removed.len();
        if beside > FEW.max(self.sorted.ids.len() / PART) {
            let mut ids = Vec::with_capacity(self.len());
            ids.extend(self.sorted.ids.iter().filter(|id| self.removed.is_empty() || !self.removed.contains(*id)));
            let mut added: Vec<_> = self.added.iter().copied().collect();
            added.sort_unstable();
            ids.append(&mut added);
            *self = Self::new(ids);
        }
    }
}

struct Sorted {
    ids: Box<[PackedId]>,
    filter: Box<[u64]>,
    hasher: RandomState,
}

impl Default for Sorted {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Sorted {
    fn new(mut ids: Vec<PackedId>) -> Self {
        // Stable because it finds runs that are in order: what was an array is one, and what came to it the other.
        ids.sort();
        ids.dedup();
        let words = (ids.len() * FILTER_BITS).div_ceil(64);
        let mut sorted = Self { ids: ids.into(), filter: vec![0; words].into(), hasher: RandomState::new() };
        for at in 0..sorted.ids.len() {
            let (word, bit) = sorted.place(&sorted.ids[at]);
            sorted.filter[word] |= bit;
        }
        sorted
    }

    fn contains(&self, id: &PackedId) -> bool {
        if self.ids.is_empty() {
            return false;
        }
        let (word, bit) = self.place(id);
        self.filter[word] & bit != 0 && self.ids.binary_search(id).is_ok()
    }

    /// Where an id's bit is, in a filter that is not empty.
    fn place(&self, id: &PackedId) -> (usize, u64) {
        let hash = self.hasher.hash_one(id);
        // The upper half of the product spreads evenly over any number of words.
        let word = ((u128::from(hash) * self.filter.len() as u128) >> 64) as usize;
        (word, 1 << (hash & 63))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use rederive_hsm::access_key_id::{Account, Fields, Generation, Prefix, TagKey};
    use rederive_hsm::secret::Secret32;

    fn id(serial: u32) -> AccessKeyId {
        let (account, generation) = (Account::new(7).expect("small"), Generation::new(0).expect("small"));
        let tag_key = TagKey::new(&Secret32::take(&mut [7; 32]));
        let fields = Fields::Account { account, generation, needs_row: false, serial };
        AccessKeyId::assemble(Prefix::parse("AKIA").expect("four letters"), &fields, &tag_key)
    }

    /// Against a plain set, with a history that adds, removes and repeats, over many new arrays.
    #[test]
    fn it_holds_what_a_set_would() {
        let mut denied = DeniedIds::new((0..3000).map(|serial| id(serial).packed()).collect());
        let mut plain: HashSet<u32> = (0..3000).collect();
        let mut arrays = 0;
        for step in 0..30_000_u32 {
            let serial = step.wrapping_mul(2_654_435_761) >> 19;
            if step % 3 == 0 {
                denied.remove(&id(serial));
                plain.remove(&serial);
            } else {
                denied.insert(&id(serial));
                plain.insert(serial);
            }
            let before = Arc::as_ptr(&denied.sorted);
            denied.tidy();
            arrays += usize::from(Arc::as_ptr(&denied.sorted) != before);
            assert_eq!(denied.contains(&id(serial)), plain.contains(&serial));
        }
        assert_eq!(denied.len(), plain.len());
        assert!((0..8192).all(|serial| denied.contains(&id(serial)) == plain.contains(&serial)));
        assert!(arrays > 3, "the control: {arrays} new arrays");
    }

    #[test]
    fn a_million_take_less_than_32_bytes_each() {
        let count = 1_000_000_u64;
        let ids = (0..count).map(|number| {
            let mut id = *b"AKIA..........";
            id[4..12].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            id
        });
        let denied = DeniedIds::new(ids.collect());
        let sorted = &denied.sorted;
        let bytes = size_of_val(&*sorted.ids) + size_of_val(&*sorted.filter);
        assert_eq!(sorted.ids.len() as u64, count);
        assert!(2 * bytes as u64 <= 32 * count, "even while a new array is made: {bytes}");
    }
}

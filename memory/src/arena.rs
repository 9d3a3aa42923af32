//! Slots of three sizes, cut from large mappings that stay for the life of the process.

use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::map::{CHUNK, Chunk, Kind};

/// Sizes of slots, each of them a power of two: a slot is aligned to its size.
const SIZES: [usize; 3] = [SMALLEST, 64, LARGEST];
/// The smallest slot.
pub(super) const SMALLEST: usize = 32;
/// The largest slot.
pub(super) const LARGEST: usize = 128;

static ARENA: Mutex<Arena> = Mutex::new(Arena { free: [Vec::new(), Vec::new(), Vec::new()], bytes: [0; 3] });

struct Arena {
    /// Slots that nobody has, all of them zero, by size.
    free: [Vec<Slot>; 3],
    /// Memory that was taken, by kind.
    bytes: [usize; 3],
}

struct Slot(NonNull<u8>);

// SAFETY: a slot in the list is nobody's; whoever takes it out is its only owner.
unsafe impl Send for Slot {}

/// A slot of at least so many bytes, all zero.
pub(super) fn take(size: usize) -> NonNull<u8> {
    let mut arena = lock();
    let class = class(size);
    if let Some(slot) = arena.free[class].pop() {
        return slot.0;
    }
    let chunk = Chunk::map();
    arena.bytes[chunk.kind as usize] += CHUNK;
    arena.free[class].extend(chunk.cut(SIZES[class]).map(Slot));
    arena.free[class].pop().expect("a chunk has many slots").0
}

/// Gives a slot back, wiped.
pub(super) fn give_back(place: NonNull<u8>, size: usize) {
    lock().free[class(size)].push(Slot(place));
}

pub(super) fn kinds() -> [(Kind, usize); 3] {
    let bytes = lock().bytes;
    Kind::ALL.map(|kind| (kind, bytes[kind as usize]))
}

fn class(size: usize) -> usize {
    SIZES.iter().position(|slot| size <= *slot).expect("checked where the type is known")
}

fn lock() -> MutexGuard<'static, Arena> {
    // It is whole between any two statements.
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

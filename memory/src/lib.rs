//! Memory for secrets that live for long.
//!
//! A [`Locked`] value is in memory that is never swapped and in no core dump. Where the kernel has `memfd_secret` (Linux 5.14 and
//! later), no other process can read it either, not even root with a debugger: the pages are in nobody's map but its own
//! process's. Reading it costs what reading a `Box` costs.
//!
//! How much of such memory a process may have is `RLIMIT_MEMLOCK`'s to say. Beyond it values are still in no core dump, but may be
//! swapped: [`kinds`] tells how much there is of each kind.

mod arena;
mod map;

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

pub use map::Kind;

/// A value in memory for secrets, which is wiped when it is dropped. It never moves.
pub struct Locked<T> {
    place: NonNull<T>,
}

// SAFETY: it owns its value as a `Box` does, and gives out references to it by the rules of its own borrows alone.
unsafe impl<T: Send> Send for Locked<T> {}
// SAFETY: the same.
unsafe impl<T: Sync> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// Moves a value in. Where it was before is the caller's to wipe: start with an empty value, and write the secret into its place.
    pub fn new(value: T) -> Self {
        const { assert!(size_of::<T>() <= arena::LARGEST && align_of::<T>() <= arena::SMALLEST, "too large for a slot") };
        let place = arena::take(size_of::<T>()).cast::<T>();
        // SAFETY: the slot is ours alone until it is given back, at least as large as T, and aligned to its own size, which is a
        // multiple of T's alignment.
        unsafe { place.write(value) };
        Self { place }
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value was written in `new` and lives until `drop`.
        unsafe { self.place.as_ref() }
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and nobody else has a reference to it while ours is exclusive.
        unsafe { self.place.as_mut() }
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: the value is there, and nobody uses it any more.
        unsafe { self.place.drop_in_place() };
        // SAFETY: the slot is ours and has this size; what was in it is dropped, and padding is written, never read.
        unsafe { zeroize::zeroize_flat_type(self.place.as_ptr()) };
        arena::give_back(self.place.cast(), size_of::<T>());
    }
}

/// How many bytes of memory for secrets this process has, by kind.
pub fn kinds() -> [(Kind, usize); 3] {
    arena::kinds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_are_and_slots_are_used_again() {
        let values: Vec<Locked<[u64; 4]>> = (0..20_000).map(|n| Locked::new([n; 4])).collect();
        assert!(values.iter().zip(0..).all(|(value, n)| **value == [n; 4]), "none is in another's place");
        let taken = |kinds: [(Kind, usize); 3]| kinds.iter().map(|(_, bytes)| bytes).sum::<usize>();
        let before = taken(kinds());
        assert!(before >= 20_000 * 32);
        drop(values);
        let again: Vec<Locked<[u64; 4]>> = (0..20_000).map(|n| Locked::new([n; 4])).collect();
        assert_eq!(taken(kinds()), before, "nothing more was taken");
        drop(again);
    }

    #[test]
    fn a_dropped_value_is_wiped_and_its_own_drop_runs() {
        struct Told<'a>([u8; 32], &'a std::cell::Cell<u32>);
        impl Drop for Told<'_> {
            fn drop(&mut self) {
                assert_eq!(self.0, [7; 32]);
                self.1.set(self.1.get() + 1);
            }
        }
        let drops = std::cell::Cell::new(0);
        let value = Locked::new(Told([7; 32], &drops));
        let place = value.place.cast::<u8>();
        drop(value);
        assert_eq!(drops.get(), 1);
        // SAFETY: the slot is not unmapped; another test's thread may take it, but not of this size at this moment.
        let first = unsafe { place.read_volatile() };
        assert_eq!(first, 0);
    }

    #[test]
    fn threads_take_and_give_back_at_once() {
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                scope.spawn(move || {
                    for round in 0..2_000_u16 {
                        let mut value = Locked::new([thread; 32]);
                        let other = Locked::new([round; 20]);
                        value[31] = thread.wrapping_add(1);
                        assert_eq!((value[0], value[31], other[19]), (thread, thread.wrapping_add(1), round));
                    }
                });
            }
        });
    }

    /// What the kernel says of the pages, where it says it: `lo` locked, `dd` not dumped.
    #[test]
    fn the_kernel_knows_that_it_is_not_to_be_dumped() {
        let value = Locked::new([1_u8; 32]);
        let at = value.place.as_ptr() as usize;
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("a process may look at itself");
        let mut is_ours = false;
        let flags = smaps.lines().find_map(|line| {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                is_ours = (from..to).contains(&at);
            }
            line.strip_prefix("VmFlags:").filter(|_| is_ours)
        });
        let flags: Vec<_> = flags.expect("the mapping is there").split_whitespace().collect();
        assert!(flags.contains(&"dd"), "{flags:?}");
        if kinds().contains(&(Kind::Swappable, 0)) {
            assert!(flags.contains(&"lo"), "{flags:?}");
        } else {
            println!("SKIPPED, whether it is locked: RLIMIT_MEMLOCK does not allow all of it here");
        }
    }
}

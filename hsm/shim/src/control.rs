//! The shared memory between a test and every process that has the module loaded.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap};

use crate::Call;

/// Faults that can be armed at a time.
pub const SLOTS: usize = 4;
/// Room for the counts of calls.
const CALLS: usize = 16;
const _: () = assert!(Call::ALL.len() <= CALLS);

/// What is done to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It gives this return value.
    Return(u64),
    /// It takes so many milliseconds longer.
    Delay(u64),
    /// It does not come back before the fault is disarmed.
    Hang,
    /// One bit of a signature is another: this one, or each time any (`None`).
    Flip(Option<u8>),
    /// The answer is a byte short.
    Short,
    /// The process dies.
    Die,
    /// Every session of the process is gone.
    LoseSessions,
}

/// Whether the call has its effect on the real module first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It has none.
    Before,
    /// It has.
    After,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// So many times.
    Times(u32),
    /// So many in a million calls.
    Rate(u32),
    /// Every time.
    ForGood,
}

/// A fault to arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which call.
    pub call: Call,
    /// What.
    pub deed: Deed,
    /// When.
    pub when: When,
    /// How often.
    pub how: How,
}

/// One slot of the shared memory; all zero is disarmed.
#[repr(C)]
struct Slot {
    /// The call's number and one; 0 for none.
    call: AtomicU32,
    after: AtomicU32,
    deed: AtomicU32,
    per_million: AtomicU32,
    value: AtomicU64,
    left: AtomicI64,
}

/// What the processes share. Every field is an atomic, so any bytes are a value of it.
#[repr(C)]
pub struct Shared {
    slots: [Slot; SLOTS],
    calls: [AtomicU64; CALLS],
    injected: [AtomicU64; CALLS],
    dice: AtomicU64,
    pub(crate) wrong_pins: AtomicU64,
    pub(crate) pins_at_most: AtomicU64,
    pub(crate) forked: AtomicU64,
    pub(crate) raced: AtomicU64,
    pub(crate) open_sessions: AtomicI64,
}

/// The shared memory, mapped. It stays mapped until the process ends.
pub struct Control(&'static Shared);

impl Deref for Control {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        self.0
    }
}

impl Control {
    /// Maps a file, made if it is missing.
    pub fn open(path: &Path) -> Result<Self, std::io::Error> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let length = size_of::<Shared>();
        if file.metadata()?.len() < length as u64 {
            file.set_len(length as u64)?;
        }
        // SAFETY: a new mapping of a whole file of at least that length; nobody shortens it.
        let memory = unsafe {
            mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0)?
        };
        // SAFETY: the mapping is page-aligned, as long as `Shared`, never unmapped, and all fields are atomics for which any
        // bytes are valid and that other processes may change at any time.
        Ok(Self(unsafe { &*memory.cast::<Shared>() }))
    }
}

impl Shared {
    /// Arms a fault in a slot.
    pub fn arm(&self, slot: usize, fault: Fault) {
        self.disarm(slot);
        let at = &self.slots[slot];
        let (deed, value) = encode(fault.deed);
        let (per_million, left) = match fault.how {
            How::Times(times) => (1_000_000, i64::from(times)),
            How::Rate(rate) => (rate, -1),
            How::ForGood => (1_000_000, -1),
        };
        at.deed.store(deed, Ordering::Relaxed);
        at.value.store(value, Ordering::Relaxed);
        at.after.store(u32::from(fault.when == When::After), Ordering::Relaxed);
        at.per_million.store(per_million, Ordering::Relaxed);
        at.left.store(left, Ordering::Relaxed);
        at.call.store(fault.call as u32 + 1, Ordering::Release);
    }

    /// Disarms a slot; calls that hang in it go on.
    pub fn disarm(&self, slot: usize) {
        self.slots[slot].call.store(0, Ordering::Release);
    }

    /// Disarms every slot.
    pub fn disarm_all(&self) {
        (0..SLOTS).for_each(|slot| self.disarm(slot));
    }

    /// Makes this token's chances others than another's.
    pub fn seed(&self, seed: u64) {
        self.dice.store(seed, Ordering::Relaxed);
    }

    /// How often a call was made.
    pub fn calls(&self, call: Call) -> u64 {
        self.calls[call as usize].load(Ordering::Relaxed)
    }

    /// How often something was done to a call.
    pub fn injected(&self, call: Call) -> u64 {
        self.injected[call as usize].load(Ordering::Relaxed)
    }

    /// How often something was done to any call.
    pub fn all_injected(&self) -> u64 {
        Call::ALL.iter().map(|call| self.injected(*call)).sum()
    }

    /// After so many wrong PINs in a row none is looked at any more; 0 for never.
    pub fn lock_after(&self, wrong_pins: u64) {
        self.pins_at_most.store(wrong_pins, Ordering::Relaxed);
    }

    /// Calls made in a process that forked after it had initialised the module.
    pub fn forked(&self) -> u64 {
        self.forked.load(Ordering::Relaxed)
    }

    /// Calls made on a session while another call was at work on it.
    pub fn raced(&self) -> u64 {
        self.raced.load(Ordering::Relaxed)
    }

    /// Sessions opened and not closed, over all processes that ended in good order.
    pub fn open_sessions(&self) -> i64 {
        self.open_sessions.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, call: Call) {
        self.calls[call as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What is to be done to a call now, and in which slot that stands.
    pub(crate) fn draw(&self, call: Call) -> Option<(usize, Deed, When)> {
        let drawn = self.slots.iter().enumerate().find(|(_, slot)| self.is_drawn(slot, call))?;
        let (number, slot) = drawn;
        self.injected[call as usize].fetch_add(1, Ordering::Relaxed);
        let when = if slot.after.load(Ordering::Relaxed) == 0 { When::Before } else { When::After };
        let deed = decode(slot.deed.load(Ordering::Relaxed), slot.value.load(Ordering::Relaxed));
        Some((number, deed, when))
    }

    fn is_drawn(&self, slot: &Slot, call: Call) -> bool {
        if slot.call.load(Ordering::Acquire) != call as u32 + 1 {
            return false;
        }
        let rate = slot.per_million.load(Ordering::Relaxed);
        if rate < 1_000_000 && self.throw() % 1_000_000 >= u64::from(rate) {
            return false;
        }
        let take = |left: i64| match left {
            0 => None,
            1.. => Some(left - 1),
            _ => Some(left),
        };
        slot.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// A step of splitmix64: spread well enough to strike at a rate.
    fn throw(&self) -> u64 {
        let mut z = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn is_armed(&self, slot: usize) -> bool {
        self.slots[slot].call.load(Ordering::Acquire) != 0
    }

    /// A bit to flip, anywhere in the signature.
    pub(crate) fn any_bit(&self) -> u8 {
        (self.throw() >> 8) as u8
    }
}

/// Flips of no bit in particular.
const ANY_BIT: u64 = u64::MAX;

fn encode(deed: Deed) -> (u32, u64) {
    match deed {
        Deed::Return(value) => (0, value),
        Deed::Delay(milliseconds) => (1, milliseconds),
        Deed::Hang => (2, 0),
        Deed::Flip(bit) => (3, bit.map_or(ANY_BIT, u64::from)),
        Deed::Short => (4, 0),
        Deed::Die => (5, 0),
        Deed::LoseSessions => (6, 0),
    }
}

fn decode(deed: u32, value: u64) -> Deed {
    match deed {
        0 => Deed::Return(value),
        1 => Deed::Delay(value),
        2 => Deed::Hang,
        3 => Deed::Flip((value != ANY_BIT).then_some(value as u8)),
        4 => Deed::Short,
        5 => Deed::Die,
        _ => Deed::LoseSessions,
    }
}

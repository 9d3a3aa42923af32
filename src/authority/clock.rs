//! The wall clock, watched against the clock that nobody sets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How far the wall clock may move against the time since boot, in milliseconds.
const TOLERANCE_MS: i64 = 5_000;
/// How often the reference follows the wall clock, so that a slow correction by NTP never adds up to a jump.
const FOLLOW_MS: i64 = 60_000;
/// A look at the coarse clocks is enough while they agree this well with the reference, and a closer one follows otherwise.
const AGREE_MS: i64 = 1_000;

/// The wall clock jumped: signatures cannot be judged until an operator has looked at it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "the wall clock jumped by {by_ms} ms against the time since boot; check the clock, then restart or send SIGHUP"
)]
pub struct Jumped {
    /// How far, in milliseconds; negative when it went back.
    pub by_ms: i64,
}

/// The clock of this process.
pub struct Clock {
    reference: Mutex<Reference>,
    jumped: AtomicBool,
    /// What [`Clock::glance`] compares with: wall clock less monotonic time. Renewed with every closer look.
    glance_offset_ms: AtomicI64,
    /// Until when, in monotonic time, glances are enough.
    glance_until_ms: AtomicI64,
}

#[derive(Clone, Copy)]
struct Reference {
    /// Wall clock less time since boot.
    offset_ms: i64,
    /// Time since boot when it was taken.
    taken_ms: i64,
}

impl Clock {
    /// Trusts the wall clock as it is now.
    pub fn start() -> Self {
        Self::with(Reference::of(sample()))
    }

    fn with(reference: Reference) -> Self {
        Self {
            reference: Mutex::new(reference),
            jumped: AtomicBool::new(false),
            glance_offset_ms: AtomicI64::new(0),
            glance_until_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// Seconds since 1970, unless the wall clock has jumped.
    pub fn now(&self) -> Result<i64, Jumped> {
        let coarse = (clock_gettime(ClockId::RealtimeCoarse), clock_gettime(ClockId::MonotonicCoarse));
        match self.glance(coarse) {
            Some(now) => Ok(now),
            None => self.look(ms(&coarse.1)),
        }
    }

    /// Trusts the wall clock as it is now, because an operator says so.
    pub fn trust_again(&self) {
        *self.lock() = Reference::of(sample());
        self.glance_until_ms.store(i64::MIN, Ordering::Release);
        self.jumped.store(false, Ordering::Release);
    }

    /// The time, if nothing has moved since the last closer look. The coarse clocks cost less than the others, and they move
    /// together but for what is set or slept: monotonic time stands still in suspend, and then a closer look is due.
    fn glance(&self, (wall, monotonic): (Timespec, Timespec)) -> Option<i64> {
        let (wall_ms, monotonic_ms) = (ms(&wall), ms(&monotonic));
        let moved = wall_ms - monotonic_ms - self.glance_offset_ms.load(Ordering::Acquire);
        let trusted = moved.abs() <= AGREE_MS
            && monotonic_ms < self.glance_until_ms.load(Ordering::Acquire)
            && !self.jumped.load(Ordering::Acquire);
        trusted.then_some(wall.tv_sec)
    }

    fn look(&self, monotonic_ms: i64) -> Result<i64, Jumped> {
        let (wall_ms, boot_ms) = sample();
        let now = self.at((wall_ms, boot_ms))?;
        self.glance_offset_ms.store(wall_ms - monotonic_ms, Ordering::Release);
        self.glance_until_ms.store(monotonic_ms + FOLLOW_MS, Ordering::Release);
        Ok(now)
    }

    fn at(&self, (wall_ms, boot_ms): (i64, i64)) -> Result<i64, Jumped> {
        let mut reference = self.lock();
        let by_ms = wall_ms - boot_ms - reference.offset_ms;
        if by_ms.abs() > TOLERANCE_MS && !self.jumped.swap(true, Ordering::AcqRel) {
            tracing::error!(
                by_ms,
                "ALARM: the wall clock jumped; nothing is decided until an operator has looked at it"
            );
        }
        if self.jumped.load(Ordering::Acquire) {
            return Err(Jumped { by_ms });
        }
        if boot_ms - reference.taken_ms > FOLLOW_MS {
            *reference = Reference::of((wall_ms, boot_ms));
        }
        Ok(wall_ms.div_euclid(1000))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Reference> {
        // Two numbers that are always written together.
        self.reference.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Reference {
    fn of((wall_ms, boot_ms): (i64, i64)) -> Self {
        Self { offset_ms: wall_ms - boot_ms, taken_ms: boot_ms }
    }
}

/// The wall clock and the time since boot, in milliseconds.
fn sample() -> (i64, i64) {
    (ms(&clock_gettime(ClockId::Realtime)), ms(&clock_gettime(ClockId::Boottime)))
}

fn ms(time: &Timespec) -> i64 {
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(wall_ms: i64, boot_ms: i64) -> Clock {
        Clock::with(Reference::of((wall_ms, boot_ms)))
    }

    fn time(ms: i64) -> Timespec {
        Timespec { tv_sec: ms.div_euclid(1000), tv_nsec: ms.rem_euclid(1000) * 1_000_000 }
    }

    #[test]
    fn a_jump_latches_until_somebody_looks() {
        let clock = clock(1_000_000, 0);
        assert_eq!(clock.at((1_004_000, 0)).expect("within tolerance"), 1004);
        assert!(clock.at((1_006_000, 0)).is_err());
        assert!(clock.at((1_000_000, 0)).is_err(), "going back is not looking");
        assert!(clock.at((994_000, 0)).is_err());
        clock.trust_again();
        assert!(clock.now().is_ok());
    }

    #[test]
    fn slow_corrections_never_add_up() {
        let clock = clock(0, 0);
        for minute in 1..100 {
            let boot = minute * 61_000;
            assert!(clock.at((boot + minute * 1000, boot)).is_ok());
        }
    }

    #[test]
    fn a_glance_is_enough_only_while_nothing_moves() {
        let clock = Clock::start();
        assert_eq!(clock.glance((time(0), time(0))), None, "nobody has looked yet");
        let now = clock.now().expect("nothing jumped");
        let coarse = (clock_gettime(ClockId::RealtimeCoarse), clock_gettime(ClockId::MonotonicCoarse));
        // The coarse clock is a few milliseconds behind, which at the turn of a second shows.
        assert!(clock.glance(coarse).expect("looked at a moment ago") >= now - 1);
        let (wall, monotonic) = (ms(&coarse.0), ms(&coarse.1));
        assert_eq!(clock.glance((time(wall + 2 * AGREE_MS), time(monotonic))), None, "set forward");
        assert_eq!(clock.glance((time(wall - 2 * AGREE_MS), time(monotonic))), None, "set back");
        assert_eq!(clock.glance((time(wall + FOLLOW_MS), time(monotonic + FOLLOW_MS))), None, "long ago");
        clock.jumped.store(true, Ordering::Release);
        assert_eq!(clock.glance(coarse), None, "it jumped");
    }
}

//! The wall clock, watched against the clock that nobody sets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// How far the wall clock may move against the time since boot, in milliseconds.
const TOLERANCE_MS: i64 = 5_000;
/// How often the reference follows the wall clock, so that a slow correction by NTP never adds up to a jump.
const FOLLOW_MS: i64 = 60_000;

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
        Self { reference: Mutex::new(Reference::of(sample())), jumped: AtomicBool::new(false) }
    }

    /// Seconds since 1970, unless the wall clock has jumped.
    pub fn now(&self) -> Result<i64, Jumped> {
        self.at(sample())
    }

    /// Trusts the wall clock as it is now, because an operator says so.
    pub fn trust_again(&self) {
        *self.lock() = Reference::of(sample());
        self.jumped.store(false, Ordering::Release);
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
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let boot = clock_gettime(ClockId::Boottime);
    (wall, boot.tv_sec * 1000 + boot.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(wall_ms: i64, boot_ms: i64) -> Clock {
        Clock { reference: Mutex::new(Reference::of((wall_ms, boot_ms))), jumped: AtomicBool::new(false) }
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
}

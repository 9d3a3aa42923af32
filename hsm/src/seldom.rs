//! What anybody can cause is told seldom, with how often it was not told. Pure: the time is given.

use std::time::{Duration, Instant};

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);

/// One thing to tell: an alarm that a line of the log is written for.
#[derive(Debug, Default)]
pub struct Seldom {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// It has happened now. If it is to be told, gives how often it happened untold since it was told last.
    pub fn tells(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_second_is_told_and_the_rest_counted() {
        let (mut alarm, begin) = (Seldom::default(), Instant::now());
        assert_eq!(alarm.tells(begin), Some(0));
        let of_a_second = (0..1000).filter_map(|ms| alarm.tells(begin + Duration::from_millis(ms))).count();
        assert_eq!(of_a_second, 0);
        assert_eq!(alarm.tells(begin + EVERY), Some(1000));
        assert_eq!(alarm.tells(begin + EVERY * 9), Some(0));
    }
}

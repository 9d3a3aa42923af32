//! How long answers take: the time within which 95 % of the last ones came.

use std::time::Duration;

/// Answers that are looked at.
const WINDOW: usize = 256;
/// How many answers come between two looks.
const EVERY: usize = 32;
/// Before there are enough answers to tell.
const AT_FIRST: Duration = Duration::from_millis(10);
/// No less: the timers of the runtime are no finer.
const LEAST: Duration = Duration::from_millis(1);

/// The last answers' times, and what was made of them.
pub(super) struct AnswerTimes {
    last: Vec<Duration>,
    next: usize,
    p95: Duration,
}

impl Default for AnswerTimes {
    fn default() -> Self {
        Self { last: Vec::with_capacity(WINDOW), next: 0, p95: AT_FIRST }
    }
}

impl AnswerTimes {
    pub(super) fn note(&mut self, took: Duration) {
        if self.last.len() < WINDOW {
            self.last.push(took);
        } else {
            self.last[self.next % WINDOW] = took;
        }
        self.next += 1;
        if self.next.is_multiple_of(EVERY) {
            let mut sorted = self.last.clone();
            let rank = sorted.len() * 95 / 100;
            self.p95 = (*sorted.select_nth_unstable(rank).1).max(LEAST);
        }
    }

    pub(super) fn p95(&self) -> Duration {
        self.p95
    }
}

//! Rate caps: what bounds a taken-over authority to a rate, and tells of it.

use super::rules::Now;
use crate::wire::Reason;

/// At most so many a second. The first refusal of each second is logged as an alarm.
pub(super) struct Cap {
    what: &'static str,
    per_second: u32,
    second: i64,
    used: u32,
}

impl Cap {
    pub(super) fn new(what: &'static str, per_second: u32) -> Self {
        Self { what, per_second, second: i64::MIN, used: 0 }
    }

    pub(super) fn take(&mut self, now: Now) -> Result<(), Reason> {
        if now.0 != self.second {
            (self.second, self.used) = (now.0, 0);
        }
        self.used = self.used.saturating_add(1);
        if self.used <= self.per_second {
            return Ok(());
        }
        if self.used == self.per_second + 1 {
            tracing::error!(
                what = self.what,
                cap = self.per_second,
                "ALARM: asked for more a second than the cap allows"
            );
        }
        Err(Reason::Rate)
    }
}

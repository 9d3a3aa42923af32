//! Rate caps: what bounds a taken-over authority to a rate, and tells of it.

use std::collections::HashMap;

use super::rules::Now;
use crate::access_key_id::Account;
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

/// At most so many a day for each account. The first refusal of an account's day is logged as an alarm.
pub(super) struct DailyCap {
    per_day: u32,
    day: i64,
    used: HashMap<Account, u32>,
}

impl DailyCap {
    pub(super) fn new(per_day: u32) -> Self {
        Self { per_day, day: i64::MIN, used: HashMap::new() }
    }

    pub(super) fn take(&mut self, account: Account, now: Now) -> Result<(), Reason> {
        let day = now.0.div_euclid(86_400);
        if day != self.day {
            self.day = day;
            self.used.clear();
        }
        let used = self.used.entry(account).or_default();
        *used = used.saturating_add(1);
        if *used <= self.per_day {
            return Ok(());
        }
        if *used == self.per_day + 1 {
            tracing::error!(%account, cap = self.per_day, "ALARM: asked for more new keys a day than one account may have");
        }
        Err(Reason::Rate)
    }
}

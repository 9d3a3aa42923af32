//! How much of the HSM one account may have: so many answers a second that are in no cache.
//!
//! Whoever has seen an id can have keys derived for made-up scopes of it. Without a bound, one account's flood would be every
//! account's wait.

use std::collections::HashMap;
use std::sync::Mutex;

use rederive_hsm::access_key_id::{AccessKeyId, Account};

use super::verify::undecided;
use super::{Authority, CannotDecide, NotAccepted};

/// What each account has had in one second.
pub struct Cold {
    per_second: u32,
    second: Mutex<(i64, HashMap<Account, u32>)>,
}

impl Cold {
    /// At most so many a second for each account.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, second: Mutex::new((i64::MIN, HashMap::new())) }
    }

    /// Counts one; `false` when it is one too many.
    fn admit(&self, account: Account, now: i64) -> bool {
        let mut second = self.second.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if second.0 != now {
            *second = (now, HashMap::new());
        }
        let used = second.1.entry(account).or_default();
        *used = used.saturating_add(1);
        *used <= self.per_second
    }
}

impl Authority {
    /// Admits one question to the HSM for an account's key. Too many are our trouble, never a refusal: they may be valid.
    pub(super) fn admit_cold(&self, id: &AccessKeyId, account: Account, now: i64) -> Result<(), NotAccepted> {
        if self.cold.admit(account, now) {
            return Ok(());
        }
        tracing::debug!(access_key_id = %id, %account, "asked for more of the HSM than one account may have");
        Err(undecided(CannotDecide::TooManyCold(account)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_accounts_flood_is_not_anothers() {
        let account = |number| Account::new(number).expect("in range");
        let cold = Cold::new(3);
        let admitted = |number, now| (0..10).filter(|_| cold.admit(account(number), now)).count();
        assert_eq!(admitted(1, 100), 3);
        assert_eq!(admitted(2, 100), 3, "another account");
        assert_eq!(admitted(1, 100), 0);
        assert_eq!(admitted(1, 101), 3, "the next second");
    }
}

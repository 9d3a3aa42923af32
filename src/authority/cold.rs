//! How much of the HSM one account, and one caller, may have: so many answers a second that are in no cache.
//!
//! Whoever has seen an id can have keys derived for made-up scopes of it. Without a bound, one account's flood, or that of
//! one caller, would be everybody's wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use rederive_hsm::access_key_id::{AccessKeyId, Account};

use super::asker::Asker;
use super::verify::undecided;
use super::{Authority, CannotDecide, NotAccepted};

/// Whose part of the HSM is used up for this second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsedUp {
    /// That of an account: `[hsm] per_account`.
    Account(Account),
    /// That of a caller: `[hsm] per_caller`, or its own `hsm_per_second`.
    Caller(String),
}

impl fmt::Display for UsedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => write!(f, "for account {account} than [hsm] per_account allows"),
            Self::Caller(name) => write!(f, "by caller '{name}' than [hsm] per_caller or its hsm_per_second allows"),
        }
    }
}

/// So many a second.
#[derive(Debug)]
pub(super) struct PerSecond {
    at_most: u32,
    /// The second, and how many it has had.
    used: Mutex<(i64, u32)>,
}

impl PerSecond {
    pub(super) fn new(at_most: u32) -> Self {
        Self { at_most, used: Mutex::new((i64::MIN, 0)) }
    }

    /// Counts one; `false` when it is one too many.
    pub(super) fn admit(&self, now: i64) -> bool {
        let mut used = lock(&self.used);
        if used.0 != now {
            *used = (now, 0);
        }
        used.1 = used.1.saturating_add(1);
        used.1 <= self.at_most
    }
}

/// What each account has had in one second, and how many were told to wait.
pub struct Cold {
    per_account: u32,
    second: Mutex<(i64, HashMap<Account, u32>)>,
    put_off: [AtomicU64; 2],
    told: OnceLock<Told>,
}

/// A question to the HSM about a key that is in no cache.
#[derive(Debug, Clone, Copy)]
pub struct Derivation<'a> {
    /// The key.
    pub access_key_id: &'a AccessKeyId,
    /// Whose it is.
    pub account: Account,
    /// The caller of the RPC for whom it is asked; `None` for the door of users.
    pub caller: Option<&'a str>,
}

/// Who is told of each.
pub type Told = Box<dyn Fn(&Derivation<'_>) + Send + Sync>;

impl Cold {
    /// At most so many a second for each account.
    pub fn new(per_account: u32) -> Self {
        Self {
            per_account,
            second: Mutex::new((i64::MIN, HashMap::new())),
            put_off: Default::default(),
            told: OnceLock::new(),
        }
    }

    /// Counts one; `false` when it is one too many.
    fn admit(&self, account: Account, now: i64) -> bool {
        let mut second = lock(&self.second);
        if second.0 != now {
            *second = (now, HashMap::new());
        }
        let used = second.1.entry(account).or_default();
        *used = used.saturating_add(1);
        *used <= self.per_account
    }

    /// How many were told to wait since the start, by whose bound.
    pub fn put_off(&self) -> [(&'static str, u64); 2] {
        let count = |at: usize| self.put_off[at].load(Ordering::Relaxed);
        [("account", count(0)), ("caller", count(1))]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts are whole between any two statements.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Authority {
    /// From now on `told` hears of each question about a key, before it is asked. The first one counts.
    pub fn tell_of_derivations(&self, told: Told) {
        let _ = self.cold.told.set(told);
    }

    /// Admits one question to the HSM for an account's key. Too many are our trouble, never a refusal: they may be valid.
    pub(super) fn admit_cold(&self, id: &AccessKeyId, account: Account, now: i64) -> Result<(), NotAccepted> {
        let used_up = match Asker::present() {
            // First, so that a caller that floods uses nothing of an account's part up.
            Some(asker) if !asker.admits(now) => UsedUp::Caller(asker.name.clone()),
            _ if !self.cold.admit(account, now) => UsedUp::Account(account),
            asker => {
                if let Some(told) = self.cold.told.get() {
                    told(&Derivation { access_key_id: id, account, caller: asker.as_ref().map(|asker| &*asker.name) });
                }
                return Ok(());
            }
        };
        tracing::debug!(access_key_id = %id, "more is asked of the HSM {used_up}");
        self.cold.put_off[usize::from(matches!(used_up, UsedUp::Caller(_)))].fetch_add(1, Ordering::Relaxed);
        Err(undecided(CannotDecide::TooManyCold(used_up)))
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

    #[tokio::test]
    async fn a_caller_is_known_where_it_asks_and_nowhere_else() {
        assert!(Asker::present().is_none());
        let (one, other) = (Asker::new("one", 2), Asker::new("other", 2));
        let ask = async |now| {
            tokio::task::yield_now().await;
            Asker::present().expect("a caller").admits(now)
        };
        let both = async { (one.asks(ask(1)).await, one.asks(ask(1)).await, one.asks(ask(1)).await) };
        assert_eq!(both.await, (true, true, false));
        assert!(other.asks(ask(1)).await && one.asks(ask(2)).await);
        assert!(Asker::present().is_none());
    }
}

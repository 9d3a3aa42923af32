//! The maximum age of an account's keys, and keys whose time is over.

use rederive_hsm::access_key_id::{AccessKeyId, Account};

use super::accounts::as_int;
use super::keys::{SELECT, read};
use super::transaction::transact;
use super::{ChangeKind, Connection, KeyRow, KeyStatus, Registry, RegistryError, Result, changes, query};

/// Before a key's end this long, in seconds, its users are warned, unless its account has another number.
pub const KEY_WARNING: i64 = 14 * 86_400;
/// Keys that are switched off at a time because their time is over.
const AT_A_TIME: u32 = 1000;

/// How long keys of an account may be good, in seconds from their making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAge {
    /// At the most; `None` for as long as one likes.
    pub max: Option<i64>,
    /// How long before the end users are warned.
    pub warning: i64,
}

impl Registry {
    /// Sets the maximum age of an account's keys, root keys included. `ending` is how many active keys whoever sets it knows to end by
    /// it at once; if there are others, nothing is done.
    pub async fn set_key_age(&self, account: Account, age: KeyAge, ending: i64, at: i64) -> Result<()> {
        transact!(self, |transaction| set(transaction, account, age, ending, at))
    }

    /// Switches keys off whose time is over, by their own end or their account's maximum age; how many there were. Called again and
    /// again: not all are looked at each time.
    pub async fn expire_keys(&self, now: i64) -> Result<usize> {
        let mut over = self.over("k.expires_at <= $1 ORDER BY k.expires_at", now, None).await?;
        for account in self.accounts().await? {
            if let Some(max) = account.key_age.max {
                let aged = "k.created_at <= $1 AND k.account = $2 ORDER BY k.created_at";
                over.extend(self.over(aged, now - max, Some(account.number)).await?);
            }
        }
        for due in &over {
            match due {
                Ok(row) => match self.set_key_status(&row.id, &row.owner(), KeyStatus::Inactive, now).await {
                    // Its owner was quicker, and has deleted it.
                    Ok(_) | Err(RegistryError::NoSuchKey(_)) => {}
                    Err(error) => return Err(error),
                },
                Err(Malformed { id, error }) => {
                    tracing::error!(%error, "a key whose time is over has a malformed row: it is switched off as it is");
                    transact!(self, |transaction| switch_off(transaction, id, now))?;
                }
            }
        }
        Ok(over.len())
    }

    async fn over(&self, condition: &str, until: i64, account: Option<Account>) -> Result<Vec<Due>> {
        let sql = format!("{SELECT} WHERE k.status = 'active' AND {condition} LIMIT {AT_A_TIME}");
        let mut rows = query(&sql).bind(until);
        if let Some(account) = account {
            rows = rows.bind(as_int(account));
        }
        let rows = rows.fetch_all(&mut self.readers.acquire().await?).await?;
        Ok(rows.iter().map(|row| read(row).map_err(|error| Malformed { id: row.name("id"), error })).collect())
    }
}

/// A key whose time is over, if its row reads.
type Due = std::result::Result<KeyRow, Malformed>;

struct Malformed {
    /// What stands where its id does.
    id: String,
    error: RegistryError,
}

/// Switches a key off of which nothing reads but, perhaps, the id: it is no more in the way of others.
async fn switch_off(transaction: &mut Connection, id: &str, at: i64) -> Result<()> {
    let done =
        query("UPDATE access_keys SET status = 'inactive', status_changed_at = $1 WHERE id = $2 AND status = 'active'");
    let done = done.bind(at).bind(id).execute(&mut *transaction).await?;
    match AccessKeyId::parse(id.as_bytes()) {
        Some(id) if done > 0 => changes::append(transaction, at, ChangeKind::KeyDeactivated, id).await.map(|_| ()),
        // No request can carry such an id.
        _ => Ok(()),
    }
}

async fn set(transaction: &mut Connection, account: Account, age: KeyAge, ending: i64, at: i64) -> Result<()> {
    let over = query("SELECT count(*) FROM access_keys WHERE account = $1 AND status = 'active' AND created_at <= $2")
        .bind(as_int(account))
        .bind(age.max.map_or(i64::MIN, |max| at.saturating_sub(max)));
    let over: i64 = over.fetch_one(&mut *transaction).await?.try_get(0)?;
    if over != ending {
        return Err(RegistryError::WouldEnd { account, active: over });
    }
    // 0 stands for nothing, which cannot be bound as a number.
    let set = query("UPDATE accounts SET max_key_age = NULLIF($1, 0), key_warning = $2 WHERE number = $3")
        .bind(age.max.unwrap_or(0))
        .bind(age.warning)
        .bind(as_int(account))
        .execute(transaction)
        .await?;
    if set == 0 { Err(RegistryError::NoSuchAccount(account)) } else { Ok(()) }
}

//! Accounts.

use rederive_hsm::access_key_id::Account;

use super::cells::{Cells, readable};
use super::changes;
use super::transaction::transact;
use super::{ChangeKind, Connection, KEY_WARNING, KeyAge, Registry, RegistryError, Result, Row, query};

/// An account's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Its number.
    pub number: Account,
    /// When it was created.
    pub created_at: i64,
    /// Keys that a user of it may have, where that is not the default.
    pub keys_per_user: Option<u32>,
    /// How long its keys may be good.
    pub key_age: KeyAge,
}

const SELECT: &str = "SELECT number, created_at, keys_per_user, max_key_age, key_warning FROM accounts";

impl Registry {
    /// Registers an account.
    pub async fn create_account(&self, number: Account, at: i64) -> Result<()> {
        transact!(self, |transaction| insert(transaction, number, at))
    }

    /// All accounts, by number.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>> {
        let rows = query(&format!("{SELECT} ORDER BY number")).fetch_all(&mut self.readers.acquire().await?).await?;
        Ok(readable(&rows, read))
    }

    /// The row of an account; `None` if it is not registered.
    pub async fn account(&self, number: Account) -> Result<Option<AccountRow>> {
        let row = query(&format!("{SELECT} WHERE number = $1"))
            .bind(as_int(number))
            .fetch_optional(&mut self.readers.acquire().await?)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Sets how many keys a user of an account may have, from 1 to 1000; `None` for the default. Keys that are there stay.
    pub async fn set_keys_per_user(&self, number: Account, keys: Option<u32>) -> Result<()> {
        transact!(self, |transaction| set_keys_per_user(transaction, number, keys))
    }

    /// Whether an account is registered.
    pub async fn account_exists(&self, number: Account) -> Result<bool> {
        exists(&mut self.readers.acquire().await?, number).await
    }
}

/// Registers an account inside a transaction.
pub(super) async fn insert(transaction: &mut Connection, number: Account, at: i64) -> Result<()> {
    let inserted = query("INSERT INTO accounts (number, created_at) VALUES ($1, $2) ON CONFLICT (number) DO NOTHING")
        .bind(as_int(number))
        .bind(at)
        .execute(&mut *transaction)
        .await?;
    if inserted == 0 {
        return Err(RegistryError::AccountExists(number));
    }
    changes::append(transaction, at, ChangeKind::AccountCreated, number).await.map(|_| ())
}

async fn set_keys_per_user(transaction: &mut Connection, number: Account, keys: Option<u32>) -> Result<()> {
    // 0 stands for nothing, which cannot be bound as a number.
    let set = query("UPDATE accounts SET keys_per_user = NULLIF($1, 0) WHERE number = $2")
        .bind(keys.map_or(0, i64::from))
        .bind(as_int(number))
        .execute(transaction)
        .await?;
    if set == 0 { Err(RegistryError::NoSuchAccount(number)) } else { Ok(()) }
}

/// Whether an account is registered, as the connection sees it.
pub(super) async fn exists(connection: &mut Connection, number: Account) -> Result<bool> {
    let row = query("SELECT 1 FROM accounts WHERE number = $1").bind(as_int(number));
    Ok(row.fetch_optional(connection).await?.is_some())
}

/// The number as SQL has it.
pub(super) fn as_int(account: Account) -> i64 {
    i64::try_from(account.number()).expect("twelve digits fit")
}

fn read(row: &Row) -> Result<AccountRow> {
    let cells = Cells::of(row, "accounts", "number");
    Ok(AccountRow {
        number: cells.number("number", Account::new)?,
        created_at: cells.int("created_at")?,
        keys_per_user: read_keys_per_user(&cells)?,
        key_age: read_age(&cells)?,
    })
}

/// How many keys a user of an account may have, where that is not the default.
pub(super) fn read_keys_per_user(cells: &Cells<'_>) -> Result<Option<u32>> {
    let keys = |number: i64| u32::try_from(number).map_err(|_| cells.bad("keys_per_user", "out of range"));
    cells.optional_int("keys_per_user")?.map(keys).transpose()
}

/// What an account says of its keys' age.
pub(super) fn read_age(cells: &Cells<'_>) -> Result<KeyAge> {
    let warning = cells.optional_int("key_warning")?.unwrap_or(KEY_WARNING);
    Ok(KeyAge { max: cells.optional_int("max_key_age")?, warning })
}

//! Accounts.

use rederive_hsm::access_key_id::Account;

use super::cells::Cells;
use super::changes;
use super::transaction::transact;
use super::{ChangeKind, Connection, Registry, RegistryError, Result, Row, query};

/// An account's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Its number.
    pub number: Account,
    /// When it was created.
    pub created_at: i64,
}

impl Registry {
    /// Registers an account.
    pub async fn create_account(&self, number: Account, at: i64) -> Result<()> {
        transact!(self, |transaction| insert(transaction, number, at))
    }

    /// All accounts, by number.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>> {
        let rows = query("SELECT number, created_at FROM accounts ORDER BY number")
            .fetch_all(&mut self.readers.acquire().await?)
            .await?;
        rows.iter().map(read).collect()
    }

    /// The row of an account; `None` if it is not registered.
    pub async fn account(&self, number: Account) -> Result<Option<AccountRow>> {
        let query = query("SELECT number, created_at FROM accounts WHERE number = $1").bind(as_int(number));
        query.fetch_optional(&mut self.readers.acquire().await?).await?.as_ref().map(read).transpose()
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
    Ok(AccountRow { number: cells.number("number", Account::new)?, created_at: cells.int("created_at")? })
}

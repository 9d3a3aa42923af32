//! What an operator denied: keys, users, accounts, whatever their own status is.
//!
//! Verifiers hear of a user's denial key by key, for a key's id does not name its user; of an account's at once, for the id
//! does name the account (in the opaque layout its row does).

use rederive_hsm::access_key_id::{AccessKeyId, Account};

use super::accounts::{as_int, exists as account_exists};
use super::cells::{readable, tell};
use super::changes;
use super::transaction::transact;
use super::{
    Change, ChangeKind, Connection, KeyRow, KeyStatus, Registry, RegistryError, Result, UserId, keys, query, users,
};

/// What can be denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A key, issued or not.
    Key(AccessKeyId),
    /// A user with all of its keys.
    User(Account, UserId),
    /// An account with everybody in it.
    Account(Account),
}

impl Subject {
    /// `key:ID`, `user:UNIQUE-ID` or `account:NUMBER`, as denials are listed.
    pub fn name(&self) -> String {
        match self {
            Self::Key(id) => key_name(id),
            Self::User(_, user_id) => user_name(user_id),
            Self::Account(account) => account_name(*account),
        }
    }
}

impl Registry {
    /// Denies; says whether it was not denied before. A user's keys are denied in the same transaction.
    pub async fn deny(&self, subject: &Subject, at: i64) -> Result<bool> {
        transact!(self, |transaction| deny(transaction, subject, at))
    }

    /// Lifts a denial; says whether there was one. What is denied for another reason stays denied.
    ///
    /// The denial of an id that was never issued is not lifted: [`RegistryError::NoSuchKey`].
    pub async fn lift(&self, subject: &Subject, at: i64) -> Result<bool> {
        transact!(self, |transaction| lift(transaction, subject, at))
    }

    /// Denies those among the ids that were never issued, and gives the ones that were not denied before.
    pub async fn deny_unissued(&self, ids: &[AccessKeyId], at: i64) -> Result<Vec<AccessKeyId>> {
        transact!(self, |transaction| deny_unissued(transaction, ids, at))
    }

    /// Every denial that holds, as `key:ID`, `user:ID` or `account:NUMBER`, and since when.
    pub async fn denials(&self) -> Result<Vec<(String, i64)>> {
        all(&mut self.readers.acquire().await?).await
    }
}

/// The accounts that are denied, as the connection sees them.
pub(super) async fn accounts(connection: &mut Connection) -> Result<Vec<Account>> {
    let denials = all(connection).await?;
    Ok(denials.iter().filter_map(|(name, _)| Account::parse(name.strip_prefix("account:")?)).collect())
}

async fn all(connection: &mut Connection) -> Result<Vec<(String, i64)>> {
    let rows = query("SELECT subject, at FROM denials ORDER BY subject").fetch_all(connection).await?;
    // A time that does not read makes no denial void.
    Ok(rows.iter().map(|row| (row.name("subject"), row.try_get("at").unwrap_or(0))).collect())
}

/// Denies inside a transaction.
pub(super) async fn deny(transaction: &mut Connection, subject: &Subject, at: i64) -> Result<bool> {
    check_exists(transaction, subject).await?;
    let inserted = query("INSERT INTO denials (subject, at) VALUES ($1, $2) ON CONFLICT (subject) DO NOTHING")
        .bind(subject.name())
        .bind(at)
        .execute(&mut *transaction)
        .await?;
    if inserted == 0 {
        return Ok(false);
    }
    match subject {
        Subject::Key(id) => changes::append(transaction, at, ChangeKind::KeyDenied, id).await?,
        Subject::Account(account) => changes::append(transaction, at, ChangeKind::AccountDenied, account).await?,
        Subject::User(account, user_id) => {
            for id in keys_of(transaction, *account, user_id).await? {
                changes::append(transaction, at, ChangeKind::KeyDenied, id).await?;
            }
            changes::append(transaction, at, ChangeKind::UserDenied, user_id).await?
        }
    };
    Ok(true)
}

/// Makes or lifts a denial that is known by its name alone, as an entry of the feed tells.
pub(super) async fn put_back(transaction: &mut Connection, name: &str, change: &Change, at: i64) -> Result<()> {
    let denies = matches!(change.kind, ChangeKind::UserDenied | ChangeKind::AccountDenied);
    let changed = match denies {
        true => query("INSERT INTO denials (subject, at) VALUES ($1, $2) ON CONFLICT (subject) DO NOTHING")
            .bind(name)
            .bind(at),
        false => query("DELETE FROM denials WHERE subject = $1").bind(name),
    };
    changed.execute(transaction).await?;
    changes::append(transaction, at, change.kind, &change.subject).await.map(|_| ())
}

async fn deny_unissued(transaction: &mut Connection, ids: &[AccessKeyId], at: i64) -> Result<Vec<AccessKeyId>> {
    let mut denied = Vec::new();
    for id in ids {
        if !keys::is_issued(transaction, id).await? && deny(transaction, &Subject::Key(*id), at).await? {
            denied.push(*id);
        }
    }
    Ok(denied)
}

/// Lifts a denial inside a transaction.
pub(super) async fn lift(transaction: &mut Connection, subject: &Subject, at: i64) -> Result<bool> {
    check_exists(transaction, subject).await?;
    let mut freed = Vec::new();
    match subject {
        // That nobody issued it does not change.
        Subject::Key(id) if !keys::is_issued(transaction, id).await? => {
            return Err(RegistryError::NoSuchKey(*id));
        }
        Subject::Key(id) => freed.push(*id),
        Subject::User(account, user_id) => freed = keys_of(transaction, *account, user_id).await?,
        Subject::Account(_) => {}
    }
    let removed = query("DELETE FROM denials WHERE subject = $1").bind(subject.name());
    if removed.execute(&mut *transaction).await? == 0 {
        return Ok(false);
    }
    for id in freed {
        match keys::by_id(transaction, &id).await {
            Ok(Some(row)) => drop(tell_if_good(transaction, &row, ChangeKind::KeyLifted, at).await?),
            Ok(None) => {}
            // Nobody can tell what it is good for: it stays refused, and the others do not.
            Err(error) if error.is_bad_row() => tell(&error),
            Err(error) => return Err(error),
        }
    }
    match subject {
        Subject::Key(_) => {}
        Subject::User(_, user_id) => drop(changes::append(transaction, at, ChangeKind::UserLifted, user_id).await?),
        Subject::Account(account) => drop(changes::append(transaction, at, ChangeKind::AccountLifted, account).await?),
    }
    Ok(true)
}

/// Appends that a key is good again, if nothing else denies it: verifiers keep one bit for a key, not its reasons.
pub(super) async fn tell_if_good(
    transaction: &mut Connection,
    row: &KeyRow,
    kind: ChangeKind,
    at: i64,
) -> Result<Option<i64>> {
    if row.status != KeyStatus::Active || is_key_denied(transaction, row).await? {
        return Ok(None);
    }
    changes::append(transaction, at, kind, row.id).await.map(Some)
}

/// Whether a key, its user or its account is denied, whatever the key's status.
pub(super) async fn is_key_denied(connection: &mut Connection, row: &KeyRow) -> Result<bool> {
    let found = query("SELECT 1 FROM denials WHERE subject = $1 OR subject = $2 OR subject = $3 LIMIT 1")
        .bind(key_name(&row.id))
        .bind(row.user.as_ref().map_or(String::new(), |user| user_name(&user.user_id)))
        .bind(account_name(row.account))
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

pub(super) async fn check_exists(transaction: &mut Connection, subject: &Subject) -> Result<()> {
    match subject {
        Subject::Key(_) => Ok(()),
        Subject::User(account, user_id) => match users::by_id(transaction, *account, user_id).await? {
            Some(_) => Ok(()),
            None => Err(RegistryError::NoSuchUser { account: *account, user: user_id.to_string() }),
        },
        Subject::Account(account) if account_exists(transaction, *account).await? => Ok(()),
        Subject::Account(account) => Err(RegistryError::NoSuchAccount(*account)),
    }
}

async fn keys_of(transaction: &mut Connection, account: Account, user: &UserId) -> Result<Vec<AccessKeyId>> {
    let rows =
        query("SELECT id FROM access_keys WHERE account = $1 AND user_id = $2 AND status <> 'deleted' ORDER BY id")
            .bind(as_int(account))
            .bind(user.as_str())
            .fetch_all(transaction)
            .await?;
    Ok(readable(&rows, keys::read_id))
}

pub(super) fn key_name(id: &AccessKeyId) -> String {
    format!("key:{id}")
}

pub(super) fn user_name(user_id: &UserId) -> String {
    format!("user:{user_id}")
}

pub(super) fn account_name(account: Account) -> String {
    format!("account:{account}")
}

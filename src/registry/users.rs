//! Users of an account. A deleted one stays as a tombstone, so that its id is never given out again.

use rederive_hsm::access_key_id::{AccessKeyId, Account};
use serde::{Deserialize, Serialize};

use super::accounts::{self, as_int};
use super::cells::Cells;
use super::changes;
use super::policies;
use super::transaction::transact;
use super::{Change, ChangeKind, Connection, Page, Registry, RegistryError, Result, Row, UserId, query};

/// A user to create.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// A fresh one; [`RegistryError::DuplicateUserId`] asks for another.
    pub user_id: UserId,
    /// The account it belongs to.
    pub account: Account,
    /// Unique in the account, without regard to ASCII case.
    pub name: String,
    /// `/` or `/…/`.
    pub path: String,
    /// In the order given.
    pub tags: Vec<Tag>,
    /// Now.
    pub at: i64,
}

/// A user's row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in NewUser")]
pub struct UserRow {
    pub user_id: UserId,
    pub account: Account,
    pub name: String,
    pub path: String,
    pub tags: Vec<Tag>,
    pub created_at: i64,
}

/// Most tags on a user.
pub const MAX_TAGS: usize = 50;

/// A tag as IAM has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "a key and its value")]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// `arn:aws:iam::ACCOUNT:user/PATH/NAME`.
pub fn user_arn(account: Account, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:user{path}{name}")
}

impl UserRow {
    /// The user's ARN.
    pub fn arn(&self) -> String {
        user_arn(self.account, &self.path, &self.name)
    }
}

/// What the entry of a user that has another name or path bears as its detail.
const RENAMED: &str = "renamed";

/// The user that an entry of the feed says has another name or path.
pub fn renamed_user(change: &Change) -> Option<UserId> {
    let is_renamed = change.kind == ChangeKind::UserCreated && change.detail == RENAMED;
    is_renamed.then(|| UserId::parse(&change.subject)).flatten()
}

const SELECT: &str = "SELECT user_id, account, name, path, tags, created_at FROM users";

impl Registry {
    /// Creates a user.
    pub async fn create_user(&self, new: &NewUser) -> Result<UserRow> {
        transact!(self, |transaction| create(transaction, new))?;
        let NewUser { user_id, account, name, path, tags, at } = new.clone();
        Ok(UserRow { user_id, account, name, path, tags, created_at: at })
    }

    /// The user of that name, in upper or lower case.
    pub async fn user_by_name(&self, account: Account, name: &str) -> Result<UserRow> {
        let found = by_name(&mut self.readers.acquire().await?, account, name).await?;
        found.ok_or_else(|| RegistryError::NoSuchUser { account, user: name.into() })
    }

    /// The user with that id.
    pub async fn user_by_id(&self, account: Account, user_id: &UserId) -> Result<UserRow> {
        let found = by_id(&mut self.readers.acquire().await?, account, user_id).await?;
        found.ok_or_else(|| RegistryError::NoSuchUser { account, user: user_id.to_string() })
    }

    /// The users of an account whose path begins with `path_prefix`, ordered by lower-case name, those after the name
    /// `after` only.
    pub async fn users(
        &self,
        account: Account,
        path_prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<UserRow>> {
        let rows = query(&format!(
            "{SELECT} WHERE account = $1 AND deleted_at IS NULL AND lower(name) > lower($2) \
             AND substr(path, 1, length($3)) = $3 ORDER BY lower(name) LIMIT $4"
        ))
        .bind(as_int(account))
        .bind(after.unwrap_or(""))
        .bind(path_prefix)
        .bind(i64::from(limit) + 1)
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(Page::of(&rows, limit, read))
    }

    /// How many users an account has.
    pub async fn count_users(&self, account: Account) -> Result<i64> {
        let count = query("SELECT count(*) FROM users WHERE account = $1 AND deleted_at IS NULL").bind(as_int(account));
        Ok(count.fetch_one(&mut self.readers.acquire().await?).await?.try_get(0)?)
    }

    /// Gives a user another name, path, or both.
    pub async fn rename_user(
        &self,
        account: Account,
        user_id: &UserId,
        name: Option<&str>,
        path: Option<&str>,
        at: i64,
    ) -> Result<()> {
        transact!(self, |transaction| rename(transaction, account, user_id, name, path, at))
    }

    /// Gives a user other tags than a row of it has; says no if it has others by now.
    pub async fn replace_tags(&self, row: &UserRow, tags: &[Tag]) -> Result<bool> {
        transact!(self, |transaction| replace_tags(transaction, row, tags))
    }

    /// Deletes a user; refuses while it has keys, active or not.
    pub async fn delete_user(&self, account: Account, user_id: &UserId, at: i64) -> Result<()> {
        transact!(self, |transaction| delete(transaction, account, user_id, at))
    }
}

async fn create(transaction: &mut Connection, new: &NewUser) -> Result<()> {
    if !accounts::exists(transaction, new.account).await? {
        return Err(RegistryError::NoSuchAccount(new.account));
    }
    if by_name(transaction, new.account, &new.name).await?.is_some() {
        return Err(RegistryError::UserExists { account: new.account, name: new.name.clone() });
    }
    insert(transaction, new).await?;
    changes::append(transaction, new.at, ChangeKind::UserCreated, &new.user_id).await.map(|_| ())
}

async fn delete(transaction: &mut Connection, account: Account, user_id: &UserId, at: i64) -> Result<()> {
    let gone = query("UPDATE users SET deleted_at = $1 WHERE user_id = $2 AND account = $3 AND deleted_at IS NULL")
        .bind(at)
        .bind(user_id.as_str())
        .bind(as_int(account))
        .execute(&mut *transaction)
        .await?;
    if gone == 0 {
        return Err(RegistryError::NoSuchUser { account, user: user_id.to_string() });
    }
    let keys = query("SELECT 1 FROM access_keys WHERE account = $1 AND user_id = $2 AND status <> 'deleted'")
        .bind(as_int(account))
        .bind(user_id.as_str());
    if keys.fetch_optional(&mut *transaction).await?.is_some() {
        return Err(RegistryError::DeleteConflict(user_id.clone()));
    }
    if policies::has_any(transaction, user_id).await? {
        return Err(RegistryError::HasPolicies(user_id.clone()));
    }
    changes::append(transaction, at, ChangeKind::UserDeleted, user_id).await.map(|_| ())
}

async fn rename(
    transaction: &mut Connection,
    account: Account,
    user_id: &UserId,
    name: Option<&str>,
    path: Option<&str>,
    at: i64,
) -> Result<()> {
    let row = by_id(transaction, account, user_id).await?;
    let row = row.ok_or_else(|| RegistryError::NoSuchUser { account, user: user_id.to_string() })?;
    let (name, path) = (name.unwrap_or(&row.name), path.unwrap_or(&row.path));
    if by_name(transaction, account, name).await?.is_some_and(|other| other.user_id != *user_id) {
        return Err(RegistryError::UserExists { account, name: name.into() });
    }
    query("UPDATE users SET name = $1, path = $2 WHERE user_id = $3")
        .bind(name)
        .bind(path)
        .bind(user_id.as_str())
        .execute(&mut *transaction)
        .await?;
    // Told in an entry that everybody knows: who follows the feed must stop at a kind that it does not know, and to a verifier a
    // name is nothing.
    changes::append_with(transaction, at, ChangeKind::UserCreated, user_id, RENAMED.into()).await.map(|_| ())
}

/// Describes a key as AWS's console does, by a tag of its user that is named by its id; `None` takes the description away.
pub(super) async fn describe_key(
    transaction: &mut Connection,
    account: Account,
    user_id: &UserId,
    key: &AccessKeyId,
    text: Option<&str>,
) -> Result<()> {
    let row = match by_id(transaction, account, user_id).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(()),
        // What does not read keeps nobody from deleting a key.
        Err(error) if text.is_none() && error.is_bad_row() => return Ok(()),
        Err(error) => return Err(error),
    };
    let tags = with_description(&row, key, text)?;
    if tags != row.tags {
        replace_tags(transaction, &row, &tags).await?;
    }
    Ok(())
}

/// Whether a user has room for a key's description.
pub(super) async fn check_description(
    transaction: &mut Connection,
    account: Account,
    user_id: &UserId,
    key: &AccessKeyId,
    text: &str,
) -> Result<()> {
    let row = by_id(transaction, account, user_id).await?;
    row.map_or(Ok(()), |row| with_description(&row, key, Some(text)).map(drop))
}

fn with_description(row: &UserRow, key: &AccessKeyId, text: Option<&str>) -> Result<Vec<Tag>> {
    let mut tags: Vec<_> = row.tags.iter().filter(|tag| tag.key != key.as_str()).cloned().collect();
    tags.extend(text.map(|text| Tag { key: key.to_string(), value: text.to_owned() }));
    match text {
        Some(_) if tags.len() > MAX_TAGS => {
            Err(RegistryError::TooMuch(format!("Cannot exceed quota for TagsPerUser: {MAX_TAGS}")))
        }
        _ => Ok(tags),
    }
}

async fn replace_tags(transaction: &mut Connection, row: &UserRow, tags: &[Tag]) -> Result<bool> {
    let now = by_id(transaction, row.account, &row.user_id).await?;
    let now = now.ok_or_else(|| RegistryError::NoSuchUser { account: row.account, user: row.name.clone() })?;
    if now.tags != row.tags {
        return Ok(false);
    }
    query("UPDATE users SET tags = $1 WHERE user_id = $2")
        .bind(serde_json::to_string(tags).expect("pairs of strings are JSON"))
        .bind(row.user_id.as_str())
        .execute(transaction)
        .await?;
    Ok(true)
}

async fn insert(transaction: &mut Connection, new: &NewUser) -> Result<()> {
    let inserted = query(
        "INSERT INTO users (user_id, account, name, path, tags, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(new.user_id.as_str())
    .bind(as_int(new.account))
    .bind(&new.name)
    .bind(&new.path)
    .bind(serde_json::to_string(&new.tags).expect("pairs of strings are JSON"))
    .bind(new.at)
    .execute(transaction)
    .await?;
    match inserted {
        0 => Err(RegistryError::DuplicateUserId(new.user_id.clone())),
        _ => Ok(()),
    }
}

async fn by_name(connection: &mut Connection, account: Account, name: &str) -> Result<Option<UserRow>> {
    let row = query(&format!("{SELECT} WHERE account = $1 AND lower(name) = lower($2) AND deleted_at IS NULL"))
        .bind(as_int(account))
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The user with that id, as the connection sees it; `None` for a deleted one.
pub(super) async fn by_id(connection: &mut Connection, account: Account, user_id: &UserId) -> Result<Option<UserRow>> {
    let row = query(&format!("{SELECT} WHERE account = $1 AND user_id = $2 AND deleted_at IS NULL"))
        .bind(as_int(account))
        .bind(user_id.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<UserRow> {
    let cells = Cells::of(row, "users", "user_id");
    Ok(UserRow {
        user_id: cells.word("user_id", UserId::parse)?,
        account: cells.number("account", Account::new)?,
        name: cells.text("name")?,
        path: cells.text("path")?,
        tags: cells.word("tags", |text| serde_json::from_str(text).ok())?,
        created_at: cells.int("created_at")?,
    })
}

//! Access keys: their rows and their status. What is deleted stays as a tombstone.

use std::fmt;

use rederive_hsm::access_key_id::{AccessKeyId, Account, Generation};
use rederive_hsm::region_set::RegionSet;

use super::accounts::{self, as_int};
use super::cells::{Cells, readable};
use super::changes;
use super::transaction::{Transaction, transact};
use super::{
    ChangeKind, Connection, KeyAge, Page, Registry, RegistryError, Result, Row, UserId, denials, query,
    session_denials, user_arn, users,
};
use crate::feed::SessionDenials;
use crate::key_terms::{KeyScope, KeyTerms, ServiceSet};

/// Who a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The account.
    pub account: Account,
    /// The user; `None` for the account's root.
    pub user_id: Option<UserId>,
}

impl Owner {
    /// Finds its keys among those of its account; `$2` is the user's id, or nothing. (PostgreSQL's indexes do not serve
    /// `IS NOT DISTINCT FROM`.)
    pub(super) fn condition(&self) -> &'static str {
        match &self.user_id {
            Some(_) => "user_id = $2",
            None => "user_id IS NULL AND $2 = ''",
        }
    }
}

/// A key's row, joined with its user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The access key id.
    pub id: AccessKeyId,
    /// The account it belongs to.
    pub account: Account,
    /// The user it belongs to; `None` for a root key.
    pub user: Option<KeyUser>,
    /// The generation whose master derives its secret.
    pub generation: Generation,
    /// Whether it is good.
    pub status: KeyStatus,
    /// When it was created.
    pub created_at: i64,
    /// The key that signed the request for it; `None` for an operator's command.
    pub created_by: Option<AccessKeyId>,
    /// When its status changed last, or when it was created.
    pub status_changed_at: i64,
    /// Its last use that is on record.
    pub last_used: Option<LastUsed>,
    /// Until when, and for what it is good.
    pub terms: KeyTerms,
    /// How long its account lets keys be good.
    pub age: KeyAge,
}

/// What a key's row knows of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in UserRow")]
pub struct KeyUser {
    pub user_id: UserId,
    pub name: String,
    pub path: String,
}

/// The status of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    /// Good.
    Active,
    /// Refused until it is active again.
    Inactive,
    /// Refused for ever.
    Deleted,
}

/// A key's last use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct LastUsed {
    pub at: i64,
    pub service: String,
    pub region: String,
}

/// Every key that is not active, or is denied by itself or through its user. Accounts are apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyList {
    /// The number of the newest change that it holds.
    pub as_of: i64,
    /// The ids, in no order to rely on.
    pub ids: Vec<AccessKeyId>,
    /// The accounts that are denied as a whole.
    pub accounts: Vec<Account>,
    /// The sessions that are denied by when they were issued.
    pub sessions: SessionDenials,
    /// Rows whose id doesn't read, for the operator. No request can carry such an id.
    pub malformed: Vec<String>,
}

const STATUSES: [(KeyStatus, &str); 3] =
    [(KeyStatus::Active, "active"), (KeyStatus::Inactive, "inactive"), (KeyStatus::Deleted, "deleted")];

impl KeyStatus {
    fn as_str(self) -> &'static str {
        STATUSES.iter().find(|(status, _)| *status == self).expect("every status has a name").1
    }

    fn parse(text: &str) -> Option<Self> {
        STATUSES.iter().find(|(_, name)| *name == text).map(|(status, _)| *status)
    }

    fn change(self) -> ChangeKind {
        match self {
            Self::Active => ChangeKind::KeyActivated,
            Self::Inactive => ChangeKind::KeyDeactivated,
            Self::Deleted => ChangeKind::KeyDeleted,
        }
    }
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KeyRow {
    /// When it ends, if it does: by its own terms, or by its account's maximum age.
    pub fn ends_at(&self) -> Option<i64> {
        let aged = self.age.max.map(|max| self.created_at.saturating_add(max));
        [self.terms.expires_at, aged].into_iter().flatten().min()
    }

    /// Whether its time is over.
    pub fn has_expired(&self, now: i64) -> bool {
        self.ends_at().is_some_and(|end| end <= now)
    }

    /// When it ends, if that is so soon that its users are warned.
    pub fn ends_soon(&self, now: i64) -> Option<i64> {
        self.ends_at().filter(|end| self.status == KeyStatus::Active && (1..=self.age.warning).contains(&(end - now)))
    }

    /// Its status as users see it: `Active`, `Inactive` or `Expired`; `Deleted` stands in no answer of the API.
    pub fn status_word(&self, now: i64) -> &'static str {
        match self.status {
            KeyStatus::Deleted => "Deleted",
            _ if self.has_expired(now) => "Expired",
            KeyStatus::Active => "Active",
            KeyStatus::Inactive => "Inactive",
        }
    }

    /// Who it belongs to.
    pub fn owner(&self) -> Owner {
        Owner { account: self.account, user_id: self.user.as_ref().map(|user| user.user_id.clone()) }
    }

    /// The ARN of who it belongs to.
    pub fn arn(&self) -> String {
        match &self.user {
            None => format!("arn:aws:iam::{}:root", self.account),
            Some(user) => user_arn(self.account, &user.path, &user.name),
        }
    }
}

pub(super) const SELECT: &str = "SELECT k.id, k.account, k.user_id, k.generation, k.status, k.created_at, k.created_by, \
                      k.status_changed_at, k.last_used_at, k.last_used_service, k.last_used_region, k.expires_at, k.services, k.regions, \
                      u.name AS user_name, u.path AS user_path, a.max_key_age, a.key_warning FROM access_keys k \
                      LEFT JOIN accounts a ON a.number = k.account \
                      LEFT JOIN users u ON u.user_id = k.user_id";

impl Registry {
    /// The row of an id, a deleted key's too; `None` if the id was never issued.
    pub async fn key(&self, id: &AccessKeyId) -> Result<Option<KeyRow>> {
        by_id(&mut self.readers.acquire().await?, id).await
    }

    /// The keys of an owner that are not deleted, ordered by id, those after the id `after` only.
    pub async fn keys(&self, owner: &Owner, after: Option<&AccessKeyId>, limit: u32) -> Result<Page<KeyRow>> {
        let rows = query(&format!(
            "{SELECT} WHERE k.account = $1 AND k.{} AND k.status <> 'deleted' AND k.id > $3 ORDER BY k.id LIMIT $4",
            owner.condition()
        ))
        .bind(as_int(owner.account))
        .bind(owner.user_id.as_ref().map_or("", UserId::as_str))
        .bind(after.map_or("", AccessKeyId::as_str))
        .bind(i64::from(limit) + 1)
        .fetch_all(&mut self.readers.acquire().await?)
        .await?;
        Ok(Page::of(&rows, limit, read))
    }

    /// Every key of an account that is not deleted, the oldest of an owner first.
    pub async fn keys_of_account(&self, account: Account) -> Result<Vec<KeyRow>> {
        let rows =
            query(&format!("{SELECT} WHERE k.account = $1 AND k.status <> 'deleted' ORDER BY k.created_at, k.id"))
                .bind(as_int(account))
                .fetch_all(&mut self.readers.acquire().await?)
                .await?;
        Ok(readable(&rows, read))
    }

    /// Changes the status of an owner's key, returns the number of the change, or `None` if it has that status already, or is
    /// active now and stays denied.
    ///
    /// Deleted is final: to an owner, a deleted key is no key. Numbers tell the order in which changes were made.
    pub async fn set_key_status(
        &self,
        id: &AccessKeyId,
        owner: &Owner,
        status: KeyStatus,
        at: i64,
    ) -> Result<Option<i64>> {
        transact!(self, |transaction| set_status(transaction, id, owner, status, at))
    }

    /// Every key that is not active, with the number of the newest change that was looked at.
    pub async fn denied_keys(&self) -> Result<DenyList> {
        let mut snapshot = Transaction::read(&self.readers).await?;
        let outcome = denied(snapshot.connection()).await;
        snapshot.end(outcome).await
    }
}

/// Changes the status of an owner's key inside a transaction.
pub(super) async fn set_status(
    transaction: &mut Connection,
    id: &AccessKeyId,
    owner: &Owner,
    status: KeyStatus,
    at: i64,
) -> Result<Option<i64>> {
    let row = by_id(transaction, id).await?;
    let theirs = row.filter(|row| row.owner() == *owner && row.status != KeyStatus::Deleted);
    let row = theirs.ok_or(RegistryError::NoSuchKey(*id))?;
    if row.status == status {
        return Ok(None);
    }
    if status == KeyStatus::Active && row.has_expired(at) {
        return Err(RegistryError::Expired(*id));
    }
    query("UPDATE access_keys SET status = $1, status_changed_at = $2 WHERE id = $3")
        .bind(status.as_str())
        .bind(at)
        .bind(id.as_str())
        .execute(&mut *transaction)
        .await?;
    if let (KeyStatus::Deleted, Some(user)) = (status, &row.user) {
        users::describe_key(transaction, row.account, &user.user_id, id, None).await?;
    }
    if status == KeyStatus::Active {
        return denials::tell_if_good(transaction, &KeyRow { status, ..row }, ChangeKind::KeyActivated, at).await;
    }
    changes::append(transaction, at, status.change(), id).await.map(Some)
}

async fn denied(snapshot: &mut Connection) -> Result<DenyList> {
    let as_of = changes::last(snapshot).await?;
    let rows = query(
        "SELECT id FROM access_keys WHERE status <> 'active' \
         UNION SELECT substr(subject, 5) FROM denials WHERE subject LIKE 'key:%' \
         UNION SELECT k.id FROM denials d JOIN access_keys k ON k.user_id = substr(d.subject, 6) \
         WHERE d.subject LIKE 'user:%'",
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let accounts = denials::accounts(snapshot).await?;
    let sessions =
        session_denials::all(snapshot).await?.into_iter().map(|one| (one.subject, one.issued_before)).collect();
    let mut list = DenyList { as_of, ids: Vec::with_capacity(rows.len()), accounts, sessions, malformed: Vec::new() };
    for row in &rows {
        let id = row.name("id");
        match AccessKeyId::parse(id.as_bytes()) {
            Some(id) => list.ids.push(id),
            None => list.malformed.push(format!("access_keys {id:?}: not an access key id")),
        }
    }
    Ok(list)
}

/// The row of an id, as the connection sees it.
pub(super) async fn by_id(connection: &mut Connection, id: &AccessKeyId) -> Result<Option<KeyRow>> {
    let row = query(&format!("{SELECT} WHERE k.id = $1")).bind(id.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// Whether an id was ever issued, whatever its row says.
pub(super) async fn is_issued(connection: &mut Connection, id: &AccessKeyId) -> Result<bool> {
    let row = query("SELECT 1 FROM access_keys WHERE id = $1").bind(id.as_str());
    Ok(row.fetch_optional(connection).await?.is_some())
}

/// The id in a row that may have nothing else.
pub(super) fn read_id(row: &Row) -> Result<AccessKeyId> {
    Cells::of(row, "access_keys", "id").word("id", |text| AccessKeyId::parse(text.as_bytes()))
}

/// Reads a row of [`SELECT`].
pub(super) fn read(row: &Row) -> Result<KeyRow> {
    let cells = Cells::of(row, "access_keys", "id");
    Ok(KeyRow {
        id: cells.word("id", |text| AccessKeyId::parse(text.as_bytes()))?,
        account: cells.number("account", Account::new)?,
        user: read_user(&cells)?,
        generation: cells.number("generation", |number| Generation::new(u8::try_from(number).ok()?))?,
        status: cells.word("status", KeyStatus::parse)?,
        created_at: cells.int("created_at")?,
        created_by: cells.optional_word("created_by", |text| AccessKeyId::parse(text.as_bytes()))?,
        status_changed_at: cells.int("status_changed_at")?,
        last_used: read_last_used(&cells)?,
        terms: read_terms(&cells)?,
        age: accounts::read_age(&cells)?,
    })
}

fn read_terms(cells: &Cells<'_>) -> Result<KeyTerms> {
    let scope = KeyScope {
        services: cells.optional_word("services", ServiceSet::parse)?,
        regions: cells.optional_word("regions", |text| RegionSet::parse(text.as_bytes()))?,
    };
    Ok(KeyTerms { expires_at: cells.optional_int("expires_at")?, scope })
}

fn read_user(cells: &Cells<'_>) -> Result<Option<KeyUser>> {
    let Some(user_id) = cells.optional_word("user_id", UserId::parse)? else { return Ok(None) };
    Ok(Some(KeyUser { user_id, name: cells.text("user_name")?, path: cells.text("user_path")? }))
}

fn read_last_used(cells: &Cells<'_>) -> Result<Option<LastUsed>> {
    let Some(at) = cells.optional_int("last_used_at")? else { return Ok(None) };
    Ok(Some(LastUsed { at, service: cells.text("last_used_service")?, region: cells.text("last_used_region")? }))
}

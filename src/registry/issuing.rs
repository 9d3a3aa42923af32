//! Registering a new access key: one look decides, then everything is written, all in one transaction.

use rederive_hsm::access_key_id::AccessKeyId;

use super::accounts::{self, as_int};
use super::client_tokens::Made;
use super::grounds::Grounds;
use super::transaction::transact;
use super::{ChangeKind, Connection, KeyRow, Owner, Registry, Result, UserId, changes, group_commit, query, users};
use crate::key_terms::{KeyScope, KeyTerms};

/// A key to register. Its generation is the one that its id names.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The id, from the worker.
    pub id: AccessKeyId,
    /// Who it is for.
    pub owner: Owner,
    /// The key that signed the request; `None` for an operator's command.
    pub created_by: Option<AccessKeyId>,
    /// The signature of the request, good for one secret; `None` for an operator's command.
    pub signature: Option<UsedSignature>,
    /// How many keys the owner may have, inactive ones counted, where its account does not say.
    pub quota: u32,
    /// Until when, and for what the key is good; its id has R set if there are any terms.
    pub terms: KeyTerms,
    /// What its user wants to be told of it; root has no place for that.
    pub description: Option<String>,
    /// Now.
    pub at: i64,
}

/// A signature that a secret is given out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedSignature {
    /// SHA-256 of the signature.
    pub hash: [u8; 32],
    /// From when on the signature is too old to be accepted anyway.
    pub expires_at: i64,
}

impl Registry {
    /// Registers a key, active. When it fails nothing has happened; in particular the signature is still good, so
    /// that [`RegistryError::DuplicateId`](super::RegistryError::DuplicateId) can be answered with the next attempt.
    pub async fn insert_key(&self, new: &NewKey) -> Result<KeyRow> {
        match group_commit::register(self, new, None).await? {
            Made::New(row) | Made::Before(row, _) => Ok(row),
        }
    }

    /// Registers the owner's account together with its first key: there is never one without the other.
    pub async fn create_account_with_key(&self, new: &NewKey) -> Result<KeyRow> {
        transact!(self, |transaction| create_account_and_issue(transaction, new))
    }
}

async fn create_account_and_issue(transaction: &mut Connection, new: &NewKey) -> Result<KeyRow> {
    accounts::insert(transaction, new.owner.account, new.at).await?;
    let row = judge(transaction, new, None).await?;
    write(transaction, new).await?;
    Ok(row)
}

/// The row that a key will have, or why there will be none. `actor` is the key that signed for it. Nothing is written.
pub(super) async fn judge(transaction: &mut Connection, new: &NewKey, actor: Option<&KeyRow>) -> Result<KeyRow> {
    let row = Grounds::look(transaction, new).await?.judge(new, actor)?;
    if let (Some(user_id), Some(text)) = (&new.owner.user_id, &new.description) {
        users::check_description(transaction, new.owner.account, user_id, &new.id, text).await?;
    }
    Ok(row)
}

/// Registers a key that was judged in the same transaction.
pub(super) async fn write(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    use_signature(transaction, new).await?;
    use_serial(transaction, new).await?;
    insert(transaction, new).await?;
    if let (Some(user_id), Some(text)) = (&new.owner.user_id, &new.description) {
        users::describe_key(transaction, new.owner.account, user_id, &new.id, Some(text)).await?;
    }
    if !new.terms.is_none() {
        changes::append_with(transaction, new.at, ChangeKind::KeyTerms, new.id, new.terms.encode()).await?;
    }
    Ok(())
}

/// Forgets the signatures that are too old to be accepted anyway.
pub(super) async fn forget_signatures(transaction: &mut Connection, now: i64) -> Result<()> {
    query("DELETE FROM used_signatures WHERE expires_at < $1").bind(now).execute(transaction).await?;
    Ok(())
}

/// Uses a signature up that is known to be good.
pub(super) async fn use_signature(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    let Some(signature) = &new.signature else { return Ok(()) };
    query("INSERT INTO used_signatures (hash, expires_at) VALUES ($1, $2)")
        .bind(signature.hash.as_slice())
        .bind(signature.expires_at)
        .execute(transaction)
        .await?;
    Ok(())
}

async fn use_serial(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    query(
        "INSERT INTO serials_used (account, generation, count) VALUES ($1, $2, 1) \
         ON CONFLICT (account, generation) DO UPDATE SET count = serials_used.count + 1",
    )
    .bind(as_int(new.owner.account))
    .bind(i64::from(new.id.fields().generation().number()))
    .execute(transaction)
    .await?;
    Ok(())
}

async fn insert(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    let KeyScope { services, regions } = &new.terms.scope;
    let (services, regions) = (services.as_ref().map(ToString::to_string), regions.as_ref().map(ToString::to_string));
    query(
        "INSERT INTO access_keys (id, account, user_id, generation, status, created_at, created_by, status_changed_at, \
         expires_at, services, regions) VALUES ($1, $2, $3, $4, 'active', $5, $6, $5, NULLIF($7, 0), $8, $9)",
    )
    .bind(new.id.as_str())
    .bind(as_int(new.owner.account))
    .bind(new.owner.user_id.as_ref().map(UserId::as_str))
    .bind(i64::from(new.id.fields().generation().number()))
    .bind(new.at)
    .bind(new.created_by.as_ref().map(AccessKeyId::as_str))
    .bind(new.terms.expires_at.unwrap_or(0))
    .bind(services.as_deref())
    .bind(regions.as_deref())
    .execute(transaction)
    .await?;
    Ok(())
}

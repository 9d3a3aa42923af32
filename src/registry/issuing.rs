//! Registering a new access key: quota, uniqueness, replay and serial numbers, all in one transaction.

use rederive_hsm::access_key_id::{AccessKeyId, Fields, Layout};

use super::accounts::{self, as_int};
use super::transaction::transact;
use super::{
    ChangeKind, Connection, GenerationState, KeyRow, Owner, Registry, RegistryError, Result, UserId, changes, denials,
    generations, keys, query, users,
};
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
    /// that [`RegistryError::DuplicateId`] can be answered with the next attempt.
    pub async fn insert_key(&self, new: &NewKey) -> Result<KeyRow> {
        let registry = Self { actor: new.created_by, ..self.clone() };
        transact!(registry, |transaction| issue(transaction, new))
    }

    /// Registers the owner's account together with its first key: there is never one without the other.
    pub async fn create_account_with_key(&self, new: &NewKey) -> Result<KeyRow> {
        transact!(self, |transaction| create_account_and_issue(transaction, new))
    }
}

async fn create_account_and_issue(transaction: &mut Connection, new: &NewKey) -> Result<KeyRow> {
    accounts::insert(transaction, new.owner.account, new.at).await?;
    issue(transaction, new).await
}

/// Registers a key inside a transaction.
pub(super) async fn issue(transaction: &mut Connection, new: &NewKey) -> Result<KeyRow> {
    check_generation(transaction, new).await?;
    check_owner(transaction, &new.owner).await?;
    // Before the signature: who asks thrice within a second, with one signature, is told of the quota at once.
    check_quota(transaction, new).await?;
    check_terms(transaction, new.created_by.as_ref(), &new.terms).await?;
    use_signature(transaction, new).await?;
    use_serial(transaction, new).await?;
    insert(transaction, new).await?;
    if let (Some(user_id), Some(text)) = (&new.owner.user_id, &new.description) {
        users::describe_key(transaction, new.owner.account, user_id, &new.id, Some(text)).await?;
    }
    if !new.terms.is_none() {
        changes::append_with(transaction, new.at, ChangeKind::KeyTerms, new.id, new.terms.encode()).await?;
    }
    keys::by_id(transaction, &new.id).await?.ok_or(RegistryError::NoSuchKey(new.id))
}

/// Uses a signature up.
pub(super) async fn use_signature(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    let Some(signature) = &new.signature else { return Ok(()) };
    query("DELETE FROM used_signatures WHERE expires_at < $1").bind(new.at).execute(&mut *transaction).await?;
    let first = query("INSERT INTO used_signatures (hash, expires_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING")
        .bind(signature.hash.as_slice())
        .bind(signature.expires_at)
        .execute(transaction)
        .await?;
    match first {
        0 => Err(RegistryError::SignatureReplayed),
        _ => Ok(()),
    }
}

async fn check_generation(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    let generation = new.id.fields().generation();
    match generations::state(transaction, generation).await? {
        GenerationState::Issuing => Ok(()),
        state => Err(RegistryError::NotIssuing { generation, state }),
    }
}

/// Whether there is such an owner, and it may be given keys.
pub(super) async fn check_owner(transaction: &mut Connection, owner: &Owner) -> Result<()> {
    let account = owner.account;
    match &owner.user_id {
        None if accounts::exists(transaction, account).await? => {}
        None => return Err(RegistryError::NoSuchAccount(account)),
        Some(user_id) if users::by_id(transaction, account, user_id).await?.is_some() => {}
        Some(user_id) => return Err(RegistryError::NoSuchUser { account, user: user_id.to_string() }),
    }
    if denials::is_owner_denied(transaction, owner).await? { Err(RegistryError::OwnerDenied) } else { Ok(()) }
}

async fn check_quota(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    let count: i64 = query(&format!(
        "SELECT count(*) FROM access_keys WHERE account = $1 AND {} AND status <> 'deleted'",
        new.owner.condition()
    ))
    .bind(as_int(new.owner.account))
    .bind(new.owner.user_id.as_ref().map_or("", UserId::as_str))
    .fetch_one(&mut *transaction)
    .await?
    .try_get(0)?;
    // An account's own quota is for its users; root's keys stay few.
    let own = match &new.owner.user_id {
        Some(_) => accounts::keys_per_user(transaction, new.owner.account).await?,
        None => None,
    };
    let quota = own.unwrap_or(new.quota);
    if count < i64::from(quota) { Ok(()) } else { Err(RegistryError::QuotaExceeded(quota)) }
}

/// Nobody gets a key that is good for more, or for longer, than the one that it is asked for with.
pub(super) async fn check_terms(
    transaction: &mut Connection,
    created_by: Option<&AccessKeyId>,
    terms: &KeyTerms,
) -> Result<()> {
    let Some(by) = created_by else { return Ok(()) };
    match keys::by_id(transaction, by).await? {
        Some(row) if !terms.are_within(&row.terms) => Err(RegistryError::BeyondOwnTerms(*by)),
        _ => Ok(()),
    }
}

async fn use_serial(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    let fields = new.id.fields();
    let (account, generation) = (new.owner.account, fields.generation());
    let used: i64 = query(
        "INSERT INTO serials_used (account, generation, count) VALUES ($1, $2, 1) \
         ON CONFLICT (account, generation) DO UPDATE SET count = serials_used.count + 1 RETURNING count",
    )
    .bind(as_int(account))
    .bind(i64::from(generation.number()))
    .fetch_one(transaction)
    .await?
    .try_get(0)?;
    if used <= half_of_serials(&fields) { Ok(()) } else { Err(RegistryError::SerialsExhausted { account, generation }) }
}

/// Beyond half, collisions make issuing slow and ids worth guessing.
fn half_of_serials(fields: &Fields) -> i64 {
    let layout = match fields {
        Fields::Account { .. } => Layout::Account,
        Fields::Opaque { .. } => Layout::Opaque,
    };
    1 << (layout.serial_bits() - 1)
}

async fn insert(transaction: &mut Connection, new: &NewKey) -> Result<()> {
    // Denied before it was issued: somebody else knows its secret.
    if denials::is_id_denied(transaction, &new.id).await? {
        return Err(RegistryError::DuplicateId(new.id));
    }
    let KeyScope { services, regions } = &new.terms.scope;
    let (services, regions) = (services.as_ref().map(ToString::to_string), regions.as_ref().map(ToString::to_string));
    let inserted = query(
        "INSERT INTO access_keys (id, account, user_id, generation, status, created_at, created_by, status_changed_at, \
         expires_at, services, regions) VALUES ($1, $2, $3, $4, 'active', $5, $6, $5, NULLIF($7, 0), $8, $9) ON CONFLICT (id) DO NOTHING",
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
    match inserted {
        0 => Err(RegistryError::DuplicateId(new.id)),
        _ => Ok(()),
    }
}

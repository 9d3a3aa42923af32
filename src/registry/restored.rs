//! Going on from a copy that was restored: nothing that was refused may come back, and no id may be issued a second time.
//!
//! What was written after the copy was made is lost, but for the deny feed, of which others have kept more. It is put back from
//! there; new keys come from a new generation; and the feed gets a new epoch, for it would else tell two stories under one number.

use rederive_hsm::access_key_id::{AccessKeyId, Generation};
use rederive_hsm::pkcs11::hex;

use super::changes::{self, begin_epoch, fill_in};
use super::transaction::transact;
use super::{
    Change, ChangeKind, Connection, GenerationRow, GenerationState, KeyStatus, Registry, RegistryError, Result,
    Subject, denials, generations, keys, query, session_denials,
};
use crate::feed::{Chain, Epoch};

/// What was done to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Entries of the feed that the copy lacked, and that were carried out again.
    pub put_back: usize,
    /// Generations in which no more keys are made.
    pub ended: Vec<Generation>,
}

/// The name by which an operator accepts a feed as it is: its number and the beginning of its hash.
pub fn head_name(head: &Chain) -> String {
    format!("{}-{}", head.number, &hex(&head.hash)[..8])
}

impl Registry {
    /// Whether an operator has said that the feed of that epoch goes on in the one of now.
    pub async fn is_replaced(&self, epoch: &Epoch) -> Result<bool> {
        let row = query("SELECT value FROM settings WHERE name = $1").bind(replaced(epoch));
        Ok(row.fetch_optional(&mut self.readers.acquire().await?).await?.is_some())
    }

    /// Goes on from a restored copy whose head has that name. `seen` is the whole feed of `epoch`, as it is known elsewhere.
    pub async fn resume(&self, name: &str, epoch: &Epoch, seen: &[Change], at: i64) -> Result<Resumed> {
        transact!(self, |transaction| resume(transaction, name, epoch, seen, at))
    }
}

async fn resume(
    transaction: &mut Connection,
    name: &str,
    seen_epoch: &Epoch,
    seen: &[Change],
    at: i64,
) -> Result<Resumed> {
    let (epoch, head) = fill_in(transaction).await?;
    if head_name(&head) != name {
        return Err(RegistryError::OtherHead(head_name(&head)));
    }
    let lost = &seen[in_common(transaction, seen_epoch, seen).await?..];
    begin_epoch(transaction).await?;
    for change in lost {
        put_back(transaction, change, at).await?;
    }
    let mut ended = Vec::new();
    for row in generations::all(transaction).await?.into_iter().filter(|row| row.state < GenerationState::Verifying) {
        generations::set_state(transaction, row.number, GenerationState::Verifying, at).await?;
        ended.push(row.number);
    }
    for old in [&epoch, seen_epoch] {
        query("INSERT INTO settings (name, value) VALUES ($1, '') ON CONFLICT (name) DO NOTHING")
            .bind(replaced(old))
            .execute(transaction)
            .await?;
    }
    Ok(Resumed { put_back: lost.len(), ended })
}

fn replaced(epoch: &Epoch) -> String {
    format!("replaced-epoch:{}", hex(epoch))
}

/// How many entries the registry has as they were seen. Up to there the hashes are the same, and nowhere after.
async fn in_common(transaction: &mut Connection, epoch: &Epoch, seen: &[Change]) -> Result<usize> {
    let mut chain = Chain::begin(epoch);
    for (count, change) in seen.iter().enumerate() {
        chain = changes::chained(&chain, change)?;
        if changes::hash_of(transaction, change.seq).await? != Some(chain) {
            return Ok(count);
        }
    }
    Ok(seen.len())
}

async fn put_back(transaction: &mut Connection, change: &Change, at: i64) -> Result<()> {
    use ChangeKind as Kind;
    if let Some(id) = AccessKeyId::parse(change.subject.as_bytes()) {
        return put_back_key(transaction, change.kind, &id, at).await;
    }
    match change.kind {
        Kind::UserDenied | Kind::UserLifted => {
            denials::put_back(transaction, &format!("user:{}", change.subject), change, at).await
        }
        Kind::AccountDenied | Kind::AccountLifted => {
            denials::put_back(transaction, &format!("account:{}", change.subject), change, at).await
        }
        Kind::SessionsDenied | Kind::SessionsLifted => session_denials::put_back(transaction, change, at).await,
        Kind::UserDeleted => {
            query("UPDATE users SET deleted_at = $1 WHERE user_id = $2 AND deleted_at IS NULL")
                .bind(at)
                .bind(&change.subject)
                .execute(transaction)
                .await?;
            changes::append(transaction, at, change.kind, &change.subject).await.map(|_| ())
        }
        Kind::AuditCheckpoint => {
            let detail = change.detail.clone();
            changes::append_with(transaction, at, change.kind, &change.subject, detail).await.map(|_| ())
        }
        kind if kind.is_of_generation() => put_back_generation(transaction, change, at).await,
        // Accounts and users that were made since are lost, with their keys, which nobody knows any more.
        _ => Ok(()),
    }
}

async fn put_back_key(transaction: &mut Connection, kind: ChangeKind, id: &AccessKeyId, at: i64) -> Result<()> {
    use ChangeKind as Kind;
    let row = keys::by_id(transaction, id).await?.filter(|row| row.status != KeyStatus::Deleted);
    let status = match kind {
        // Its row is there, and tells the same.
        Kind::KeyTerms if row.is_some() => return Ok(()),
        Kind::KeyDeactivated => KeyStatus::Inactive,
        Kind::KeyDeleted => KeyStatus::Deleted,
        Kind::KeyActivated => KeyStatus::Active,
        Kind::KeyLifted if row.is_some() => {
            return denials::lift(transaction, &Subject::Key(*id), at).await.map(|_| ());
        }
        Kind::KeyLifted => return Ok(()),
        _ => return denials::deny(transaction, &Subject::Key(*id), at).await.map(|_| ()),
    };
    match row {
        Some(row) => keys::set_status(transaction, id, &row.owner(), status, at).await.map(|_| ()),
        // It was issued after the copy was made. Its row is lost, so it stays refused, whatever came later.
        None => denials::deny(transaction, &Subject::Key(*id), at).await.map(|_| ()),
    }
}

/// No keys are made any more in a generation that the copy does not know: nobody can tell which were.
async fn put_back_generation(transaction: &mut Connection, change: &Change, at: i64) -> Result<()> {
    let Some(row) = GenerationRow::of_change(change) else { return Ok(()) };
    let state = row.state.max(GenerationState::Verifying);
    match generations::state(transaction, row.number).await {
        Ok(known) if known >= state => Ok(()),
        Ok(_) if row.state < GenerationState::Verifying => Ok(()),
        Ok(_) => generations::set_state(transaction, row.number, state, at).await,
        Err(RegistryError::NoSuchGeneration(_)) => {
            generations::insert(transaction, &GenerationRow { state, ..row }).await
        }
        Err(error) => Err(error),
    }
}

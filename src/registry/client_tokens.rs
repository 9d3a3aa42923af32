//! Client tokens: who asks for a key twice with one token gets one key.

use super::cells::Cells;
use super::transaction::transact;
use super::{Connection, KeyRow, KeyStatus, NewKey, Registry, RegistryError, Result, issuing, keys, query};

/// How long a token is remembered, in seconds.
const REMEMBERED: i64 = 24 * 60 * 60;

/// A client token, as the registry knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedToken {
    /// Of the caller and the token.
    pub hash: [u8; 32],
    /// Of what was asked for with it.
    pub request: [u8; 32],
    /// Which id this is among those that the token leads to: a taken one is followed by the next.
    pub attempt: u32,
}

/// A key for a client token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was made now.
    New(KeyRow),
    /// It was made before, at this attempt.
    Before(KeyRow, u32),
}

impl Registry {
    /// Registers a key, unless the token has led to one within the day: then it is that one.
    ///
    /// Either way the signature is used up: who overhears a request cannot have it answered again.
    pub async fn insert_key_once(&self, new: &NewKey, token: &UsedToken) -> Result<Made> {
        let registry = Self { actor: new.created_by, ..self.clone() };
        transact!(registry, |transaction| insert_once(transaction, new, token))
    }
}

async fn insert_once(transaction: &mut Connection, new: &NewKey, token: &UsedToken) -> Result<Made> {
    query("DELETE FROM client_tokens WHERE expires_at < $1").bind(new.at).execute(transaction).await?;
    let used = query("SELECT hash, request, id, attempt FROM client_tokens WHERE hash = $1")
        .bind(token.hash.as_slice())
        .fetch_optional(transaction)
        .await?;
    let Some(used) = used else {
        let row = issuing::issue(transaction, new).await?;
        remember(transaction, new, token).await?;
        return Ok(Made::New(row));
    };
    issuing::check_owner(transaction, &new.owner).await?;
    issuing::use_signature(transaction, new).await?;
    let cells = Cells::of(&used, "client_tokens", "id");
    let row = keys::by_id(transaction, &keys::read_id(&used)?).await?;
    let row = row.ok_or_else(|| cells.bad("id", "there is no such key"))?;
    if cells.hash("request")? != token.request || row.owner() != new.owner {
        return Err(RegistryError::TokenOfAnotherRequest);
    }
    issuing::check_terms(transaction, new.created_by.as_ref(), &row.terms).await?;
    if row.status == KeyStatus::Deleted {
        return Err(RegistryError::TokenOfDeletedKey(row.id));
    }
    Ok(Made::Before(row, cells.number("attempt", |number| u32::try_from(number).ok())?))
}

async fn remember(transaction: &mut Connection, new: &NewKey, token: &UsedToken) -> Result<()> {
    query("INSERT INTO client_tokens (hash, request, id, attempt, expires_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(token.hash.as_slice())
        .bind(token.request.as_slice())
        .bind(new.id.as_str())
        .bind(i64::from(token.attempt))
        .bind(new.at + REMEMBERED)
        .execute(transaction)
        .await?;
    Ok(())
}

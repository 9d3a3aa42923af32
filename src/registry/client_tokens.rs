//! Client tokens: who asks for a key twice with one token gets one key.

use super::cells::Cells;
use super::grounds::{Grounds, check_terms};
use super::{
    Connection, KeyRow, KeyStatus, NewKey, Registry, RegistryError, Result, group_commit, issuing, keys, query,
};

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
        group_commit::register(self, new, Some(token)).await
    }
}

/// The key that a token leads to, or why to none. `actor` is the key that signed. Nothing is written.
pub(super) async fn judge(
    transaction: &mut Connection,
    new: &NewKey,
    token: &UsedToken,
    actor: Option<&KeyRow>,
) -> Result<Made> {
    let used = query("SELECT hash, request, id, attempt FROM client_tokens WHERE hash = $1")
        .bind(token.hash.as_slice())
        .fetch_optional(transaction)
        .await?;
    let Some(used) = used else { return issuing::judge(transaction, new, actor).await.map(Made::New) };
    let cells = Cells::of(&used, "client_tokens", "id");
    let row = keys::by_id(transaction, &keys::read_id(&used)?).await?;
    let row = row.ok_or_else(|| cells.bad("id", "there is no such key"))?;
    let attempt = cells.number("attempt", |number| u32::try_from(number).ok())?;
    Grounds::look(transaction, new).await?.judge_owner_and_signature(new)?;
    if cells.hash("request")? != token.request || row.owner() != new.owner {
        return Err(RegistryError::TokenOfAnotherRequest);
    }
    check_terms(actor, &row.terms)?;
    match row.status {
        KeyStatus::Deleted => Err(RegistryError::TokenOfDeletedKey(row.id)),
        _ => Ok(Made::Before(row, attempt)),
    }
}

/// Forgets the tokens whose day is over.
pub(super) async fn forget(transaction: &mut Connection, now: i64) -> Result<()> {
    query("DELETE FROM client_tokens WHERE expires_at < $1").bind(now).execute(transaction).await?;
    Ok(())
}

/// Remembers what a token has led to.
pub(super) async fn remember(transaction: &mut Connection, new: &NewKey, token: &UsedToken) -> Result<()> {
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

//! Accounts, users, key metadata and status: everything the authority remembers, none of it secret.
//!
//! An embedded SQLite file. One connection writes, each mutation in one transaction that takes the write lock at its
//! start and also appends to the numbered list of changes whatever a verifier must hear of; a few connections read.
//! A transaction is on the disk before its call returns. Times are unix seconds and come from the caller.
//!
//! Calls answer with what was asked, with a "no" ([`RegistryError`]'s plain variants), or with
//! [`RegistryError::Trouble`]: the registry could not tell.

mod accounts;
mod backup;
mod cells;
mod changes;
mod denials;
mod error;
mod generations;
mod issuing;
mod keys;
mod last_used;
mod open;
mod settings;
mod transaction;
mod user_id;
mod users;
mod writable;

use rederive_hsm::access_key_id::AccessKeyId;
use sqlx::sqlite::SqlitePool;

pub use crate::feed::{Change, ChangeKind};
pub use accounts::AccountRow;
pub use denials::Subject;
pub use error::{RegistryError, Result, Trouble, TroubleKind};
pub use generations::{GenerationRow, GenerationState};
pub use issuing::{NewKey, UsedSignature};
pub use keys::{DenyList, KeyRow, KeyStatus, KeyUser, LastUsed, Owner};
pub use last_used::KeyUse;
pub use settings::Settings;
pub use user_id::UserId;
pub use users::{NewUser, Tag, UserRow, user_arn};

use transaction::Transaction;
use writable::LastTrial;

/// The registry. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Registry {
    writer: SqlitePool,
    readers: SqlitePool,
    last_trial: LastTrial,
    /// The key that signed for what is written; `None` for an operator's command.
    actor: Option<AccessKeyId>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as asked for, in the list's order.
    pub items: Vec<T>,
    /// Whether more follow after the last item.
    pub truncated: bool,
}

impl Registry {
    /// The registry, writing for whoever signed with a key: each change looks, in its own transaction, whether that key is
    /// still active. Between a request's verification and its turn to write, somebody may have switched the key off.
    pub fn on_behalf_of(&self, key: AccessKeyId) -> Self {
        Self { actor: Some(key), ..self.clone() }
    }

    /// Starts a transaction that holds the write lock until its end.
    async fn write(&self) -> Result<Transaction> {
        let mut transaction = Transaction::write(&self.writer).await?;
        let Some(actor) = &self.actor else { return Ok(transaction) };
        match keys::by_id(&mut transaction, actor).await {
            Ok(Some(row)) if row.status == KeyStatus::Active => {
                match denials::is_key_denied(&mut transaction, &row).await {
                    Ok(false) => Ok(transaction),
                    Ok(true) => transaction.end(Err(RegistryError::ActorDenied(*actor))).await,
                    Err(error) => transaction.end(Err(error)).await,
                }
            }
            Ok(_) => transaction.end(Err(RegistryError::ActorDenied(*actor))).await,
            Err(error) => transaction.end(Err(error)).await,
        }
    }
}

impl<T> Page<T> {
    /// From rows that were asked for with one more than `limit`.
    fn cut(mut items: Vec<T>, limit: u32) -> Self {
        let limit = limit as usize;
        let truncated = items.len() > limit;
        items.truncate(limit);
        Self { items, truncated }
    }
}

//! Accounts, users, key metadata and status: everything the authority remembers, none of it secret.
//!
//! An embedded SQLite file, or a database of PostgreSQL's that several issuers share. Both take the same SQL (`query.rs`); what
//! differs stands in `sqlite`, `postgres` and `connection`.
//!
//! Each mutation is one transaction that takes the write lock at its start and also appends to the numbered list of changes
//! whatever a verifier must hear of. One connection of a process writes, a few read. A transaction is on the disk before its
//! call returns. Times are unix seconds and come from the caller.
//!
//! Calls answer with what was asked, with a "no" ([`RegistryError`]'s plain variants), or with
//! [`RegistryError::Trouble`]: the registry could not tell.

mod accounts;
mod audit_checkpoints;
mod backup;
mod cells;
mod changes;
mod client_tokens;
mod connection;
mod denials;
mod error;
mod generations;
mod grounds;
mod group_commit;
mod issuing;
mod key_age;
mod keys;
mod last_used;
mod location;
mod made_with;
mod notify;
mod open;
mod policies;
mod postgres;
mod progress;
mod query;
mod restored;
mod rotation;
mod schema;
mod session_denials;
mod settings;
mod sqlite;
mod transaction;
mod user_id;
mod users;
mod writable;

use std::sync::{Arc, Mutex, PoisonError};

use rederive_hsm::access_key_id::AccessKeyId;

use crate::feed::Chain;
pub use crate::feed::{Change, ChangeKind};
pub use accounts::AccountRow;
pub use client_tokens::{Made, UsedToken};
pub use denials::Subject;
pub use error::{RegistryError, Result, Trouble, TroubleKind};
pub use generations::{GenerationRow, GenerationState};
pub use issuing::{NewKey, UsedSignature};
pub use key_age::{KEY_WARNING, KeyAge};
pub use keys::{DenyList, KeyRow, KeyStatus, KeyUser, LastUsed, Owner};
pub use last_used::KeyUse;
pub use location::{BadUrl, Database, Location};
pub use made_with::MadeSince;
pub use notify::Listener;
pub use policies::{PolicyLimits, UserPolicies};
pub use progress::Dependents;
pub use restored::{Resumed, head_name};
pub use rotation::Rotation;
pub use session_denials::SessionDenial;
pub use settings::Settings;
pub use user_id::UserId;
pub use users::{MAX_TAGS, NewUser, Tag, UserRow, renamed_user, user_arn};

use cells::readable;
use connection::{Connection, Pool};
use group_commit::Line;
use query::{Row, query};
use transaction::Transaction;
use writable::LastTrial;

/// The registry. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Registry {
    writer: Pool,
    readers: Pool,
    last_trial: LastTrial,
    line: Arc<Line>,
    /// How far this process has followed the feed. What it writes goes on from there, or is not written.
    seen: Arc<Mutex<Option<Chain>>>,
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

    /// Starts a transaction that holds the write lock until its end. `transact!` ends it, too.
    async fn begin_to_write(&self) -> Result<Transaction> {
        let mut transaction = Transaction::write(&self.writer).await?;
        let checked = async {
            changes::check_seen(transaction.connection(), self.seen()).await?;
            if let Some(actor) = &self.actor {
                check_actor(transaction.connection(), actor).await?;
            }
            Ok(())
        };
        match checked.await {
            Ok(()) => Ok(transaction),
            Err(error) => transaction.end(Err(error)).await,
        }
    }

    fn seen(&self) -> Option<Chain> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_seen(&self, chain: Chain) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| seen.number < chain.number) {
            *seen = Some(chain);
        }
    }
}

/// The row of the key that signed for a change, which must still be active.
async fn check_actor(transaction: &mut Connection, actor: &AccessKeyId) -> Result<KeyRow> {
    match keys::by_id(transaction, actor).await? {
        Some(row) if row.status == KeyStatus::Active && !denials::is_key_denied(transaction, &row).await? => Ok(row),
        _ => Err(RegistryError::ActorDenied(*actor)),
    }
}

impl<T> Page<T> {
    /// From rows that were asked for with one more than `limit`.
    fn of(rows: &[Row], limit: u32, read: impl Fn(&Row) -> Result<T>) -> Self {
        let limit = limit as usize;
        Self { items: readable(&rows[..rows.len().min(limit)], read), truncated: rows.len() > limit }
    }
}

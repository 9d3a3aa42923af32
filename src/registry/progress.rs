//! Who still depends on a generation, and closing one.

use rederive_hsm::access_key_id::{AccessKeyId, Account, Generation};

use super::cells::{Cells, readable};
use super::generations::{GenerationState, set_state};
use super::made_with::{self, MadeSince};
use super::transaction::transact;
use super::{Connection, Registry, RegistryError, Result, Row, query};

/// The active keys of one account in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependents {
    /// The generation.
    pub generation: Generation,
    /// The account.
    pub account: Account,
    /// How many active keys it has there.
    pub active: i64,
    /// When one of them was last used, if any was.
    pub last_used_at: Option<i64>,
}

impl Registry {
    /// The active keys by generation and account, those that were used last first.
    pub async fn dependents(&self) -> Result<Vec<Dependents>> {
        let rows = query(
            "SELECT generation, account, COUNT(*) AS active, MAX(last_used_at) AS last_used_at FROM access_keys \
             WHERE status = 'active' GROUP BY generation, account \
             ORDER BY generation, COALESCE(MAX(last_used_at), 0) DESC, account",
        );
        Ok(readable(&rows.fetch_all(&mut self.readers.acquire().await?).await?, read))
    }

    /// Closes a generation, for good: every key of it is refused from then on. `breaking` is how many active keys whoever closes it
    /// knows of; if there are others, nothing is done. What was `made` with its keys under other generations is switched off with it;
    /// gives the ids of those.
    pub async fn close_generation(
        &self,
        generation: Generation,
        breaking: i64,
        made: Option<MadeSince>,
        at: i64,
    ) -> Result<Vec<AccessKeyId>> {
        transact!(self, |transaction| close(transaction, generation, breaking, made, at))
    }
}

async fn close(
    transaction: &mut Connection,
    generation: Generation,
    breaking: i64,
    made: Option<MadeSince>,
    at: i64,
) -> Result<Vec<AccessKeyId>> {
    let row = query("SELECT COUNT(*) AS active FROM access_keys WHERE status = 'active' AND generation = $1")
        .bind(i64::from(generation.number()))
        .fetch_one(&mut *transaction)
        .await?;
    let active = Cells::of(&row, "access_keys", "active").int("active")?;
    if active != breaking {
        return Err(RegistryError::StillInUse { generation, active });
    }
    set_state(transaction, generation, GenerationState::Closed, at).await?;
    match made {
        Some(made) => made_with::switch_off(transaction, generation, made, at).await,
        None => Ok(Vec::new()),
    }
}

fn read(row: &Row) -> Result<Dependents> {
    let cells = Cells::of(row, "access_keys", "generation");
    Ok(Dependents {
        generation: cells.number("generation", |number| Generation::new(u8::try_from(number).ok()?))?,
        account: cells.number("account", Account::new)?,
        active: cells.int("active")?,
        last_used_at: cells.optional_int("last_used_at")?,
    })
}

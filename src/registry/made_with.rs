//! What was made with the keys of a generation: what a thief of its master may have left behind under other masters.

use std::collections::HashSet;

use rederive_hsm::access_key_id::{AccessKeyId, Generation};

use super::cells::readable;
use super::keys::{self, SELECT};
use super::{Connection, KeyRow, KeyStatus, Registry, RegistryError, Result, query};

/// Keys that are switched off when a generation is closed, because they were made with keys of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeSince {
    /// From when on.
    pub since: i64,
    /// How many there are, as far as whoever closes the generation knows. If it is another number, nothing is done.
    pub count: usize,
}

impl Registry {
    /// The active keys of other generations that were made since a time with a key of this one, or with a key that was
    /// so made, by their age. Keys that an operator's command made were made with none.
    pub async fn made_with(&self, generation: Generation, since: i64) -> Result<Vec<KeyRow>> {
        made_with(&mut self.readers.acquire().await?, generation, since).await
    }
}

/// Switches them off inside a transaction.
pub(super) async fn switch_off(
    transaction: &mut Connection,
    generation: Generation,
    expected: MadeSince,
    at: i64,
) -> Result<Vec<AccessKeyId>> {
    let made = made_with(transaction, generation, expected.since).await?;
    if made.len() != expected.count {
        return Err(RegistryError::MadeWith { generation, count: made.len() });
    }
    for row in &made {
        keys::set_status(transaction, &row.id, &row.owner(), KeyStatus::Inactive, at).await?;
    }
    Ok(made.into_iter().map(|row| row.id).collect())
}

async fn made_with(connection: &mut Connection, generation: Generation, since: i64) -> Result<Vec<KeyRow>> {
    let rows =
        query(&format!("{SELECT} WHERE k.created_at >= $1 AND k.created_by IS NOT NULL ORDER BY k.created_at, k.id"))
            .bind(since)
            .fetch_all(connection)
            .await?;
    let rows = readable(&rows, keys::read);
    let suspects = heirs(&rows, generation);
    let is_meant =
        |row: &KeyRow| row.status == KeyStatus::Active && row.generation != generation && suspects.contains(&row.id);
    Ok(rows.into_iter().filter(is_meant).collect())
}

/// Those made with a key of the generation, those made with them, and so on, deleted ones too.
fn heirs(rows: &[KeyRow], generation: Generation) -> HashSet<AccessKeyId> {
    let mut heirs = HashSet::new();
    loop {
        let made_by_one = |row: &&KeyRow| {
            let by = row.created_by.as_ref();
            by.is_some_and(|by| by.fields().generation() == generation || heirs.contains(by))
        };
        let more: Vec<AccessKeyId> = rows.iter().filter(made_by_one).map(|row| row.id).collect();
        if more.len() == heirs.len() {
            return heirs;
        }
        heirs.extend(more);
    }
}

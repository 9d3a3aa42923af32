//! When, where and for what a key was last used: written in batches, so that no verification waits for it.

use rederive_hsm::access_key_id::AccessKeyId;

use super::transaction::transact;
use super::{Connection, LastUsed, Registry, Result, query};

/// A use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub id: AccessKeyId,
    /// When, for which service and in which region.
    pub used: LastUsed,
}

impl Registry {
    /// Records uses in one transaction. A use older than the one on record, or of an unknown key, changes nothing.
    pub async fn record_last_used(&self, uses: &[KeyUse]) -> Result<()> {
        transact!(self, |transaction| record(transaction, uses))
    }
}

async fn record(transaction: &mut Connection, uses: &[KeyUse]) -> Result<()> {
    for KeyUse { id, used } in uses {
        query(
            "UPDATE access_keys SET last_used_at = $1, last_used_service = $2, last_used_region = $3 \
             WHERE id = $4 AND (last_used_at IS NULL OR last_used_at <= $1)",
        )
        .bind(used.at)
        .bind(&used.service)
        .bind(&used.region)
        .bind(id.as_str())
        .execute(&mut *transaction)
        .await?;
    }
    Ok(())
}

//! Checkpoints of audit logs in the deny feed: its head is signed by the control key and verifiers keep it, so that a log that was made
//! anew as a whole does not fit.

use super::transaction::transact;
use super::{Change, ChangeKind, Registry, Result, changes, query};

impl Registry {
    /// Puts into the feed how far an audit log goes: `log` is its id, `link` its newest entry, both as texts.
    pub async fn note_audit_checkpoint(&self, log: &str, link: &str, at: i64) -> Result<i64> {
        transact!(self, |transaction| changes::append_with(
            transaction,
            at,
            ChangeKind::AuditCheckpoint,
            log,
            link.to_owned()
        ))
    }

    /// Every checkpoint in the feed, of all logs, the oldest first.
    pub async fn audit_checkpoints(&self) -> Result<Vec<Change>> {
        let rows = query("SELECT seq, at, kind, subject, detail FROM changes WHERE kind = $1 ORDER BY seq")
            .bind(ChangeKind::AuditCheckpoint.as_str())
            .fetch_all(&mut self.readers.acquire().await?)
            .await?;
        rows.iter().map(changes::read).collect()
    }
}

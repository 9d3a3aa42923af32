//! Checkpoints of the audit log, put into the deny feed.

use std::sync::Arc;
use std::time::Duration;

use base16ct::lower::encode_string as to_hex;

use super::chain::{Link, LogId};
use super::{Audit, now};
use crate::authority::Authority;

/// Between two: each is an entry that every verifier keeps for good.
const PAUSE: Duration = Duration::from_secs(60);
/// How long a node that ends waits for its last one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Puts the newest checkpoint into the feed, for as long as the runtime lives.
pub async fn anchor_forever(audit: Audit, authority: Arc<Authority>) {
    let mut checkpoints = audit.checkpoints();
    while checkpoints.changed().await.is_ok() {
        let newest = *checkpoints.borrow_and_update();
        if let Some((log, link)) = newest {
            anchor(&authority, &log, &link).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Puts the last one there, when the log is closed.
pub async fn anchor_last(audit: &Audit, authority: &Authority) {
    let newest = *audit.checkpoints().borrow();
    if let Some((log, link)) = newest {
        let _ = tokio::time::timeout(PATIENCE, anchor(authority, &log, &link)).await;
    }
}

async fn anchor(authority: &Authority, log: &LogId, link: &Link) {
    let Ok(registry) = authority.registry() else { return };
    let noted = registry.note_audit_checkpoint(&to_hex(log), &link.to_string(), now()).await;
    if let Err(error) = noted {
        tracing::warn!(%error, "a checkpoint of the audit log is not in the deny feed");
    }
}

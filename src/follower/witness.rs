//! What an issuer has seen of its own registry's feed, kept beside it: by that it notices that the registry was set back.
//!
//! The copy is the one that verifiers keep. It is written after the fact, some times a second at most, so that it costs the
//! registry's own writes nothing; what the last moment before a crash has added may be missing in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{CopyError, FeedCopy};
use crate::authority::Authority;
use crate::feed::{Chain, Change, Epoch, SignedHead};
use crate::registry::{Registry, RegistryError, head_name};

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(250);
/// After trouble.
const LATER: Duration = Duration::from_secs(5);
/// Entries that are read at a time.
const PAGE: u32 = 10_000;

/// Why an issuer does not work with its registry.
#[derive(Debug, thiserror::Error)]
pub enum NotTheSame {
    /// It is not the one that was there before.
    #[error(
        "the registry was set back: {why}. Whoever goes on with it brings deleted keys back to life. If you restored a copy, \
         stop every issuer and see docs/operations.md, \"To restore\"; then say so: rederive restored --head {head} --config …"
    )]
    SetBack {
        /// What differs.
        why: String,
        /// The name of what there is.
        head: String,
    },
    /// The copy of the feed is not to be had.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The registry is not to be had.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The copy cannot be put aside.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
}

impl NotTheSame {
    /// Whether another process of this state directory keeps the copy: the node, where this is a command beside it.
    fn is_kept_by_another(&self) -> bool {
        matches!(self, Self::Copy(CopyError::Io { source, .. }) if source.kind() == std::io::ErrorKind::ResourceBusy)
    }
}

/// Compares a registry with what was seen of it in that directory.
pub async fn check(registry: &Registry, directory: &Path) -> Result<(), NotTheSame> {
    let Some(seen) = FeedCopy::head_in(directory)? else { return Ok(()) };
    let (epoch, head) = registry.feed_head().await?;
    if *seen.epoch() != epoch {
        if registry.is_replaced(seen.epoch()).await? {
            return put_aside(directory);
        }
        return Err(NotTheSame::SetBack { why: "its feed is of another epoch".into(), head: head_name(&head) });
    }
    let why = match registry.hash_of_change(seen.chain().number).await? {
        Some(known) if known == seen.chain() => return Ok(()),
        Some(_) => format!("entry {} of its feed is another one than before", seen.chain().number),
        None => format!("its feed ends at entry {}, and this node has seen {}", head.number, seen.chain().number),
    };
    Err(NotTheSame::SetBack { why, head: head_name(&head) })
}

/// An operator has said that the feed goes on in a new epoch: its copy begins anew, the old one is kept.
fn put_aside(directory: &Path) -> Result<(), NotTheSame> {
    let aside = (1..).map(|number| directory.with_extension(format!("replaced.{number}"))).find(|path| !path.exists());
    let aside = aside.expect("there is a free number");
    std::fs::rename(directory, &aside).map_err(|error| NotTheSame::Io(aside, error))
}

/// Everything that was seen, in order: for whoever puts it back.
pub fn all_seen(directory: &Path) -> Result<Option<(Epoch, Vec<Change>)>, NotTheSame> {
    let Some(head) = FeedCopy::head_in(directory)? else { return Ok(None) };
    let mut seen = Vec::new();
    FeedCopy::open(directory, &[*head.public_key()], |changes| seen.extend_from_slice(changes))?;
    Ok(Some((*head.epoch(), seen)))
}

/// Keeps the copy up to date for as long as the runtime lives.
pub async fn keep(authority: Arc<Authority>, directory: PathBuf) {
    let mut told = false;
    loop {
        let Err(error) = keep_until_trouble(&authority, &directory).await else { return };
        if error.is_kept_by_another() {
            tracing::debug!("another process keeps the copy of the deny feed beside the registry");
        } else if !told {
            tracing::error!(%error, "the copy of the deny feed beside the registry is not up to date: an old registry may go unnoticed");
        }
        told |= !error.is_kept_by_another();
        tokio::time::sleep(LATER).await;
    }
}

async fn keep_until_trouble(authority: &Authority, directory: &Path) -> Result<(), NotTheSame> {
    let mut heads = authority.signed_heads();
    std::fs::create_dir_all(directory).map_err(|error| NotTheSame::Io(directory.to_owned(), error))?;
    let pinned: Vec<_> = FeedCopy::head_in(directory)?.iter().map(|head| *head.public_key()).collect();
    let (mut copy, _) = FeedCopy::open(directory, &pinned, |_| {})?;
    loop {
        let newest = *heads.borrow_and_update();
        if let Some(head) = newest {
            copy = add(authority, copy, head).await?;
        }
        tokio::time::sleep(PAUSE).await;
        if heads.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Heads that tell nothing new are passed over: one comes each second.
async fn add(authority: &Authority, mut copy: FeedCopy, head: SignedHead) -> Result<FeedCopy, NotTheSame> {
    let (epoch, seen) = copy.position().unwrap_or_else(|| (*head.epoch(), Chain::begin(head.epoch())));
    if epoch != *head.epoch() || (seen.number >= head.chain().number && copy.position().is_some()) {
        return Ok(copy);
    }
    let registry = authority.registry()?;
    let (mut entries, mut at) = (Vec::new(), seen);
    while at.number < head.chain().number {
        let (changes, after) = registry.changes_after(&at, PAGE).await?;
        let covered = changes.iter().filter(|change| change.seq <= head.chain().number);
        entries.extend(covered.filter_map(Change::encode).map(bytes::Bytes::from));
        at = after;
    }
    let written = tokio::task::spawn_blocking(move || copy.add(&entries, &head).map(|()| copy)).await;
    Ok(written.expect("it does not panic")?)
}

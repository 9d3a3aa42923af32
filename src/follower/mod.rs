//! A verifier's way to hear of denials: it follows the signed feed of an issuer, goes to the next one when that fails, and
//! keeps a copy on disk. It also reports the ids that it sees for the first time.

mod client;
mod copy;
mod witness;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::Code;

use crate::authority::{Authority, FromTheFuture};
use crate::config::Issuer;
use crate::feed::{Chain, Change, Epoch, NotNext, NotSigned, PublicKey, SignedHead};
use crate::registry::GenerationRow;
use crate::rpc::{MAX_REPORTED, v1};
use crate::site::Failure;
use client::{Connection, Remote, signed_head};
pub use copy::{CopyError, FeedCopy};
pub use witness::{NotTheSame, all_seen, check, keep};

/// Where an issuer keeps its copy of its own feed, in `state_dir`.
pub const WITNESS: &str = "feed";

/// Before another issuer is tried.
const PAUSE: Duration = Duration::from_millis(200);
/// An issuer that sends no head for so long is left for another: it should send one a second.
const SILENCE: Duration = Duration::from_secs(5);
/// How often new ids are reported.
const REPORT: Duration = Duration::from_secs(1);

/// What is followed, how far, and from whom.
pub struct Follower {
    authority: Arc<Authority>,
    copy: FeedCopy,
    /// Set when the copy could not be written: it stays as it was then, and is of use still.
    copy_failed: bool,
    at: Option<(Epoch, Chain)>,
    pinned: Vec<PublicKey>,
    issuers: Vec<Remote>,
}

/// Why an issuer is left.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("{0}")]
    Connect(Failure),
    #[error("{} ({:?})", .0.message(), .0.code())]
    Status(#[from] tonic::Status),
    #[error("it has ended the feed")]
    Ended,
    #[error("no head came for {} s", SILENCE.as_secs())]
    Silent,
    #[error("a head does not read")]
    Unreadable,
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    #[error(transparent)]
    NotNext(#[from] NotNext),
    #[error(transparent)]
    FromTheFuture(#[from] FromTheFuture),
    #[error("its deny feed is of another epoch than the one that is followed")]
    Epoch,
    #[error("the deny feeds have forked: entry {0} has another hash there than here")]
    Fork(i64),
}

impl Left {
    /// Whether the issuer tells another story than the one that is followed: no matter of time or network.
    fn contradicts(&self) -> bool {
        match self {
            Self::Status(status) => status.code() == Code::FailedPrecondition,
            Self::NotSigned(_) | Self::NotNext(_) | Self::Epoch | Self::Fork(_) => true,
            _ => false,
        }
    }
}

impl Follower {
    /// Takes in the copy in a directory. An old one is taken: how old denials may be is for each answer to judge.
    pub async fn start(
        authority: Arc<Authority>,
        directory: &Path,
        pinned: Vec<PublicKey>,
        issuers: &[Issuer],
    ) -> Result<Self, Failure> {
        let issuers = issuers.iter().map(Remote::new).collect::<Result<_, _>>()?;
        let mut generations = Vec::new();
        let (copy, head) = FeedCopy::open(directory, &pinned, |changes| {
            generations.extend(changes.iter().filter_map(GenerationRow::of_change));
            authority.take_denials(changes);
        })?;
        authority.take_in(&[], &generations).await;
        if let Some(head) = head {
            authority.take_head(&head)?;
            let age = authority.clock().now().map_or(0, |now| now - head.time());
            tracing::info!(entries = head.chain().number, age, "the copy of the deny feed is read");
            if age > authority.policy().max_staleness {
                tracing::warn!(age, "the copy of the deny feed is old: nothing is decided until an issuer is reached");
            }
        }
        Ok(Self { at: copy.position(), authority, copy, copy_failed: false, pinned, issuers })
    }

    /// Follows for as long as the runtime lives.
    pub async fn run(mut self) {
        let mut next = 0;
        let mut told = String::new();
        loop {
            let issuer = next % self.issuers.len();
            let before = self.at;
            let left = match self.issuers[issuer].connect().await {
                Ok(connection) => self.follow(connection).await,
                Err(failure) => Left::Connect(failure),
            };
            let text = format!("{}: {left}", self.issuers[issuer].url);
            if text != told || self.at != before {
                self.tell(&self.issuers[issuer].url, &left);
                told = text;
            }
            next += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn tell(&self, issuer: &str, left: &Left) {
        let as_of = self.authority.deny_list_as_of();
        if left.contradicts() {
            tracing::error!(
                issuer,
                %left,
                as_of,
                "ALARM: this issuer's deny feed is not the one that this verifier has followed, and is refused. If its registry \
                 was restored from a copy, denials made since may be lost there: make them again. Then, to follow the new \
                 feed, stop this verifier, remove feed.log and feed.head in its state_dir, and start it"
            );
        } else {
            tracing::warn!(issuer, %left, as_of, "the deny feed of this issuer cannot be followed now");
        }
    }

    /// Follows one issuer until it fails.
    async fn follow(&mut self, mut connection: Connection) -> Left {
        let mut stream = match connection.watch(self.at).await {
            Ok(stream) => stream,
            Err(status) => return status.into(),
        };
        let reports = report_forever(self.authority.clone(), connection);
        tokio::pin!(reports);
        let mut pending = Vec::new();
        loop {
            let message = tokio::select! {
                message = tokio::time::timeout(SILENCE, stream.message()) => message,
                () = &mut reports => continue,
            };
            let batch = match message {
                Ok(Ok(Some(batch))) => batch,
                Ok(Ok(None)) => return Left::Ended,
                Ok(Err(status)) => return status.into(),
                Err(_) => return Left::Silent,
            };
            if let Err(left) = self.take(batch, &mut pending).await {
                return left;
            }
        }
    }

    /// Takes a piece of the feed in. Entries wait until a signed head covers them.
    async fn take(&mut self, batch: v1::DenialBatch, pending: &mut Vec<Bytes>) -> Result<(), Left> {
        pending.extend(batch.entries);
        let Some(head) = batch.head else { return Ok(()) };
        let head = signed_head(&head, &self.pinned).ok_or(Left::Unreadable)??;
        let entries = std::mem::take(pending);
        let (at, changes) = self.check(&entries, &head)?;
        // On the disk first: what was refused once is refused after a restart, too.
        if !self.copy_failed
            && let Err(error) = self.copy.add(&entries, &head)
        {
            self.copy_failed = true;
            tracing::error!(%error, "the copy of the deny feed cannot be written: it stays as it is until a restart");
        }
        let generations: Vec<_> = changes.iter().filter_map(GenerationRow::of_change).collect();
        self.authority.take_in(&changes, &generations).await;
        self.at = Some(at);
        Ok(self.authority.take_head(&head)?)
    }

    /// Whether entries follow on what is known, and the head is theirs.
    fn check(&self, entries: &[Bytes], head: &SignedHead) -> Result<((Epoch, Chain), Vec<Change>), Left> {
        let (epoch, mut chain) = self.at.unwrap_or_else(|| (*head.epoch(), Chain::begin(head.epoch())));
        if epoch != *head.epoch() {
            return Err(Left::Epoch);
        }
        let mut changes = Vec::with_capacity(entries.len());
        for entry in entries {
            let (next, change) = chain.with_entry(entry)?;
            chain = next;
            changes.push(change);
        }
        match chain == head.chain() {
            true => Ok(((epoch, chain), changes)),
            false => Err(Left::Fork(head.chain().number)),
        }
    }
}

/// Reports new ids once a second. What could not be reported waits.
async fn report_forever(authority: Arc<Authority>, mut connection: Connection) {
    loop {
        let ids = authority.to_report(MAX_REPORTED);
        if !ids.is_empty() {
            match connection.report(&ids).await {
                Ok(denied) => {
                    authority.reported(&ids);
                    for id in denied {
                        tracing::error!(
                            access_key_id = id,
                            "ALARM: this verifier has accepted a key that nobody issued"
                        );
                    }
                }
                Err(status) => tracing::warn!(%status, ids = ids.len(), "new ids cannot be reported now"),
            }
        }
        tokio::time::sleep(REPORT).await;
    }
}

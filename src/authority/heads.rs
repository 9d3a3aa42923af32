//! Signing the head of the deny feed: at once after a change, and each second, by the control key in the HSM.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rederive_hsm::client::Unavailable;
use rederive_hsm::feed_head::FeedHead;
use tokio::sync::{Notify, watch};

use super::Authority;
use super::clock::Jumped;
use crate::feed::{Chain, NotSigned, SignedHead};
use crate::registry::RegistryError;

/// How often the registry is asked whether another process has changed something.
const POLL: Duration = Duration::from_millis(100);
/// How often a head is signed when nothing has changed.
const RENEW: Duration = Duration::from_secs(1);

/// The newest signed head, and who waits for it.
pub(super) struct Heads {
    newest: watch::Sender<Option<SignedHead>>,
    changed: Notify,
}

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
enum NoHead {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Clock(#[from] Jumped),
    #[error(transparent)]
    Hsm(#[from] Unavailable),
    #[error("the token signed wrongly: {0}")]
    Signature(#[from] NotSigned),
}

impl Default for Heads {
    fn default() -> Self {
        Self { newest: watch::Sender::new(None), changed: Notify::new() }
    }
}

impl Authority {
    /// The heads that this node signs, the newest first of all; none before the first.
    pub fn signed_heads(&self) -> watch::Receiver<Option<SignedHead>> {
        self.heads.newest.subscribe()
    }

    /// Has a head signed as soon as may be: there was a change.
    pub(super) fn wake_signer(&self) {
        self.heads.changed.notify_one();
    }

    async fn sign_head(&self, renew: bool) -> Result<(), NoHead> {
        // The time first: what is committed later is not promised.
        let time = self.clock.now()?;
        let (epoch, chain) = self.registry()?.feed_head().await?;
        let newest = *self.heads.newest.borrow();
        let is_new = newest.is_none_or(|newest| newest.chain() != chain);
        if !renew && !is_new {
            return Ok(());
        }
        let Chain { number, hash } = chain;
        let head = FeedHead { epoch, number: number.unsigned_abs(), hash, time };
        let (public_key, signature) = self.hsm.sign_head(head).await?;
        let signed = SignedHead::check(head, public_key, signature, &[public_key])?;
        self.heads.newest.send_replace(Some(signed));
        Ok(())
    }
}

/// Signs for as long as the runtime lives. Trouble is told when it begins and when it ends.
pub(super) async fn sign_forever(authority: Arc<Authority>) {
    let mut trouble: Option<String> = None;
    let mut renewed: Option<Instant> = None;
    authority.hsm.settled().await;
    loop {
        let renew = renewed.is_none_or(|at| at.elapsed() >= RENEW);
        match authority.sign_head(renew).await {
            Ok(()) if renew => renewed = Some(Instant::now()),
            Ok(()) => {}
            Err(error) => {
                let text = error.to_string();
                if trouble.as_ref() != Some(&text) {
                    tracing::error!(%error, "the deny feed has no signed head: verifiers that follow this node do not hear of denials");
                }
                trouble = Some(text);
                tokio::time::sleep(RENEW).await;
                continue;
            }
        }
        if trouble.take().is_some() {
            tracing::info!("the head of the deny feed is signed again");
        }
        let _ = tokio::time::timeout(POLL, authority.heads.changed.notified()).await;
    }
}

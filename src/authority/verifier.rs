//! An authority without a registry: what it knows of denials and generations comes from the signed feed.

use std::sync::Arc;

use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::client::Launch;
use rederive_hsm::session_token::Claims;
use tokio::task::JoinHandle;

use super::follow::every;
use super::generations::Generations;
use super::{Authority, Policy};
use crate::feed::{Change, SignedHead};
use crate::registry::{GenerationRow, Settings};

/// How far the time of a head may be ahead of this node's clock, in seconds. Such a head would count as fresh for longer than
/// it is.
const MAX_AHEAD: i64 = 10;
/// How often tag keys that are missing are asked for.
const TAG_KEYS: std::time::Duration = std::time::Duration::from_millis(200);

/// A head from the future: one of the two clocks is wrong.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the head of the deny feed is {0} s ahead of this node's clock: check both clocks")]
pub struct FromTheFuture(i64);

impl Authority {
    /// Starts the workers. Nothing is decided before the first head.
    pub fn start_verifier(settings: Settings, policy: Policy, launches: Vec<Launch>) -> (Arc<Self>, JoinHandle<()>) {
        let (authority, supervisor) = Self::new(None, Generations::default(), settings, policy, launches);
        tokio::spawn(ask_for_tag_keys_forever(authority.clone()));
        (authority, supervisor)
    }

    /// Takes in entries of the feed that a signed head covers: whoever calls has checked that.
    pub async fn take_in(&self, changes: &[Change], generations: &[GenerationRow]) {
        self.take_denials(changes);
        if !generations.is_empty() {
            self.take_generations(generations.to_vec()).await;
        }
    }

    /// The denials among them, and the terms of keys.
    pub(crate) fn take_denials(&self, changes: &[Change]) {
        self.denied.apply(changes);
        self.terms.apply(changes);
        self.changed();
    }

    /// Whether the deny list refuses a session. Asked of one whose token a worker has opened.
    pub fn is_session_denied(&self, session: &Claims) -> bool {
        self.denied.holds_session(session)
    }

    /// Everything up to this head was taken in. Never goes back: a head may come late.
    pub fn take_head(&self, head: &SignedHead) -> Result<(), FromTheFuture> {
        // A clock that is not trusted decides nothing anyway.
        let ahead = self.clock.now().map_or(0, |now| head.time() - now);
        if ahead > MAX_AHEAD {
            return Err(FromTheFuture(ahead));
        }
        self.denied.is_current_at(self.denied.as_of().max(head.time()));
        Ok(())
    }

    /// Ids that wait to be reported.
    pub fn to_report(&self, at_most: usize) -> Vec<AccessKeyId> {
        self.first_seen.to_report(at_most)
    }

    /// They were.
    pub fn reported(&self, ids: &[AccessKeyId]) {
        self.first_seen.reported(ids);
    }
}

async fn ask_for_tag_keys_forever(authority: Arc<Authority>) {
    let mut ticks = every(TAG_KEYS);
    loop {
        ticks.tick().await;
        authority.ask_for_tag_keys().await;
    }
}

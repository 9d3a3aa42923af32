//! All workers of all tokens, and what is thought of each.

use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::balance::Balance;
use super::lanes::Lanes;
use super::line::Line;
use super::replicas::Replicas;
use super::{Counts, Unavailable};
use crate::config::GenerationConfig;

/// One worker as the pool knows it.
pub(super) struct Member {
    pub(super) line: Line,
    /// The number of its token.
    pub(super) token: usize,
    /// After how long another one is asked instead.
    pub(super) deadline: Duration,
    /// Wakes whoever checks it.
    pub(super) look: Notify,
}

/// The workers, and the books over them.
pub(super) struct Pool {
    /// The tokens' names.
    pub(super) tokens: Vec<Arc<str>>,
    pub(super) members: Vec<Member>,
    pub(super) balance: Mutex<Balance>,
    /// When a worker last computed a recorded check value.
    pub(super) checked: Mutex<Option<Instant>>,
    /// Told whenever a worker's standing changes.
    pub(super) changed: watch::Sender<()>,
    /// What was recorded of the generations that live.
    pub(super) generations: RwLock<Vec<GenerationConfig>>,
    pub(super) replicas: Replicas,
    pub(super) counts: Arc<Counts>,
    pub(super) lanes: Lanes,
    /// After how long a caller is told that there is no answer.
    pub(super) deadline: Duration,
}

impl Pool {
    /// The books, for one look.
    pub(super) fn books(&self) -> MutexGuard<'_, Balance> {
        // They are whole between any two statements.
        self.balance.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A worker erred.
    pub(super) fn doubt(&self, worker: usize, reason: &str) {
        if self.books().doubt(worker, reason) {
            tracing::warn!(
                token = &*self.tokens[self.members[worker].token],
                worker,
                reason,
                "an HSM worker is doubted"
            );
            self.changed.send_replace(());
        }
        self.members[worker].look.notify_one();
    }

    /// A reason with the token's name.
    pub(super) fn of_token(&self, worker: usize, reason: &str) -> String {
        format!("token '{}': {reason}", self.tokens[self.members[worker].token])
    }

    pub(super) fn unavailable(&self, reason: String) -> Unavailable {
        Unavailable { reason }
    }
}

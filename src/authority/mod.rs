//! Decisions: verify a request, issue a key, deny one.
//!
//! The authority owns what a decision needs: the registry, the worker of the token, the deny list, the generations, the
//! clock and the caches. [`Authority::verify`] shows the steps of a verification; the pure ones are in [`crate::sigv4`].

mod any_version;
mod asker;
mod at_hand;
mod client_token;
mod clock;
mod cold;
mod denied_ids;
mod deny_list;
mod explain;
mod first_seen;
mod follow;
mod generations;
mod heads;
mod identity;
mod issue;
mod last_used;
mod principals;
mod public_keys;
mod regions;
mod reports;
mod second_opinion;
mod shapes;
mod signing_keys;
mod terms;
mod verifier;
mod verify;
mod verify_v2;
mod verify_v4a;

pub use any_version::AcceptedBy;
pub use asker::Asker;
pub use client_token::ClientToken;
pub use clock::Clock;
pub use cold::UsedUp;
pub use cold::{Derivation, Told};
pub use follow::{Followed, known_generations};
pub use generations::worker_view;
pub use identity::{Identity, Principal, PrincipalSource};
pub use issue::{IssueError, Issued, KeyRequest, NewKeySpec, RootKey};
pub use verifier::FromTheFuture;
pub use verify::{Accepted, CannotDecide, Content, Holder, NotAccepted};
pub use verify_v2::AcceptedV2;
pub use verify_v4a::AcceptedV4a;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;

use rederive_hsm::access_key_id::{AccessKeyId, Layout, Prefixes};
use rederive_hsm::client::{Hsm, Status};
use tokio::sync::watch;

use crate::config::Names;
use crate::registry::{Registry, RegistryError};
use cold::Cold;
use deny_list::DenyList;
use first_seen::FirstSeen;
use generations::Generations;
use heads::Heads;
use last_used::Uses;
use principals::Principals;
use public_keys::PublicKeys;
use regions::Regions;
use shapes::Shapes;
use signing_keys::SigningKeys;
use terms::TermsHeard;

/// How a node decides.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Signing keys that are kept.
    pub signing_keys: usize,
    /// Keys whose owners are kept in memory.
    pub principals: usize,
    /// How old the deny list may be, in seconds.
    pub max_staleness: i64,
    /// Keys a user may have.
    pub keys_per_user: u32,
    /// After how long a caller is told that there is no decision, the way there and back included.
    pub deadline: Duration,
    /// Callers that may wait for it in each lane.
    pub hsm_queue: usize,
    /// Answers of the HSM that are in no cache, a second, for one account.
    pub cold_per_account: u32,
    /// On how many tokens a generation's check value must have been computed before keys are made in it.
    pub min_replicas: usize,
    /// How long a new generation is announced before keys are made in it, in seconds: every node that decides must have heard
    /// of it by then.
    pub announce: i64,
    /// Services that take Signature V2.
    pub signature_v2: Names,
    /// Names by which S3 is known, in front of which a bucket may stand.
    pub s3_hosts: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            signing_keys: 100_000,
            principals: 100_000,
            max_staleness: 60,
            keys_per_user: 2,
            deadline: Duration::from_millis(250),
            hsm_queue: 4096,
            cold_per_account: 10_000,
            min_replicas: 1,
            announce: 3,
            signature_v2: Names::default(),
            s3_hosts: Vec::new(),
        }
    }
}

impl Policy {
    /// How long a decision may wait for the HSM and the registry, over all that it asks of them: the rest is for the way over HTTP,
    /// which on a full machine takes tens of milliseconds.
    fn for_a_decision(&self) -> Duration {
        self.deadline * 22 / 25
    }

    /// How long it may wait for one answer of the HSM: a little less, so that the log tells what was late.
    fn for_an_answer(&self) -> Duration {
        self.deadline * 21 / 25
    }
}

/// Decides for one node.
pub struct Authority {
    hsm: Hsm,
    /// A verifier has none.
    registry: Option<Registry>,
    policy: Policy,
    prefixes: Prefixes,
    layout: Layout,
    clock: Clock,
    generations: RwLock<Generations>,
    /// Counts what may change the judgement of an id; counted up after the change is in place.
    changes: AtomicU64,
    denied: DenyList,
    /// Only a verifier's holds anything.
    terms: TermsHeard,
    principals: Principals,
    signing_keys: SigningKeys,
    shapes: Shapes,
    public_keys: PublicKeys,
    regions: Regions,
    cold: Cold,
    uses: Uses,
    first_seen: FirstSeen,
    heads: Heads,
    followed: tokio::sync::Mutex<Followed>,
    draining: watch::Sender<bool>,
}

impl Authority {
    /// The registry. A verifier has none, which is trouble for whoever needs it.
    pub fn registry(&self) -> Result<&Registry, RegistryError> {
        self.registry.as_ref().ok_or(RegistryError::None)
    }

    /// The workers, for their counts and status.
    pub fn hsm(&self) -> &Hsm {
        &self.hsm
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Questions to the HSM that were put off because an account, or a caller, has had its part; by whose part it was.
    pub fn put_off(&self) -> [(&'static str, u64); 2] {
        self.cold.put_off()
    }

    /// How this node decides.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Up to when denials are known, in seconds since 1970.
    pub fn deny_list_as_of(&self) -> i64 {
        self.denied.as_of()
    }

    /// Says that this node is about to end: it is not ready any more, but answers what still comes.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Becomes true when this node is about to end.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// What keeps this node from deciding, if anything does; why is for the log. Costs the HSM nothing.
    pub async fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if *self.draining.borrow() {
            troubles.push("draining: this node is about to end".into());
        }
        match self.hsm.status() {
            Status::Ready if self.hsm.was_checked_lately() => {}
            Status::Ready => troubles.push("the HSM has not passed a check within 10 s".into()),
            Status::Starting => troubles.push("the HSM worker is starting".into()),
            Status::Down(_) | Status::Latched(_) => troubles.push("the HSM worker is down".into()),
        }
        if let Some(registry) = &self.registry
            && let Err(error) = registry.check_writable().await
        {
            tracing::error!(%error, "the registry failed its check");
            troubles.push("the registry cannot be written".into());
        }
        match self.clock.now() {
            Ok(now) => {
                let stale = self.denied.check_fresh(now, self.policy.max_staleness);
                troubles.extend(stale.err().map(|stale| stale.to_string()));
            }
            Err(jumped) => troubles.push(jumped.to_string()),
        }
        let missing = self.generations().without_tag_key();
        if !missing.is_empty() {
            troubles.push("the worker has not given every tag key yet".into());
        }
        troubles
    }

    /// Writes the uses of keys that are not in the registry yet.
    pub async fn write_uses(&self) {
        let Some(registry) = &self.registry else { return };
        if let Err(error) = self.uses.write(registry).await {
            tracing::warn!(%error, "uses of keys are not recorded yet");
        }
    }

    /// The generations, locked for reading: for one look, never across a wait.
    fn generations(&self) -> RwLockReadGuard<'_, Generations> {
        // They are whole between any two changes.
        self.generations.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn change_generations(&self, change: impl FnOnce(&mut Generations)) {
        change(&mut self.generations.write().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.changed();
    }

    /// The number of the last change to what an id is judged by. Read before judging.
    fn change(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Makes every judgement of before stale.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// A denied or unknown id looks the same from outside; the log tells them apart.
    fn log_refused_id(&self, id: &AccessKeyId, why: &dyn std::fmt::Display) {
        tracing::info!(access_key_id = %id, %why, "an access key id is refused");
    }
}

//! Following the registry: what other processes change there reaches this one's memory within a fraction of a second.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rederive_hsm::client::{Bounds, Hsm, Launch};
use rederive_hsm::config::GenerationConfig;
use tokio::sync::watch;

use super::cold::Cold;
use super::deny_list::DenyList;
use super::first_seen::FirstSeen;
use super::generations::Generations;
use super::heads::{Heads, sign_forever};
use super::public_keys::PublicKeys;
use super::terms::TermsHeard;
use super::{Authority, Clock, Policy};
use super::{last_used::Uses, principals::Principals, regions::Regions, shapes::Shapes, signing_keys::SigningKeys};
use crate::feed::{Chain, Change};
use crate::registry::{GenerationRow, Registry, RegistryError, Settings, renamed_user};

/// How often the registry is asked for changes.
const POLL: Duration = Duration::from_millis(100);
/// How often the uses of keys are written.
const WRITE_USES: Duration = Duration::from_secs(1);
/// How often keys are looked for whose time is over.
const EXPIRE: Duration = Duration::from_secs(1);
/// Changes that are read at a time.
const PAGE: u32 = 1000;

/// Up to which change the memory follows.
pub struct Followed {
    chain: Chain,
}

/// What a worker of this node is to know of the generations in the registry.
pub async fn known_generations(registry: &Registry) -> Result<Vec<GenerationConfig>, RegistryError> {
    Ok(Generations::of(registry.generations().await?).for_worker())
}

impl Authority {
    /// Starts the workers, one launch a token, loads what the registry knows, and follows it for as long as the runtime lives.
    pub async fn start(
        registry: Registry,
        settings: Settings,
        policy: Policy,
        launches: Vec<Launch>,
    ) -> Result<(Arc<Self>, tokio::task::JoinHandle<()>), RegistryError> {
        let generations = Generations::of(registry.generations().await?);
        let (authority, supervisor) = Self::new(Some(registry), generations, settings, policy, launches);
        authority.load().await?;
        tokio::spawn(follow_forever(authority.clone()));
        tokio::spawn(listen_forever(authority.clone()));
        tokio::spawn(write_uses_forever(authority.clone()));
        tokio::spawn(expire_forever(authority.clone()));
        tokio::spawn(sign_forever(authority.clone()));
        Ok((authority, supervisor))
    }

    /// With its worker starting, and nothing known of denials.
    pub(super) fn new(
        registry: Option<Registry>,
        generations: Generations,
        settings: Settings,
        policy: Policy,
        launches: Vec<Launch>,
    ) -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        let clock = Clock::start();
        let bounds = Bounds { deadline: policy.for_an_answer(), queue: policy.hsm_queue };
        let (hsm, supervisor) = Hsm::start(launches, bounds);
        let authority = Arc::new(Self {
            hsm,
            clock,
            prefixes: settings.prefixes,
            layout: settings.layout,
            generations: RwLock::new(generations),
            changes: AtomicU64::new(0),
            denied: DenyList::default(),
            terms: TermsHeard::default(),
            principals: Principals::new(policy.principals),
            shapes: Shapes::default(),
            signing_keys: SigningKeys::new(policy.signing_keys, policy.for_an_answer()),
            public_keys: PublicKeys::new(policy.signing_keys, policy.for_an_answer()),
            regions: Regions::default(),
            cold: Cold::new(policy.cold_per_account),
            uses: Uses::default(),
            first_seen: FirstSeen::default(),
            heads: Heads::default(),
            followed: tokio::sync::Mutex::new(Followed { chain: Chain { number: 0, hash: [0; 32] } }),
            draining: watch::Sender::new(false),
            registry,
            policy,
        });
        (authority, supervisor)
    }

    /// Takes in every change up to now, so that the next request meets it.
    pub async fn catch_up(&self) -> Result<(), RegistryError> {
        let mut followed = self.followed.lock().await;
        // Taken before reading: changes made meanwhile are not promised.
        let now = self.clock.now().ok();
        let before = followed.chain;
        loop {
            let (changes, chain) = self.registry()?.changes_after(&followed.chain, PAGE).await?;
            if !changes.is_empty() {
                self.apply(&changes).await?;
            }
            followed.chain = chain;
            if (changes.len() as u32) < PAGE {
                break;
            }
        }
        if let Some(now) = now {
            self.denied.is_current_at(now);
        }
        if followed.chain != before {
            self.wake_signer();
        }
        Ok(())
    }

    async fn load(&self) -> Result<(), RegistryError> {
        let mut followed = self.followed.lock().await;
        let now = self.clock.now().unwrap_or(0);
        let list = self.registry()?.denied_keys().await?;
        for row in &list.malformed {
            tracing::error!(row, "a malformed row is left out; no request can carry such an id");
        }
        self.denied.load(&list.ids, list.accounts, list.sessions, now);
        self.changed();
        // Every entry has its hash then.
        let registry = self.registry()?;
        registry.feed_head().await?;
        followed.chain = registry.hash_of_change(list.as_of).await?.ok_or(RegistryError::None)?;
        Ok(())
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), RegistryError> {
        self.denied.apply(changes);
        changes.iter().filter_map(renamed_user).for_each(|user_id| self.principals.forget(&user_id));
        self.changed();
        if changes.iter().any(|change| change.kind.is_of_generation()) {
            self.take_generations(self.registry()?.generations().await?).await;
        }
        Ok(())
    }

    /// A generation was created or changed its state: the workers are replaced by ones that know.
    ///
    /// Nobody may be sent to a worker that does not know yet, or not any more. So a right is given to the workers first and
    /// taken from them last; only a closing holds in memory at once.
    pub(super) async fn take_generations(&self, rows: Vec<GenerationRow>) {
        self.change_generations(|generations| generations.close(&rows));
        let next = Generations::of(rows.clone()).for_worker();
        self.hsm.reconfigure(still_issuing(next.clone(), &self.hsm.generations())).await;
        self.change_generations(|generations| generations.update(rows));
        self.hsm.reconfigure(next).await;
    }

    async fn expire_keys(&self) -> Result<(), RegistryError> {
        let Ok(now) = self.clock.now() else { return Ok(()) };
        match self.registry()?.expire_keys(now).await? {
            0 => Ok(()),
            _ => self.catch_up().await,
        }
    }

    async fn follow(&self) {
        match self.catch_up().await {
            Ok(()) => {}
            // A node that ends has closed its registry.
            Err(error) if *self.draining.borrow() => tracing::debug!(%error, "the registry is not followed any more"),
            Err(error) => {
                tracing::error!(%error, as_of = self.deny_list_as_of(), "the registry cannot be followed");
            }
        }
        self.ask_for_tag_keys().await;
    }

    /// Asks the worker for the tag keys that are missing: after the start, and after a new generation.
    pub async fn ask_for_tag_keys(&self) {
        let missing = self.generations().without_tag_key();
        for generation in missing {
            match self.hsm.tag_key(generation).await {
                Ok(tag_key) => self.change_generations(|generations| generations.set_tag_key(generation, tag_key)),
                // The worker's own state is told by its supervisor, once.
                Err(error) => tracing::debug!(%generation, %error, "no tag key yet"),
            }
        }
    }
}

/// The next generations, with the right to make keys in those that have it now.
fn still_issuing(mut next: Vec<GenerationConfig>, now: &[GenerationConfig]) -> Vec<GenerationConfig> {
    for one in &mut next {
        one.issuing |= now.iter().any(|known| known.number == one.number && known.issuing);
    }
    next
}

async fn follow_forever(authority: Arc<Authority>) {
    let mut ticks = every(POLL);
    loop {
        ticks.tick().await;
        authority.follow().await;
    }
}

/// Where the registry can tell of changes, they are taken in at once.
async fn listen_forever(authority: Arc<Authority>) {
    let Some(mut listener) = authority.registry.as_ref().map(Registry::listener) else { return };
    loop {
        listener.heard().await;
        if let Err(error) = authority.catch_up().await {
            // The poll tells of it.
            tracing::debug!(%error, "a change that was heard of is not taken in yet");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Switches off what has expired. Several issuers may; the first does.
async fn expire_forever(authority: Arc<Authority>) {
    let mut ticks = every(EXPIRE);
    loop {
        ticks.tick().await;
        if let Err(error) = authority.expire_keys().await {
            tracing::error!(%error, "keys that have expired are not switched off yet");
        }
    }
}

async fn write_uses_forever(authority: Arc<Authority>) {
    let mut ticks = every(WRITE_USES);
    loop {
        ticks.tick().await;
        authority.write_uses().await;
    }
}

pub(super) fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

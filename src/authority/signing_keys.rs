//! Signing keys that were asked for before: bounded, wiped on eviction, one request to the worker however many wait.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::client::{Source, Unavailable};
use rederive_hsm::derivation::TokenHash;
use rederive_hsm::signing_key::SigningKey;
use tokio::sync::OnceCell;

use super::Identity;
use super::shapes::ShapesOfKey;
use super::verify::Holder;
use crate::sigv4::{CredentialScope, CredentialText, PreparedSigningKey};

/// What a signing key is the key of. Never the id alone: ids of sessions collide, and only the token tells them apart.
#[derive(Clone, Copy)]
pub struct KeyName<'a> {
    /// The id, which names the master through its generation.
    pub id: AccessKeyId,
    /// The hash of the session token, or none for a long-term key.
    pub token: Option<&'a TokenHash>,
    /// The date, region and service.
    pub scope: CredentialScope<'a>,
}

/// A name in a cache.
#[derive(Clone, PartialEq, Eq)]
struct KeptName {
    credential: CredentialText,
    token: Option<TokenHash>,
}

impl KeyName<'_> {
    fn to_kept(self) -> KeptName {
        KeptName { credential: self.credential(), token: self.token.copied() }
    }

    /// How a request writes it.
    pub fn credential(&self) -> CredentialText {
        CredentialText::new(self.id.as_str(), &self.scope)
    }
}

impl Hash for KeptName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ClaimedName(self.credential.as_bytes()).hash(state);
        if let Some(token) = &self.token {
            token.hash(state);
        }
    }
}

/// The credential of a long-term key as it stands in a request, before anything of it was judged. Where a key of that name
/// is at hand, it was.
struct ClaimedName<'a>(&'a [u8]);

impl Hash for ClaimedName<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

impl Equivalent<KeptName> for ClaimedName<'_> {
    fn equivalent(&self, kept: &KeptName) -> bool {
        kept.token.is_none() && *self.0 == *kept.credential.as_bytes()
    }
}

/// A signing key under which a signature has matched, and all else that its next request needs.
pub struct ProvenKey {
    /// Its id.
    pub id: AccessKeyId,
    /// How a request names it, which its shapes need.
    pub credential: CredentialText,
    /// How requests are written that it signs.
    pub shapes: ShapesOfKey,
    /// The key.
    pub key: Arc<PreparedSigningKey>,
    /// Whose it is.
    pub holder: Holder,
    /// Who signs with it, put into words when it is first told.
    pub identity: OnceLock<Arc<Identity>>,
    /// The change as of which its id was found good (see `Authority::verify_at_hand`).
    pub good_as_of: u64,
    /// The second in which its use was noted last.
    noted: AtomicI64,
}

impl ProvenKey {
    /// A key that was found good, as of a change.
    pub fn new(name: &KeyName<'_>, key: Arc<PreparedSigningKey>, holder: Holder, good_as_of: u64) -> Self {
        Self {
            id: name.id,
            credential: name.credential(),
            shapes: ShapesOfKey::default(),
            key,
            holder,
            identity: OnceLock::new(),
            good_as_of,
            noted: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether this is the first use in its second: once a second is often enough to note it.
    pub fn is_first_use_at(&self, now: i64) -> bool {
        self.noted.load(Ordering::Relaxed) < now && self.noted.fetch_max(now, Ordering::Relaxed) < now
    }
}

/// A signing key under which nothing has matched yet. One wrong bit of the token would refuse everybody for as long as it is kept,
/// so nobody is refused by it alone.
pub struct UnprovenKey {
    /// The key.
    pub key: Arc<PreparedSigningKey>,
    /// Who derived it.
    pub source: Source,
    /// The same, derived once more elsewhere, when it was needed.
    second: OnceCell<Arc<PreparedSigningKey>>,
}

impl UnprovenKey {
    fn new((key, source): (SigningKey, Source)) -> Self {
        Self { key: Arc::new(PreparedSigningKey::new(key)), source, second: OnceCell::new() }
    }

    /// What another derivation gives, which is done once however many ask; none if it is the same key.
    pub async fn contradicted_by(
        &self,
        fetch: impl Future<Output = Result<SigningKey, Unavailable>>,
    ) -> Result<Option<Arc<PreparedSigningKey>>, Unavailable> {
        let prepared = async { fetch.await.map(|key| Arc::new(PreparedSigningKey::new(key))) };
        let second = self.second.get_or_try_init(|| prepared).await?;
        let is_same = self.key.signing_key().ct_eq(second.signing_key());
        Ok((!is_same).then(|| second.clone()))
    }
}

/// The cache. Keys that have not matched a signature yet stay apart in a small one, so that requests with made-up
/// scopes, which anybody can send for an id that they have seen, cannot push good keys out.
pub struct SigningKeys {
    proven: Cache<KeptName, Arc<ProvenKey>>,
    unproven: Cache<KeptName, Arc<UnprovenKey>>,
    deadline: Duration,
}

impl SigningKeys {
    /// With room for so many keys that have matched, and a sixteenth of that for those that have not.
    pub fn new(capacity: usize, deadline: Duration) -> Self {
        Self { proven: Cache::new(capacity), unproven: Cache::new((capacity / 16).max(64)), deadline }
    }

    /// The key of that name, if a signature has matched under it.
    pub fn proven(&self, name: &KeyName<'_>) -> Option<Arc<ProvenKey>> {
        self.proven.get(&name.to_kept())
    }

    /// The same for the credential of a long-term key, which nobody has judged.
    #[inline]
    pub fn proven_as_claimed(&self, credential: &[u8]) -> Option<Arc<ProvenKey>> {
        self.proven.get(&ClaimedName(credential))
    }

    /// The key of that name, if it is at hand and nothing has matched under it.
    pub fn unproven(&self, name: &KeyName<'_>) -> Option<Arc<UnprovenKey>> {
        self.unproven.get(&name.to_kept())
    }

    /// The key of that name from the worker. Callers that want the same key wait for one answer.
    pub async fn ask(
        &self,
        name: &KeyName<'_>,
        fetch: impl Future<Output = Result<(SigningKey, Source), Unavailable>>,
    ) -> Result<Arc<UnprovenKey>, Unavailable> {
        let late = |_| Unavailable { reason: "others wait for the same key, and none came in time".into() };
        let kept = name.to_kept();
        // Whoever is the first does not wait here, and so needs no timer: the answer that it asks for has its own deadline.
        let waiting = self.unproven.get_value_or_guard_async(&kept);
        match tokio::time::timeout(self.deadline, waiting).await.map_err(late)? {
            Ok(key) => Ok(key),
            Err(first) => {
                let key = Arc::new(UnprovenKey::new(fetch.await?));
                // If it was forgotten meanwhile, it is not kept.
                let _ = first.insert(key.clone());
                Ok(key)
            }
        }
    }

    /// This key was derived otherwise elsewhere: nobody is to meet it any more.
    pub fn forget(&self, name: &KeyName<'_>) {
        self.unproven.remove(&name.to_kept());
    }

    /// A signature matched under this key: it is among the good ones, as of this change.
    pub fn matched(&self, name: &KeyName<'_>, key: ProvenKey) -> Arc<ProvenKey> {
        let (key, name) = (Arc::new(key), name.to_kept());
        self.unproven.remove(&name);
        self.proven.insert(name, key.clone());
        key
    }
}

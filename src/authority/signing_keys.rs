//! Signing keys that were asked for before: bounded, wiped on eviction, one request to the worker however many wait.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use rederive_hsm::access_key_id::{AccessKeyId, ID_LEN};
use rederive_hsm::client::{Source, Unavailable};
use rederive_hsm::derivation::TokenHash;
use rederive_hsm::signing_key::SigningKey;
use tokio::sync::OnceCell;

use super::Identity;
use super::verify::Holder;
use crate::sigv4::{CredentialScope, PreparedSigningKey};

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

/// The name of a long-term key as it stands in a request, before anything of it was judged. Where a key of that name is
/// at hand, it was.
#[derive(Clone, Copy)]
pub struct ClaimedName<'a> {
    /// Whatever the request has for an id.
    pub id: &'a str,
    /// The date, region and service.
    pub scope: CredentialScope<'a>,
}

/// A name in a cache.
#[derive(Clone, PartialEq, Eq)]
struct KeptName {
    id: AccessKeyId,
    token: Option<TokenHash>,
    scope: [Box<str>; 3],
}

impl KeyName<'_> {
    fn to_kept(self) -> KeptName {
        KeptName { id: self.id, token: self.token.copied(), scope: parts(&self.scope).map(Into::into) }
    }
}

fn parts<'a>(scope: &CredentialScope<'a>) -> [&'a str; 3] {
    [scope.date(), scope.region(), scope.service()]
}

impl Hash for KeyName<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.id.as_bytes(), self.token, parts(&self.scope), state);
    }
}

impl Hash for ClaimedName<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.id.as_bytes(), None, parts(&self.scope), state);
    }
}

impl Hash for KeptName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.id.as_bytes(), self.token.as_ref(), self.scope.each_ref().map(|part| &**part), state);
    }
}

/// Of a name and of the same name in a cache alike.
fn hash<H: Hasher>(id: &[u8], token: Option<&TokenHash>, scope: [&str; 3], state: &mut H) {
    state.write(id);
    if let Some(token) = token {
        token.hash(state);
    }
    scope.iter().for_each(|part| state.write(part.as_bytes()));
}

impl KeptName {
    fn is(&self, id: &[u8], token: Option<&TokenHash>, scope: &CredentialScope<'_>) -> bool {
        // As arrays, the compiler compares them without a call.
        <&[u8; ID_LEN]>::try_from(id).is_ok_and(|id| self.id.as_bytes() == id)
            && self.token.as_ref() == token
            && parts(scope).iter().zip(&self.scope).all(|(asked, kept)| **asked == **kept)
    }
}

impl Equivalent<KeptName> for KeyName<'_> {
    fn equivalent(&self, kept: &KeptName) -> bool {
        kept.is(self.id.as_bytes(), self.token, &self.scope)
    }
}

impl Equivalent<KeptName> for ClaimedName<'_> {
    fn equivalent(&self, kept: &KeptName) -> bool {
        kept.is(self.id.as_bytes(), None, &self.scope)
    }
}

/// A signing key under which a signature has matched, and all else that its next request needs.
pub struct ProvenKey {
    /// Its id.
    pub id: AccessKeyId,
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
    pub fn new(id: AccessKeyId, key: Arc<PreparedSigningKey>, holder: Holder, good_as_of: u64) -> Self {
        Self { id, key, holder, identity: OnceLock::new(), good_as_of, noted: AtomicI64::new(i64::MIN) }
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
        self.proven.get(name)
    }

    /// The same for a name that nobody has judged.
    pub fn proven_as_claimed(&self, name: &ClaimedName<'_>) -> Option<Arc<ProvenKey>> {
        self.proven.get(name)
    }

    /// The key of that name, if it is at hand and nothing has matched under it.
    pub fn unproven(&self, name: &KeyName<'_>) -> Option<Arc<UnprovenKey>> {
        self.unproven.get(name)
    }

    /// The key of that name from the worker. Callers that want the same key wait for one answer.
    pub async fn ask(
        &self,
        name: &KeyName<'_>,
        fetch: impl Future<Output = Result<(SigningKey, Source), Unavailable>>,
    ) -> Result<Arc<UnprovenKey>, Unavailable> {
        let prepared = async { fetch.await.map(|key| Arc::new(UnprovenKey::new(key))) };
        let late = |_| Unavailable { reason: "others wait for the same key, and none came in time".into() };
        let kept = name.to_kept();
        let waiting = self.unproven.get_or_insert_async(&kept, prepared);
        tokio::time::timeout(self.deadline, waiting).await.map_err(late)?
    }

    /// This key was derived otherwise elsewhere: nobody is to meet it any more.
    pub fn forget(&self, name: &KeyName<'_>) {
        self.unproven.remove(name);
    }

    /// A signature matched under this key: it is among the good ones, as of this change.
    pub fn matched(&self, name: &KeyName<'_>, key: ProvenKey) -> Arc<ProvenKey> {
        let key = Arc::new(key);
        self.proven.insert(name.to_kept(), key.clone());
        self.unproven.remove(name);
        key
    }
}

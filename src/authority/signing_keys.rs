//! Signing keys that were asked for before: bounded, wiped on eviction, one request to the worker however many wait.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::client::Unavailable;
use rederive_hsm::derivation::TokenHash;
use rederive_hsm::signing_key::SigningKey;

use crate::sigv4::PreparedSigningKey;

/// What a signing key is the key of. Never the id alone: ids of sessions collide, and only the token tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyName {
    /// The id, which names the master through its generation.
    pub id: AccessKeyId,
    /// The hash of the session token, or none for a long-term key.
    pub token: Option<TokenHash>,
    /// The eight digits of the scope's date.
    pub date: [u8; 8],
    /// The scope's region.
    pub region: ScopeText,
    /// The scope's service.
    pub service: ScopeText,
}

/// A region or service, in place: at most 32 characters, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeText([u8; 32]);

impl ScopeText {
    /// `None` when it is longer than a scope's parts can be.
    pub fn new(text: &str) -> Option<Self> {
        let mut padded = [0; 32];
        padded.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(padded))
    }
}

/// A signing key, and whether a signature has matched under it.
pub struct Found {
    /// The key.
    pub key: Arc<PreparedSigningKey>,
    /// Whether the worker was waited for.
    pub waited: bool,
    proven: bool,
}

/// The cache. Keys that have not matched a signature yet stay apart in a small one, so that requests with made-up
/// scopes, which anybody can send for an id that they have seen, cannot push good keys out.
pub struct SigningKeys {
    proven: Cache<KeyName, Arc<PreparedSigningKey>>,
    unproven: Cache<KeyName, Arc<PreparedSigningKey>>,
    deadline: Duration,
}

impl SigningKeys {
    /// With room for so many keys that have matched, and a sixteenth of that for those that have not.
    pub fn new(capacity: usize, deadline: Duration) -> Self {
        Self { proven: Cache::new(capacity), unproven: Cache::new((capacity / 16).max(64)), deadline }
    }

    /// The key of that name, if it is at hand.
    pub fn at_hand(&self, name: &KeyName) -> Option<Found> {
        let found = |key, proven| Found { key, waited: false, proven };
        self.proven
            .get(name)
            .map(|key| found(key, true))
            .or_else(|| self.unproven.get(name).map(|key| found(key, false)))
    }

    /// The key of that name from the worker. Callers that want the same key wait for one answer.
    pub async fn ask(
        &self,
        name: &KeyName,
        fetch: impl Future<Output = Result<SigningKey, Unavailable>>,
    ) -> Result<Found, Unavailable> {
        let prepared = async { fetch.await.map(|key| Arc::new(PreparedSigningKey::new(key))) };
        let late = |_| Unavailable {
            token: "any".into(),
            reason: "others wait for the same key, and none came in time".into(),
        };
        let waiting = self.unproven.get_or_insert_async(name, prepared);
        let key = tokio::time::timeout(self.deadline, waiting).await.map_err(late)??;
        Ok(Found { key, waited: true, proven: false })
    }

    /// A signature matched under this key: it moves to the good ones.
    pub fn matched(&self, name: &KeyName, found: Found) {
        if !found.proven {
            self.proven.insert(*name, found.key);
            self.unproven.remove(name);
        }
    }
}

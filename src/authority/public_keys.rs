//! Public keys of Signature V4A that were asked for before. One is good for every day, region and service, and it is no
//! secret: nothing can be signed with it.

use std::time::Duration;

use quick_cache::sync::Cache;
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::client::Unavailable;
use rederive_hsm::sigv4a_key::PublicKey;

/// The cache: by the id, which names the master through its generation. Only ids of long-term keys come here: those of
/// sessions collide.
pub struct PublicKeys {
    keys: Cache<AccessKeyId, PublicKey>,
    deadline: Duration,
}

impl PublicKeys {
    /// With room for so many.
    pub fn new(capacity: usize, deadline: Duration) -> Self {
        Self { keys: Cache::new(capacity), deadline }
    }

    /// The key of an id, if it is at hand.
    pub fn at_hand(&self, id: &AccessKeyId) -> Option<PublicKey> {
        self.keys.get(id)
    }

    /// The key of an id from the worker. Callers that want the same key wait for one answer.
    pub async fn ask(
        &self,
        id: &AccessKeyId,
        fetch: impl Future<Output = Result<PublicKey, Unavailable>>,
    ) -> Result<PublicKey, Unavailable> {
        let late = |_| Unavailable { reason: "others wait for the same public key, and none came in time".into() };
        let waiting = self.keys.get_or_insert_async(id, fetch);
        tokio::time::timeout(self.deadline, waiting).await.map_err(late)?
    }
}

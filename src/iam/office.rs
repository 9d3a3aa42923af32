//! What the IAM API needs of the authority: issuing keys and changing their status.

use rederive_hsm::access_key_id::AccessKeyId;

use crate::authority::{Authority, IssueError, Issued, KeyRequest};
use crate::registry::{KeyStatus, Owner, RegistryError};

/// The part of the authority that issues keys and changes their status.
///
/// What it answers holds from the next request on: the registry and the deny list in memory have it already.
pub trait KeyOffice: Send + Sync {
    /// Issues a key to an owner, or finds the one that its client token has led to.
    fn issue_key(
        &self,
        owner: &Owner,
        request: &KeyRequest,
        now: i64,
    ) -> impl Future<Output = Result<Issued, IssueError>> + Send;

    /// Changes the status of an owner's key, or deletes it. `by` is the key that signed the request.
    fn set_status(
        &self,
        id: &AccessKeyId,
        owner: &Owner,
        status: KeyStatus,
        by: AccessKeyId,
        now: i64,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Takes in what was changed in the registry, so that the next request meets it.
    fn catch_up(&self) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Keys that a user may have.
    fn keys_per_user(&self) -> u32;
}

impl KeyOffice for Authority {
    async fn issue_key(&self, owner: &Owner, request: &KeyRequest, now: i64) -> Result<Issued, IssueError> {
        Authority::issue_key(self, owner, Some(request), now).await
    }

    async fn set_status(
        &self,
        id: &AccessKeyId,
        owner: &Owner,
        status: KeyStatus,
        by: AccessKeyId,
        now: i64,
    ) -> Result<(), RegistryError> {
        self.set_key_status(id, owner, status, by, now).await
    }

    async fn catch_up(&self) -> Result<(), RegistryError> {
        Authority::catch_up(self).await
    }

    fn keys_per_user(&self) -> u32 {
        self.policy().keys_per_user
    }
}

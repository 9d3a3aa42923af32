//! What the IAM API needs of the authority: issuing keys and changing their status.

use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::client::Unavailable;
use rederive_hsm::secret::SecretAccessKey;

use crate::registry::{KeyRow, KeyStatus, Owner, RegistryError, UsedSignature};

/// The part of the authority that issues keys and changes their status.
///
/// What it answers holds from the next request on: the registry and the deny list in memory have it already.
pub trait KeyOffice: Send + Sync {
    /// Issues a key to an owner. `created_by` is the key that signed the request, `signature` is good for one key.
    fn issue_key(
        &self,
        owner: &Owner,
        created_by: AccessKeyId,
        signature: UsedSignature,
        now: i64,
    ) -> impl Future<Output = Result<Issued, IssueError>> + Send;

    /// Changes the status of an owner's key, or deletes it.
    fn set_status(
        &self,
        id: &AccessKeyId,
        owner: &Owner,
        status: KeyStatus,
        now: i64,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;
}

/// A new key, and the only copy of its secret.
#[derive(Debug)]
pub struct Issued {
    /// Its row in the registry.
    pub row: KeyRow,
    /// Its secret, for the one answer that carries it.
    pub secret: SecretAccessKey,
}

/// Why no key was issued. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No generation issues for the account's share.
    #[error("no issuing generation has the account in its range of shares")]
    NoGeneration,
    /// Every attempt drew an id that is taken.
    #[error("every id that was drawn is taken")]
    NoFreeId,
    /// The HSM worker can't answer.
    #[error(transparent)]
    Hsm(#[from] Unavailable),
    /// The registry says no, or is in trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

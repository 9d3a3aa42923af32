//! Issuing keys and denying them: first the registry, then memory, then the answer.

use rederive_hsm::access_key_id::{AccessKeyId, Account};
use rederive_hsm::client::Unavailable;
use rederive_hsm::secret::SecretAccessKey;
use sha2::{Digest, Sha256};

use super::Authority;
use crate::iam::{IssueError, Issued, KeyOffice};
use crate::registry::{KeyRow, KeyStatus, NewKey, Owner, RegistryError, UsedSignature};

/// How many serial numbers are tried before giving up. At half of 2^20 used, one in a billion accounts gets here.
const ATTEMPTS: usize = 30;

/// A root key, as `account create` and `dev` print it.
pub struct RootKey {
    /// The access key id.
    pub id: AccessKeyId,
    /// The secret, shown now and never again.
    pub secret: SecretAccessKey,
}

impl KeyOffice for Authority {
    async fn issue_key(
        &self,
        owner: &Owner,
        created_by: AccessKeyId,
        signature: UsedSignature,
        now: i64,
    ) -> Result<Issued, IssueError> {
        let generation = self.generations().issuing_for(owner.account).ok_or(IssueError::NoGeneration)?;
        for _ in 0..ATTEMPTS {
            let nonce = random_nonce()?;
            let (id, secret) = self.hsm.issue(generation, owner.account, self.needs_row(), nonce).await?;
            let new = NewKey {
                id,
                owner: owner.clone(),
                created_by: Some(created_by),
                signature: Some(signature),
                quota: self.policy.keys_per_user,
                at: now,
            };
            match self.registry.insert_key(&new).await {
                Ok(row) => return Ok(Issued { row, secret }),
                Err(RegistryError::DuplicateId(_)) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        Err(IssueError::NoFreeId)
    }

    async fn set_status(
        &self,
        id: &AccessKeyId,
        owner: &Owner,
        status: KeyStatus,
        now: i64,
    ) -> Result<(), RegistryError> {
        self.registry.set_key_status(id, owner, status, now).await?;
        // The next request must meet the new status, so memory follows before the answer leaves.
        self.catch_up().await
    }
}

impl Authority {
    /// The root key of a new account, made with a fixed nonce: `dev` derives the same pair at each start.
    pub async fn fixed_root_key(&self, account: Account, now: i64) -> Result<RootKey, IssueError> {
        let generation = self.generations().issuing_for(account).ok_or(IssueError::NoGeneration)?;
        let nonce = Sha256::digest(b"rederive dev root key").into();
        let (id, secret) = self.hsm.issue(generation, account, self.needs_row(), nonce).await?;
        match self.registry.key(&id).await? {
            Some(row) => check_root(&row, account)?,
            None => self.insert_root(id, account, now).await?,
        }
        Ok(RootKey { id, secret })
    }

    /// A root key for a new account, by an operator's command.
    pub async fn new_root_key(&self, account: Account, now: i64) -> Result<RootKey, IssueError> {
        let generation = self.generations().issuing_for(account).ok_or(IssueError::NoGeneration)?;
        for _ in 0..ATTEMPTS {
            let nonce = random_nonce()?;
            let (id, secret) = self.hsm.issue(generation, account, self.needs_row(), nonce).await?;
            match self.insert_root(id, account, now).await {
                Ok(()) => return Ok(RootKey { id, secret }),
                Err(RegistryError::DuplicateId(_)) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        Err(IssueError::NoFreeId)
    }

    async fn insert_root(&self, id: AccessKeyId, account: Account, at: i64) -> Result<(), RegistryError> {
        let owner = Owner { account, user_id: None };
        let quota = self.policy.keys_per_user;
        let new = NewKey { id, owner, created_by: None, signature: None, quota, at };
        self.registry.insert_key(&new).await.map(|_| ())
    }

    /// R: the opaque layout always needs the row; keys without scopes or expiry in the account layout do not.
    fn needs_row(&self) -> bool {
        self.layout == rederive_hsm::access_key_id::Layout::Opaque
    }
}

/// The fixed root key must still be what it was: an id of that account's root.
fn check_root(row: &KeyRow, account: Account) -> Result<(), IssueError> {
    if row.account == account && row.user.is_none() { Ok(()) } else { Err(IssueError::NoFreeId) }
}

fn random_nonce() -> Result<[u8; 32], IssueError> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| {
        IssueError::Hsm(Unavailable {
            token: "none".into(),
            reason: format!("the system gives no random numbers: {error}"),
        })
    })?;
    Ok(nonce)
}

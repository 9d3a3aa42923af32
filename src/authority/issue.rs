//! Issuing keys and denying them: first the registry, then memory, then the answer.

use rederive_hsm::access_key_id::{AccessKeyId, Account, Generation, Layout};
use rederive_hsm::client::Unavailable;
use rederive_hsm::secret::SecretAccessKey;
use sha2::{Digest, Sha256};

use super::{Authority, ClientToken};
use crate::key_terms::KeyTerms;
use crate::registry::{KeyRow, KeyStatus, Made, NewKey, Owner, RegistryError, UsedSignature};

/// How many serial numbers are tried before giving up. With half of the numbers used, one issue in a billion gets here.
const ATTEMPTS: u32 = 30;

/// A new key, and the only copy of its secret.
#[derive(Debug)]
pub struct Issued {
    /// Its row in the registry.
    pub row: KeyRow,
    /// Its secret, for the one answer that carries it.
    pub secret: SecretAccessKey,
    /// Whether it was made before, and is told again to who has its client token.
    pub again: bool,
}

/// What a new key is to be.
#[derive(Clone, Debug, Default)]
pub struct NewKeySpec {
    /// Until when, and for what it is to be good.
    pub terms: KeyTerms,
    /// Its description, for a user's key: a tag's value.
    pub description: Option<String>,
}

/// What a client asks for a key with.
pub struct KeyRequest {
    /// The key that signed.
    pub by: AccessKeyId,
    /// The signature, which is good for one answer with a secret.
    pub signature: UsedSignature,
    /// With the same one within a day, it is the same key.
    pub token: Option<ClientToken>,
    /// What it is to be.
    pub new: NewKeySpec,
}

/// Why no key was issued. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No generation issues for the account's share.
    #[error(
        "no issuing generation has the account in its range of shares: run 'rederive generation create --config …'"
    )]
    NoGeneration,
    /// Every attempt drew an id that is taken.
    #[error("every id that was drawn is taken")]
    NoFreeId,
    /// The key of a client token cannot be derived again: what ids look like was changed since, or its generation was
    /// retired, whose secrets no worker tells any more.
    #[error(
        "{0}, which the client token has led to, cannot be derived again: layout or prefix of new ids were changed, \
         or its generation makes no keys any more"
    )]
    NotDerivedAgain(AccessKeyId),
    /// The HSM worker can't answer.
    #[error(transparent)]
    Hsm(#[from] Unavailable),
    /// The registry says no, or is in trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A root key, as `account create` and `dev` print it.
pub struct RootKey {
    /// The access key id.
    pub id: AccessKeyId,
    /// The secret, shown now and never again.
    pub secret: SecretAccessKey,
}

/// Whether the account is there before the key is.
#[derive(Clone, Copy)]
enum AccountIs {
    Registered,
    /// It is registered with the key, or neither is.
    New,
}

impl Authority {
    /// Makes a key for an owner, or finds it by its client token. `request` is none for an operator's command.
    pub async fn issue_key(&self, owner: &Owner, request: Option<&KeyRequest>, now: i64) -> Result<Issued, IssueError> {
        let new = request.map_or_else(NewKeySpec::default, |request| request.new.clone());
        self.issue(owner, request, AccountIs::Registered, &new, now).await
    }

    /// Makes a key as an operator wants it.
    pub async fn issue_as(&self, owner: &Owner, new: &NewKeySpec, now: i64) -> Result<Issued, IssueError> {
        self.issue(owner, None, AccountIs::Registered, new, now).await
    }

    async fn issue(
        &self,
        owner: &Owner,
        request: Option<&KeyRequest>,
        account: AccountIs,
        new: &NewKeySpec,
        now: i64,
    ) -> Result<Issued, IssueError> {
        let mut generation = self.issuing_generation(owner.account, now)?;
        let token = request.and_then(|request| request.token.as_ref());
        let (created_by, signature) = request.map(|request| (request.by, request.signature)).unzip();
        for attempt in 0..ATTEMPTS {
            let nonce = token.map_or_else(random_nonce, |token| Ok(token.nonce(attempt)))?;
            let (id, secret) = match self.derive_new(generation, owner.account, !new.terms.is_none(), nonce).await {
                Ok(made) => made,
                Err(error) => {
                    generation = self.next_after(generation, owner.account, now).await.ok_or(error)?;
                    continue;
                }
            };
            let quota = self.policy.keys_per_user;
            let NewKeySpec { terms, description } = new.clone();
            let to = owner.clone();
            let new = NewKey { id, owner: to, created_by, signature, quota, terms, description, at: now };
            let inserted = match (token, account) {
                (Some(token), _) => self.registry()?.insert_key_once(&new, &token.used(attempt)).await,
                (None, AccountIs::Registered) => self.registry()?.insert_key(&new).await.map(Made::New),
                (None, AccountIs::New) => self.registry()?.create_account_with_key(&new).await.map(Made::New),
            };
            match inserted {
                Ok(Made::New(row)) => return Ok(Issued { row, secret, again: false }),
                Ok(Made::Before(row, before)) => {
                    let nonce = token.map_or(nonce, |token| token.nonce(before));
                    return self.derive_again(row, nonce).await;
                }
                Err(RegistryError::DuplicateId(_)) => continue,
                Err(error @ RegistryError::NotIssuing { .. }) => {
                    generation = self.next_after(generation, owner.account, now).await.ok_or(error)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(IssueError::NoFreeId)
    }

    /// The secret of a key that was made before. Its generation may not be the one in which keys are made now.
    async fn derive_again(&self, row: KeyRow, nonce: [u8; 32]) -> Result<Issued, IssueError> {
        if self.generations().has_retired(row.generation) {
            return Err(IssueError::NotDerivedAgain(row.id));
        }
        let (id, secret) = self.derive_new(row.generation, row.account, !row.terms.is_none(), nonce).await?;
        if id == row.id { Ok(Issued { row, secret, again: true }) } else { Err(IssueError::NotDerivedAgain(row.id)) }
    }

    /// Where new keys of an account are made.
    fn issuing_generation(&self, account: Account, now: i64) -> Result<Generation, IssueError> {
        let (wanted, generations) = (self.policy.min_replicas, self.generations());
        let is_on_enough_tokens = |generation| self.hsm.replicas(generation) >= wanted;
        let found = generations.issuing_for(account, now, self.policy.announce, is_on_enough_tokens);
        match (found, generations.first_issuing_for(account)) {
            (Some(generation), _) => Ok(generation),
            (None, None) => Err(IssueError::NoGeneration),
            (None, Some(generation)) => {
                let seen = self.hsm.replicas(generation);
                let reason =
                    format!("generation {generation} was seen on {seen} tokens, and keys are made from {wanted} on");
                Err(Unavailable { reason }.into())
            }
        }
    }

    /// The generation that has taken another's place meanwhile, if one has: masters are rotated while keys are made.
    async fn next_after(&self, generation: Generation, account: Account, now: i64) -> Option<Generation> {
        if let Err(error) = self.catch_up().await {
            tracing::warn!(%error, "the registry cannot be followed");
        }
        self.issuing_generation(account, now).ok().filter(|next| *next != generation)
    }

    /// The root key of `dev`, made with a fixed nonce in the first generation: the same pair at each start, derived anew.
    pub async fn fixed_root_key(&self, account: Account, now: i64) -> Result<RootKey, IssueError> {
        let nonce = Sha256::digest(b"rederive dev root key").into();
        let generation = self.generations().first_issuing_for(account).ok_or(IssueError::NoGeneration)?;
        let (id, secret) = self.derive_new(generation, account, false, nonce).await?;
        let owner = Owner { account, user_id: None };
        match self.registry()?.key(&id).await? {
            Some(row) if row.owner() == owner => {}
            Some(_) => return Err(IssueError::NoFreeId),
            None => {
                let quota = self.policy.keys_per_user;
                let NewKeySpec { terms, description } = NewKeySpec::default();
                let new = NewKey { id, owner, created_by: None, signature: None, quota, terms, description, at: now };
                self.registry()?.insert_key(&new).await?;
            }
        }
        Ok(RootKey { id, secret })
    }

    /// A new account with its first root key, by an operator's command. There is never one without the other.
    pub async fn new_account(&self, account: Account, now: i64) -> Result<RootKey, IssueError> {
        self.root_key(account, AccountIs::New, now).await
    }

    /// A further root key of an account, by an operator's command.
    pub async fn new_root_key(&self, account: Account, now: i64) -> Result<RootKey, IssueError> {
        self.root_key(account, AccountIs::Registered, now).await
    }

    async fn root_key(&self, number: Account, account: AccountIs, now: i64) -> Result<RootKey, IssueError> {
        let Issued { row, secret, .. } =
            self.issue(&Owner { account: number, user_id: None }, None, account, &NewKeySpec::default(), now).await?;
        Ok(RootKey { id: row.id, secret })
    }

    /// Changes the status of an owner's key, or deletes it, for a request that the key `by` has signed. The next request
    /// meets the new status: memory has followed before this returns.
    pub async fn set_key_status(
        &self,
        id: &AccessKeyId,
        owner: &Owner,
        status: KeyStatus,
        by: AccessKeyId,
        now: i64,
    ) -> Result<(), RegistryError> {
        self.registry()?.on_behalf_of(by).set_key_status(id, owner, status, now).await?;
        self.catch_up().await
    }

    /// A new id and its secret from the worker. R is set where the key's row says more than its id, or the layout always needs it.
    async fn derive_new(
        &self,
        generation: Generation,
        account: Account,
        needs_row: bool,
        nonce: [u8; 32],
    ) -> Result<(AccessKeyId, SecretAccessKey), Unavailable> {
        self.hsm.issue(generation, account, needs_row || self.layout == Layout::Opaque, nonce).await
    }
}

fn random_nonce() -> Result<[u8; 32], IssueError> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce)
        .map_err(|error| Unavailable { reason: format!("the system gives no random numbers: {error}") })?;
    Ok(nonce)
}

//! What an operator does with accounts and keys: by commands, and by the API on a local socket. Never for a tenant.
//!
//! Everything is recorded in the audit log, and a key that cannot be is deleted before anybody has seen it.

mod api;
mod door;

use rederive_hsm::access_key_id::{Account, MAX_ACCOUNT};
use serde_json::json;

pub use door::{OperatorBindError, OperatorDoor};

use crate::audit::{Audit, AuditError, Event, UserIdentity};
use crate::authority::{Authority, IssueError, Issued, NewKeySpec, RootKey};
use crate::registry::{KeyAge, KeyStatus, Owner, Registry, RegistryError, UserRow};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum OperatorError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Nothing was done.
    #[error(transparent)]
    CannotRecord(#[from] AuditError),
    #[error("the new key was deleted again, for it could not be recorded: {0}")]
    KeyNotRecorded(AuditError),
    #[error("it is done, and not recorded: {0}")]
    NotRecorded(AuditError),
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

type Result<T> = std::result::Result<T, OperatorError>;

/// A key that an operator wants made.
pub struct Wanted {
    /// The account of the user.
    pub account: Account,
    /// The user's name.
    pub user: String,
    /// What it is to be.
    pub key: NewKeySpec,
}

/// An operator at work: whoever it is, and where it is recorded.
pub struct Operator {
    audit: Audit,
    by: UserIdentity,
}

impl Operator {
    /// Whoever runs this process, by a command.
    pub fn of_command(audit: Audit) -> Self {
        Self { audit, by: UserIdentity::operator() }
    }

    /// The system's user of that number, through the API.
    fn of_user(audit: Audit, uid: u32) -> Self {
        Self { audit, by: UserIdentity::operator_of(uid) }
    }

    /// Makes an account with its first root key: there is never one without the other.
    pub async fn create_account(&self, authority: &Authority, account: Account, now: i64) -> Result<RootKey> {
        self.audit.check().await?;
        let root = authority.new_account(account, now).await?;
        self.record_root_key("CreateAccount", authority.registry()?, account, root, now).await
    }

    /// Makes a further root key of an account.
    pub async fn create_root_key(&self, authority: &Authority, account: Account, now: i64) -> Result<RootKey> {
        self.audit.check().await?;
        let root = authority.new_root_key(account, now).await?;
        self.record_root_key("CreateRootKey", authority.registry()?, account, root, now).await
    }

    async fn record_root_key(
        &self,
        name: &str,
        registry: &Registry,
        account: Account,
        root: RootKey,
        now: i64,
    ) -> Result<RootKey> {
        let event = self
            .event(name, account, now)
            .with_parameters(json!({ "accountId": account.to_string() }))
            .with_response(json!({ "accessKey": { "accessKeyId": root.id.as_str(), "status": "Active" } }));
        if let Err(error) = self.audit.record(event).await {
            let owner = Owner { account, user_id: None };
            registry.set_key_status(&root.id, &owner, KeyStatus::Deleted, now).await?;
            return Err(OperatorError::KeyNotRecorded(error));
        }
        Ok(root)
    }

    /// Makes a key for a user that there is, within its quota.
    pub async fn create_key(&self, authority: &Authority, wanted: &Wanted, now: i64) -> Result<(UserRow, Issued)> {
        let (registry, account) = (authority.registry()?, wanted.account);
        let user = registry.user_by_name(account, &wanted.user).await?;
        self.audit.check().await?;
        let owner = Owner { account, user_id: Some(user.user_id.clone()) };
        let issued = authority.issue_as(&owner, &wanted.key, now).await?;
        let id = issued.row.id;
        let event = self
            .event("CreateAccessKey", account, now)
            .with_parameters(json!({
                "userName": user.name, "terms": wanted.key.terms.encode(), "description": wanted.key.description,
            }))
            .with_response(
                json!({ "accessKey": { "accessKeyId": id.as_str(), "status": "Active", "userName": user.name } }),
            );
        if let Err(error) = self.audit.record(event).await {
            registry.set_key_status(&id, &owner, KeyStatus::Deleted, now).await?;
            return Err(OperatorError::KeyNotRecorded(error));
        }
        Ok((user, issued))
    }

    /// Sets how many keys a user of an account may have; `None` for the default.
    pub async fn set_quota(&self, registry: &Registry, account: Account, keys: Option<u32>, now: i64) -> Result<()> {
        self.audit.check().await?;
        registry.set_keys_per_user(account, keys).await?;
        let event = self.event("SetAccountQuota", account, now).with_parameters(json!({ "keysPerUser": keys }));
        self.audit.record(event).await.map_err(OperatorError::NotRecorded)
    }

    /// Sets how old the keys of an account may become: see [`Registry::set_key_age`].
    pub async fn set_key_age(
        &self,
        registry: &Registry,
        account: Account,
        age: KeyAge,
        ends: i64,
        now: i64,
    ) -> Result<()> {
        self.audit.check().await?;
        registry.set_key_age(account, age, ends, now).await?;
        let told = json!({ "maxAge": age.max, "warning": age.warning, "ends": ends });
        let event = self.event("SetAccountKeyAge", account, now).with_parameters(told);
        self.audit.record(event).await.map_err(OperatorError::NotRecorded)
    }

    fn event(&self, name: &str, account: Account, now: i64) -> Event {
        Event::by_operator(self.by.clone(), name, now).about(account, None)
    }
}

/// A random account number, drawn evenly.
pub fn random_account() -> Result<Account> {
    loop {
        // 40 bits hold the numbers; those above are drawn again.
        if let Some(account) = Account::new(getrandom::u64()? >> 24).filter(|account| account.number() <= MAX_ACCOUNT) {
            return Ok(account);
        }
    }
}

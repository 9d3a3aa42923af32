//! Policies of users: inline documents, and the ARNs of managed ones. What they say is not the registry's affair.

use rederive_hsm::access_key_id::Account;

use super::cells::Cells;
use super::transaction::transact;
use super::{Connection, Page, Registry, RegistryError, Result, UserId, query, users};

/// Every policy of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPolicies {
    /// The ARNs of managed ones, in order.
    pub attached: Vec<String>,
    /// Names and documents of inline ones, in order of their names.
    pub inline: Vec<(String, String)>,
}

/// How many policies a user may have.
#[derive(Clone, Copy, Debug)]
pub struct PolicyLimits {
    /// Managed ones.
    pub attached: u32,
    /// Characters of all inline documents together, white space not counted.
    pub inline_size: usize,
}

impl Registry {
    /// Every policy of a user.
    pub async fn policies_of(&self, user_id: &UserId) -> Result<UserPolicies> {
        all(&mut self.readers.acquire().await?, user_id).await
    }

    /// How many users of an account have a managed policy.
    pub async fn attachments(&self, account: Account, arn: &str) -> Result<i64> {
        let row = query(
            "SELECT count(*) FROM attached_policies a JOIN users u ON u.user_id = a.user_id \
             WHERE u.account = $1 AND u.deleted_at IS NULL AND a.arn = $2",
        )
        .bind(super::accounts::as_int(account))
        .bind(arn)
        .fetch_one(&mut self.readers.acquire().await?)
        .await?;
        Ok(row.try_get(0)?)
    }

    /// Attaches a managed policy; it may be attached already.
    pub async fn attach_policy(
        &self,
        account: Account,
        user_id: &UserId,
        arn: &str,
        limits: PolicyLimits,
        at: i64,
    ) -> Result<()> {
        transact!(self, |transaction| attach(transaction, account, user_id, arn, limits, at))
    }

    /// Detaches a managed policy.
    pub async fn detach_policy(&self, account: Account, user_id: &UserId, arn: &str) -> Result<()> {
        transact!(self, |transaction| detach(transaction, account, user_id, arn))
    }

    /// Stores an inline policy, in place of one of that name.
    pub async fn put_policy(
        &self,
        account: Account,
        user_id: &UserId,
        name: &str,
        document: &str,
        limits: PolicyLimits,
    ) -> Result<()> {
        transact!(self, |transaction| put(transaction, account, user_id, name, document, limits))
    }

    /// Removes an inline policy.
    pub async fn delete_policy(&self, account: Account, user_id: &UserId, name: &str) -> Result<()> {
        transact!(self, |transaction| delete(transaction, account, user_id, name))
    }

    /// The document of an inline policy.
    pub async fn policy(&self, user_id: &UserId, name: &str) -> Result<String> {
        let found = query("SELECT name, document FROM user_policies WHERE user_id = $1 AND name = $2")
            .bind(user_id.as_str())
            .bind(name)
            .fetch_optional(&mut self.readers.acquire().await?)
            .await?;
        let row = found.ok_or_else(|| RegistryError::NoSuchPolicy(name.into()))?;
        Cells::of(&row, "user_policies", "name").text("document")
    }

    /// The names of a user's inline policies, those after the name `after` only.
    pub async fn policy_names(&self, user_id: &UserId, after: Option<&str>, limit: u32) -> Result<Page<String>> {
        let names = "SELECT name FROM user_policies WHERE user_id = $1 AND name > $2 ORDER BY name LIMIT $3";
        self.names(names, user_id, after, limit).await
    }

    /// The ARNs of a user's managed policies, those after the ARN `after` only.
    pub async fn attached_policies(&self, user_id: &UserId, after: Option<&str>, limit: u32) -> Result<Page<String>> {
        let arns = "SELECT arn AS name FROM attached_policies WHERE user_id = $1 AND arn > $2 ORDER BY arn LIMIT $3";
        self.names(arns, user_id, after, limit).await
    }

    async fn names(&self, sql: &str, user_id: &UserId, after: Option<&str>, limit: u32) -> Result<Page<String>> {
        let rows = query(sql)
            .bind(user_id.as_str())
            .bind(after.unwrap_or(""))
            .bind(i64::from(limit) + 1)
            .fetch_all(&mut self.readers.acquire().await?)
            .await?;
        Ok(Page::of(&rows, limit, |row| Cells::of(row, "policies", "name").text("name")))
    }
}

async fn all(connection: &mut Connection, user_id: &UserId) -> Result<UserPolicies> {
    let attached = query("SELECT arn FROM attached_policies WHERE user_id = $1 ORDER BY arn")
        .bind(user_id.as_str())
        .fetch_all(connection)
        .await?;
    let inline = query("SELECT name, document FROM user_policies WHERE user_id = $1 ORDER BY name")
        .bind(user_id.as_str())
        .fetch_all(connection)
        .await?;
    let read = |row| {
        let cells = Cells::of(row, "user_policies", "name");
        Ok((cells.text("name")?, cells.text("document")?))
    };
    Ok(UserPolicies {
        attached: attached
            .iter()
            .map(|row| Cells::of(row, "attached_policies", "arn").text("arn"))
            .collect::<Result<_>>()?,
        inline: inline.iter().map(read).collect::<Result<_>>()?,
    })
}

async fn attach(
    transaction: &mut Connection,
    account: Account,
    user_id: &UserId,
    arn: &str,
    limits: PolicyLimits,
    at: i64,
) -> Result<()> {
    check_user(transaction, account, user_id).await?;
    let attached = all(transaction, user_id).await?.attached;
    if attached.iter().any(|one| one == arn) {
        return Ok(());
    }
    if attached.len() >= limits.attached as usize {
        let text = format!("Cannot exceed quota for PoliciesPerUser: {}", limits.attached);
        return Err(RegistryError::TooMuch(text));
    }
    query("INSERT INTO attached_policies (user_id, arn, attached_at) VALUES ($1, $2, $3)")
        .bind(user_id.as_str())
        .bind(arn)
        .bind(at)
        .execute(transaction)
        .await?;
    Ok(())
}

async fn detach(transaction: &mut Connection, account: Account, user_id: &UserId, arn: &str) -> Result<()> {
    check_user(transaction, account, user_id).await?;
    let gone = query("DELETE FROM attached_policies WHERE user_id = $1 AND arn = $2")
        .bind(user_id.as_str())
        .bind(arn)
        .execute(transaction)
        .await?;
    if gone == 0 { Err(RegistryError::NoSuchPolicy(arn.into())) } else { Ok(()) }
}

async fn put(
    transaction: &mut Connection,
    account: Account,
    user_id: &UserId,
    name: &str,
    document: &str,
    limits: PolicyLimits,
) -> Result<()> {
    check_user(transaction, account, user_id).await?;
    let size = |document: &str| document.chars().filter(|c| !c.is_whitespace()).count();
    let others = all(transaction, user_id).await?.inline;
    let others = others.iter().filter(|(other, _)| other != name).map(|(_, document)| size(document));
    if others.sum::<usize>() + size(document) > limits.inline_size {
        let text = format!("Maximum policy size of {} bytes exceeded for user", limits.inline_size);
        return Err(RegistryError::TooMuch(text));
    }
    query(
        "INSERT INTO user_policies (user_id, name, document) VALUES ($1, $2, $3) \
         ON CONFLICT (user_id, name) DO UPDATE SET document = excluded.document",
    )
    .bind(user_id.as_str())
    .bind(name)
    .bind(document)
    .execute(transaction)
    .await?;
    Ok(())
}

async fn delete(transaction: &mut Connection, account: Account, user_id: &UserId, name: &str) -> Result<()> {
    check_user(transaction, account, user_id).await?;
    let gone = query("DELETE FROM user_policies WHERE user_id = $1 AND name = $2")
        .bind(user_id.as_str())
        .bind(name)
        .execute(transaction)
        .await?;
    if gone == 0 { Err(RegistryError::NoSuchPolicy(name.into())) } else { Ok(()) }
}

/// Whether a user has any policy.
pub(super) async fn has_any(transaction: &mut Connection, user_id: &UserId) -> Result<bool> {
    let policies = all(transaction, user_id).await?;
    Ok(policies != UserPolicies::default())
}

async fn check_user(transaction: &mut Connection, account: Account, user_id: &UserId) -> Result<()> {
    match users::by_id(transaction, account, user_id).await? {
        Some(_) => Ok(()),
        None => Err(RegistryError::NoSuchUser { account, user: user_id.to_string() }),
    }
}

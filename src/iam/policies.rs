//! Policies of users: attached managed ones, inline ones; and the managed ones that there are.

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::authorize::{Details, Subject};
use super::call::Call;
use super::constraint::{Check, MARKER, PATH_PREFIX, POLICY_ARN, POLICY_DOCUMENT, POLICY_NAME, USER_NAME, VERSION_ID};
use super::error::ApiError;
use super::marker;
use super::office::KeyOffice;
use super::xml::Members;
use crate::policy::{MANAGED, Managed, Policy};
use crate::registry::{PolicyLimits, RegistryError, UserRow};

/// AWS's own limits.
pub(super) const LIMITS: PolicyLimits = PolicyLimits { attached: 10, inline_size: 2048 };
/// The version of a managed policy; each has one.
const VERSION: &str = "v1";
/// When managed policies came to be: they are as old as the program.
const CREATED: &str = "2026-11-22T00:00:00Z";

pub(super) async fn attach<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let (user, arn) = user_and_arn(call).await?;
    let (arn, account) = (managed(arn)?.arn(), call.caller.account);
    call.registry.attach_policy(account, &user.user_id, &arn, LIMITS, call.now).await?;
    Ok(call.reply_without_output())
}

pub(super) async fn detach<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let (user, arn) = user_and_arn(call).await?;
    let detached = call.registry.detach_policy(call.caller.account, &user.user_id, arn).await;
    detached.map_err(|error| match error {
        RegistryError::NoSuchPolicy(arn) => ApiError::no_such_entity(format!("Policy {arn} was not found.")),
        error => error.into(),
    })?;
    Ok(call.reply_without_output())
}

async fn user_and_arn<'a, O: KeyOffice>(call: &Call<'a, O>) -> Result<(UserRow, &'a str), ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.required("UserName", &USER_NAME), check.required("PolicyArn", &POLICY_ARN));
    let (name, arn) = check.finish(read)?;
    let details = Details { policy_arn: Some(arn), ..Details::default() };
    call.authorize_with(&Subject::User(name), &details).await?;
    Ok((call.registry.user_by_name(call.caller.account, name).await?, arn))
}

fn managed(arn: &str) -> Result<&'static Managed, ApiError> {
    Managed::by_arn(arn)
        .ok_or_else(|| ApiError::no_such_entity(format!("Policy {arn} does not exist or is not attachable.")))
}

pub(super) async fn list_attached<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (
        check.required("UserName", &USER_NAME),
        check.optional("PathPrefix", &PATH_PREFIX),
        check.optional("Marker", &MARKER),
        check.max_items(),
    );
    let (name, prefix, from, limit) = check.finish(read)?;
    call.authorize(&Subject::User(name)).await?;
    let user = call.registry.user_by_name(call.caller.account, name).await?;
    let after = from.map(marker::read).transpose()?;
    let page = call.registry.attached_policies(&user.user_id, after.as_deref(), limit).await?;
    // Every managed policy has the path "/".
    let wanted = prefix.is_none_or(|prefix| prefix == "/");
    let attached = page.items.iter().filter(|_| wanted).map(|arn| AttachedPolicy {
        policy_name: Managed::by_arn(arn).map_or(arn.as_str(), |managed| managed.name),
        policy_arn: arn,
    });
    let last = page.items.last().filter(|_| page.truncated);
    Ok(call.reply(&ListAttachedUserPoliciesResult {
        attached_policies: attached.collect(),
        is_truncated: page.truncated,
        marker: last.map(|arn| marker::after(arn)),
    }))
}

pub(super) async fn put<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (
        check.required("UserName", &USER_NAME),
        check.required("PolicyName", &POLICY_NAME),
        check.required("PolicyDocument", &POLICY_DOCUMENT),
    );
    let (user, name, document) = check.finish(read)?;
    call.authorize(&Subject::User(user)).await?;
    let row = call.registry.user_by_name(call.caller.account, user).await?;
    Policy::parse(document).map_err(|error| ApiError::sender(400, "MalformedPolicyDocument", error.to_string()))?;
    call.registry.put_policy(call.caller.account, &row.user_id, name, document, LIMITS).await?;
    Ok(call.reply_without_output())
}

pub(super) async fn get<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let (user, name) = user_and_name(call).await?;
    let document = call.registry.policy(&user.user_id, name).await.map_err(|error| no_such_policy(error, name))?;
    Ok(call.reply(&GetUserPolicyResult {
        user_name: &user.name,
        policy_name: name,
        policy_document: encoded(&document),
    }))
}

pub(super) async fn delete<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let (user, name) = user_and_name(call).await?;
    let deleted = call.registry.delete_policy(call.caller.account, &user.user_id, name).await;
    deleted.map_err(|error| no_such_policy(error, name))?;
    Ok(call.reply_without_output())
}

async fn user_and_name<'a, O: KeyOffice>(call: &Call<'a, O>) -> Result<(UserRow, &'a str), ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.required("UserName", &USER_NAME), check.required("PolicyName", &POLICY_NAME));
    let (user, name) = check.finish(read)?;
    call.authorize(&Subject::User(user)).await?;
    Ok((call.registry.user_by_name(call.caller.account, user).await?, name))
}

fn no_such_policy(error: RegistryError, name: &str) -> ApiError {
    match error {
        RegistryError::NoSuchPolicy(_) => {
            ApiError::no_such_entity(format!("The user policy with name {name} cannot be found."))
        }
        error => error.into(),
    }
}

/// As RFC 3986 has it: stock clients decode it.
fn encoded(document: &str) -> String {
    utf8_percent_encode(document, NON_ALPHANUMERIC).to_string()
}

pub(super) async fn list<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.required("UserName", &USER_NAME), check.optional("Marker", &MARKER), check.max_items());
    let (name, from, limit) = check.finish(read)?;
    call.authorize(&Subject::User(name)).await?;
    let user = call.registry.user_by_name(call.caller.account, name).await?;
    let after = from.map(marker::read).transpose()?;
    let page = call.registry.policy_names(&user.user_id, after.as_deref(), limit).await?;
    let last = page.items.last().filter(|_| page.truncated);
    Ok(call.reply(&ListUserPoliciesResult {
        policy_names: page.items.iter().map(String::as_str).collect(),
        is_truncated: page.truncated,
        marker: last.map(|name| marker::after(name)),
    }))
}

pub(super) async fn list_managed<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let scopes = [("All", true), ("AWS", true), ("Local", false)];
    let has_managed = call.parameters.get("Scope").is_none() || check.one_of("Scope", &scopes);
    let only_attached = call.parameters.get("OnlyAttached").is_some()
        && check.one_of("OnlyAttached", &[("true", true), ("false", false)]);
    let read = (check.optional("Marker", &MARKER), check.max_items());
    let (from, limit) = check.finish(read)?;
    call.authorize(&Subject::Account).await?;
    let after = from.map(marker::read).transpose()?.unwrap_or_default();
    let mut found = Vec::new();
    for managed in MANAGED.iter().filter(|managed| has_managed && managed.name > after.as_str()) {
        let count = call.registry.attachments(call.caller.account, &managed.arn()).await?;
        if count > 0 || !only_attached {
            found.push(PolicyElement::of(managed, count));
        }
    }
    let truncated = found.len() > limit as usize;
    found.truncate(limit as usize);
    let marker = found.last().filter(|_| truncated).map(|last| marker::after(last.policy_name));
    Ok(call.reply(&ListPoliciesResult { policies: found.into_iter().collect(), is_truncated: truncated, marker }))
}

pub(super) async fn get_managed<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let arn = check.required("PolicyArn", &POLICY_ARN);
    let arn = check.finish(arn)?;
    call.authorize(&Subject::Policy(arn)).await?;
    let managed = Managed::by_arn(arn).ok_or_else(|| not_found(arn))?;
    let count = call.registry.attachments(call.caller.account, &managed.arn()).await?;
    let policy = PolicyElement { description: Some(managed.description), ..PolicyElement::of(managed, count) };
    Ok(call.reply(&GetPolicyResult { policy }))
}

pub(super) async fn get_managed_version<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.required("PolicyArn", &POLICY_ARN), check.required("VersionId", &VERSION_ID));
    let (arn, version) = check.finish(read)?;
    call.authorize(&Subject::Policy(arn)).await?;
    let managed = Managed::by_arn(arn).ok_or_else(|| not_found(arn))?;
    if version != VERSION {
        let text = format!("Policy {arn} version {version} does not exist or is not attachable.");
        return Err(ApiError::no_such_entity(text));
    }
    Ok(call.reply(&GetPolicyVersionResult {
        policy_version: PolicyVersion {
            document: encoded(managed.document),
            version_id: VERSION,
            is_default_version: true,
            create_date: CREATED,
        },
    }))
}

fn not_found(arn: &str) -> ApiError {
    ApiError::no_such_entity(format!("Policy {arn} was not found."))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListAttachedUserPoliciesResult<'a> {
    attached_policies: Members<AttachedPolicy<'a>>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedPolicy<'a> {
    policy_name: &'a str,
    policy_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetUserPolicyResult<'a> {
    user_name: &'a str,
    policy_name: &'a str,
    policy_document: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUserPoliciesResult<'a> {
    policy_names: Members<&'a str>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListPoliciesResult {
    policies: Members<PolicyElement>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetPolicyResult {
    policy: PolicyElement,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyElement {
    policy_name: &'static str,
    policy_id: &'static str,
    arn: String,
    path: &'static str,
    default_version_id: &'static str,
    attachment_count: i64,
    is_attachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
    create_date: &'static str,
    update_date: &'static str,
}

impl PolicyElement {
    fn of(managed: &'static Managed, attachment_count: i64) -> Self {
        Self {
            policy_name: managed.name,
            policy_id: managed.id,
            arn: managed.arn(),
            path: "/",
            default_version_id: VERSION,
            attachment_count,
            is_attachable: true,
            description: None,
            create_date: CREATED,
            update_date: CREATED,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetPolicyVersionResult {
    policy_version: PolicyVersion,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyVersion {
    document: String,
    version_id: &'static str,
    is_default_version: bool,
    create_date: &'static str,
}

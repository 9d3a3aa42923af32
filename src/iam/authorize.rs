//! Who may do what: the account's root everything in its account, a user what its policies allow.
//!
//! Who may not do something to a user is told the same whether that user exists or not.

use super::action::Action;
use super::call::Call;
use super::caller::{Caller, Principal};
use super::error::ApiError;
use crate::policy::{Context, Managed, Policy, Request, Verdict, evaluate};
use crate::registry::{KeyRow, KeyUser, Registry, RegistryError, Tag, UserId, UserRow, user_arn};

/// What an action is about.
pub(super) enum Subject<'a> {
    /// The caller itself.
    Caller,
    /// A user, by the name in the request.
    User(&'a str),
    /// A user yet to be made.
    NewUser {
        /// The path asked for.
        path: &'a str,
        /// The name asked for.
        name: &'a str,
    },
    /// All users below a path.
    UsersUnder(&'a str),
    /// A key of the account, if there is one of that id.
    Key {
        /// The id in the request.
        id: &'a str,
        /// Its row.
        row: Option<&'a KeyRow>,
    },
    /// A managed policy.
    Policy(&'a str),
    /// Nothing in particular.
    Account,
}

/// More that a policy may ask about.
#[derive(Default)]
pub(super) struct Details<'a> {
    /// The managed policy that is attached or detached.
    pub policy_arn: Option<&'a str>,
    /// The tags in the request.
    pub tags: &'a [Tag],
}

/// What is asked for, as policies see it and as a refusal names it.
struct Target {
    arn: String,
    tags: Vec<Tag>,
    named: String,
}

/// Lets the action pass or says AccessDenied.
pub(super) async fn authorize<O>(
    call: &Call<'_, O>,
    subject: &Subject<'_>,
    details: &Details<'_>,
) -> Result<(), ApiError> {
    let Principal::User(user) = &call.caller.principal else { return Ok(()) };
    let row = call.registry.user_by_id(call.caller.account, &user.user_id).await.map_err(gone)?;
    let target = target(call, subject, &row).await?;
    let context = context(call, &row, &target, details);
    let action = call.action.permission();
    let policies = policies(call.registry, &user.user_id).await?;
    let verdict = evaluate(&policies, &Request { action: &action, resource: &target.arn, context: &context });
    match verdict {
        Verdict::Allowed => Ok(()),
        Verdict::ExplicitlyDenied | Verdict::ImplicitlyDenied => {
            Err(denied(call.caller, call.action, &target, verdict))
        }
    }
}

/// The caller's user was deleted since its request was verified: its keys were before it.
fn gone(error: RegistryError) -> ApiError {
    match error {
        RegistryError::NoSuchUser { .. } => {
            let text = "The security token included in the request is invalid.";
            ApiError::sender(403, "InvalidClientTokenId", text.into())
        }
        error => error.into(),
    }
}

async fn policies(registry: &Registry, user_id: &UserId) -> Result<Vec<Policy>, ApiError> {
    let stored = registry.policies_of(user_id).await?;
    let attached = stored.attached.iter().map(|arn| {
        let managed = Managed::by_arn(arn).map(|managed| managed.policy.clone());
        // A newer version may have attached one that this one does not know: nobody can tell what it would forbid.
        managed.ok_or_else(|| ApiError::unavailable(format!("{user_id} has {arn} attached, which is not known here")))
    });
    let inline = stored.inline.iter().map(|(name, document)| {
        let unread = |error| ApiError::unavailable(format!("policy {name} of {user_id} does not read: {error}"));
        Policy::parse(document).map_err(unread)
    });
    attached.chain(inline).collect()
}

async fn target<O>(call: &Call<'_, O>, subject: &Subject<'_>, caller: &UserRow) -> Result<Target, ApiError> {
    let account = call.caller.account;
    let of_row = |row: &UserRow, named| Target { arn: row.arn(), tags: row.tags.clone(), named };
    let untagged = |arn: String| Target { named: arn.clone(), arn, tags: Vec::new() };
    Ok(match subject {
        Subject::Caller => of_row(caller, call.caller.arn()),
        Subject::User(name) => {
            let named = user_arn(account, "/", name);
            match call.registry.user_by_name(account, name).await {
                Ok(row) => of_row(&row, named),
                Err(RegistryError::NoSuchUser { .. }) => untagged(named),
                Err(error) => return Err(error.into()),
            }
        }
        Subject::NewUser { path, name } => untagged(user_arn(account, path, name)),
        Subject::UsersUnder(path) => untagged(user_arn(account, path, "")),
        Subject::Key { id, row } => {
            let named = format!("access key {id}");
            match row.and_then(|row| row.user.as_ref()) {
                Some(user) => of_row(&owner(call, user).await?, named),
                None => Target { arn: format!("arn:aws:iam::{account}:root"), tags: Vec::new(), named },
            }
        }
        Subject::Policy(arn) => untagged((*arn).to_owned()),
        Subject::Account => untagged("*".into()),
    })
}

async fn owner<O>(call: &Call<'_, O>, user: &KeyUser) -> Result<UserRow, ApiError> {
    Ok(call.registry.user_by_id(call.caller.account, &user.user_id).await?)
}

fn context<O>(call: &Call<'_, O>, user: &UserRow, target: &Target, details: &Details<'_>) -> Context {
    let pairs = |tags: &[Tag]| tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect::<Vec<_>>();
    let origin = &call.caller.origin;
    let mut context = Context::at(call.now)
        .with("aws:username", &user.name)
        .with("aws:userid", user.user_id.as_str())
        .with("aws:PrincipalArn", user.arn())
        .with("aws:PrincipalAccount", user.account.to_string())
        .with("aws:PrincipalType", "User")
        .with("aws:SourceIp", &origin.address)
        .with("aws:RequestedRegion", &origin.region);
    if let Some(agent) = &origin.user_agent {
        context = context.with("aws:UserAgent", agent);
    }
    if let Some(arn) = details.policy_arn {
        context = context.with("iam:PolicyARN", arn);
    }
    for (kind, tags) in [
        ("aws:PrincipalTag", pairs(&user.tags)),
        ("aws:ResourceTag", pairs(&target.tags)),
        ("iam:ResourceTag", pairs(&target.tags)),
        ("aws:RequestTag", pairs(details.tags)),
    ] {
        context = context.with_tags(kind, tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    }
    context
}

fn denied(caller: &Caller, action: Action, target: &Target, verdict: Verdict) -> ApiError {
    let (who, what, named) = (caller.arn(), action.permission(), &target.named);
    let because = match verdict {
        Verdict::ExplicitlyDenied => "with an explicit deny in an identity-based policy".to_owned(),
        _ => format!("because no identity-based policy allows the {what} action"),
    };
    let text = format!("User: {who} is not authorized to perform: {what} on resource: {named} {because}");
    ApiError::sender(403, "AccessDenied", text)
}

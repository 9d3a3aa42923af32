//! Users: CreateUser, GetUser, ListUsers, DeleteUser.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::authorize::{Details, Subject};
use super::call::Call;
use super::caller::Principal;
use super::constraint::{Check, MARKER, NEW_USER_NAME, PATH_PREFIX, USER_NAME, USER_PATH};
use super::error::ApiError;
use super::marker;
use super::office::KeyOffice;
use super::xml::{Members, timestamp};
use crate::registry::{NewUser, RegistryError, Tag, UserId, UserRow};

/// How many user ids are drawn before giving up. With 85 random bits the second is not needed.
const ATTEMPTS: usize = 3;

pub(super) async fn create<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let path = check.optional("Path", &USER_PATH).unwrap_or("/");
    let read = (check.required("UserName", &NEW_USER_NAME), check.tags());
    let (name, tags) = check.finish(read)?;
    let details = Details { tags: &tags, ..Details::default() };
    call.authorize_with(&Subject::NewUser { path, name }, &details).await?;
    refuse_boundary(call)?;
    refuse_twins(&tags)?;
    let row = insert(call, name, path, tags).await?;
    call.tell(json!({ "user": {
        "path": row.path,
        "userName": row.name,
        "userId": row.user_id.as_str(),
        "arn": row.arn(),
        "createDate": timestamp(row.created_at),
    }}));
    Ok(call.reply(&UserResult { user: UserElement::with_tags(&row) }))
}

async fn insert<O>(call: &Call<'_, O>, name: &str, path: &str, tags: Vec<Tag>) -> Result<UserRow, ApiError> {
    let account = call.caller.account;
    for _ in 0..ATTEMPTS {
        let user_id = UserId::random()?;
        let (name, path, tags) = (name.into(), path.into(), tags.clone());
        match call.registry.create_user(&NewUser { user_id, account, name, path, tags, at: call.now }).await {
            Err(RegistryError::DuplicateUserId(_)) => {}
            done => return Ok(done?),
        }
    }
    Err(ApiError::unavailable("every user id that was drawn is taken"))
}

/// A boundary that is ignored would grant what it was to forbid.
fn refuse_boundary<O>(call: &Call<'_, O>) -> Result<(), ApiError> {
    match call.parameters.get("PermissionsBoundary") {
        None => Ok(()),
        Some(_) => Err(invalid_input("Permissions boundaries are not supported.")),
    }
}

pub(super) fn refuse_twins(tags: &[Tag]) -> Result<(), ApiError> {
    let mut keys: Vec<_> = tags.iter().map(|tag| tag.key.to_lowercase()).collect();
    keys.sort_unstable();
    let twins = keys.windows(2).any(|pair| pair[0] == pair[1]);
    if !twins {
        return Ok(());
    }
    Err(invalid_input("Duplicate tag keys found. Please note that Tag keys are case insensitive."))
}

fn invalid_input(text: &str) -> ApiError {
    ApiError::sender(400, "InvalidInput", text.into())
}

pub(super) async fn get<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let name = check.optional("UserName", &USER_NAME);
    let name = check.finish(name)?;
    call.authorize(&name.map_or(Subject::Caller, Subject::User)).await?;
    let account = call.caller.account;
    let row = match (name, &call.caller.principal) {
        (Some(name), _) => call.registry.user_by_name(account, name).await?,
        (None, Principal::User(user)) => call.registry.user_by_id(account, &user.user_id).await?,
        (None, Principal::Root) => return root(call).await,
    };
    Ok(call.reply(&UserResult { user: UserElement::with_tags(&row) }))
}

/// The root user has the account's number for an id and neither path nor name.
async fn root<O>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let account = call.caller.account;
    let row = call.registry.account(account).await?;
    let row = row.ok_or_else(|| ApiError::unavailable(format!("account {account} is not registered")))?;
    let user =
        RootElement { user_id: account.to_string(), arn: call.caller.arn(), create_date: timestamp(row.created_at) };
    Ok(call.reply(&UserResult { user }))
}

pub(super) async fn list<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.optional("PathPrefix", &PATH_PREFIX), check.optional("Marker", &MARKER), check.max_items());
    let (prefix, from, limit) = check.finish(read)?;
    let prefix = prefix.unwrap_or("/");
    call.authorize(&Subject::UsersUnder(prefix)).await?;
    let after = from.map(marker::read).transpose()?;
    let page = call.registry.users(call.caller.account, prefix, after.as_deref(), limit).await?;
    let last = page.items.last().filter(|_| page.truncated);
    Ok(call.reply(&ListUsersResult {
        users: page.items.iter().map(UserElement::without_tags).collect(),
        is_truncated: page.truncated,
        marker: last.map(|row| marker::after(&row.name)),
    }))
}

pub(super) async fn delete<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let name = check.required("UserName", &USER_NAME);
    let name = check.finish(name)?;
    call.authorize(&Subject::User(name)).await?;
    let account = call.caller.account;
    let user_id = call.registry.user_by_name(account, name).await?.user_id;
    call.registry.delete_user(account, &user_id, call.now).await.map_err(|error| match error {
        RegistryError::NoSuchUser { .. } => super::error::no_such_user(name),
        error => error.into(),
    })?;
    Ok(call.reply_without_output())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserResult<U> {
    user: U,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUsersResult<'a> {
    users: Members<UserElement<'a>>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserElement<'a> {
    path: &'a str,
    user_name: &'a str,
    user_id: &'a str,
    arn: String,
    create_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Members<TagElement<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagElement<'a> {
    key: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootElement {
    user_id: String,
    arn: String,
    create_date: String,
}

impl<'a> TagElement<'a> {
    pub fn of(Tag { key, value }: &'a Tag) -> Self {
        Self { key, value }
    }
}

impl<'a> UserElement<'a> {
    fn without_tags(row: &'a UserRow) -> Self {
        Self {
            path: &row.path,
            user_name: &row.name,
            user_id: row.user_id.as_str(),
            arn: row.arn(),
            create_date: timestamp(row.created_at),
            tags: None,
        }
    }

    fn with_tags(row: &'a UserRow) -> Self {
        let tags = row.tags.iter().map(TagElement::of).collect();
        Self { tags: (!row.tags.is_empty()).then_some(tags), ..Self::without_tags(row) }
    }
}

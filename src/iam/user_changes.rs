//! Changing users: UpdateUser, TagUser, UntagUser, ListUserTags.

use bytes::Bytes;
use serde::Serialize;

use super::authorize::{Details, Subject};
use super::call::Call;
use super::constraint::{self, Check, MARKER, NEW_USER_NAME, USER_NAME, USER_PATH};
use super::error::ApiError;
use super::marker;
use super::office::KeyOffice;
use super::users::{TagElement, refuse_twins};
use super::xml::Members;
use crate::registry::{MAX_TAGS, RegistryError, Tag};

/// Whether a text can describe a key.
pub fn is_description(text: &str) -> bool {
    constraint::DESCRIPTION.allows(text)
}

/// A new name or path. Keys go on as they are; who they belong to is told by the new ARN from the next request on.
pub(super) async fn update<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (
        check.required("UserName", &USER_NAME),
        check.optional("NewUserName", &NEW_USER_NAME),
        check.optional("NewPath", &USER_PATH),
    );
    let (name, new_name, new_path) = check.finish(read)?;
    call.authorize(&Subject::User(name)).await?;
    let account = call.caller.account;
    // Who may change a user may do so only into one that it may change, too.
    let row = call.registry.user_by_name(account, name).await;
    let old_path = row.as_ref().map_or("/", |row| row.path.as_str());
    let target = Subject::NewUser { path: new_path.unwrap_or(old_path), name: new_name.unwrap_or(name) };
    call.authorize(&target).await?;
    let row = row?;
    call.registry.rename_user(account, &row.user_id, new_name, new_path, call.now).await?;
    call.office.catch_up().await?;
    Ok(call.reply_without_output())
}

pub(super) async fn tag<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.required("UserName", &USER_NAME), check.tags());
    let (name, tags) = check.finish(read)?;
    call.authorize_with(&Subject::User(name), &Details { tags: &tags, ..Details::default() }).await?;
    refuse_twins(&tags)?;
    change_tags(call, name, |old| {
        let same = |one: &Tag, other: &Tag| one.key.eq_ignore_ascii_case(&other.key);
        let kept = old.into_iter().filter(|old| !tags.iter().any(|new| same(old, new)));
        kept.chain(tags.iter().cloned()).collect()
    })
    .await
}

pub(super) async fn untag<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.required("UserName", &USER_NAME), check.tag_keys());
    let (name, keys) = check.finish(read)?;
    call.authorize(&Subject::User(name)).await?;
    change_tags(call, name, |old| {
        old.into_iter().filter(|tag| !keys.iter().any(|key| key.eq_ignore_ascii_case(&tag.key))).collect()
    })
    .await
}

/// Reads, changes and writes, until nobody has written in between.
async fn change_tags<O: KeyOffice>(
    call: &Call<'_, O>,
    name: &str,
    change: impl Fn(Vec<Tag>) -> Vec<Tag>,
) -> Result<Bytes, ApiError> {
    loop {
        let row = call.registry.user_by_name(call.caller.account, name).await?;
        let tags = change(row.tags.clone());
        if tags.len() > MAX_TAGS {
            let text = format!("Cannot exceed quota for TagsPerUser: {MAX_TAGS}");
            return Err(RegistryError::TooMuch(text).into());
        }
        if call.registry.replace_tags(&row, &tags).await? {
            return Ok(call.reply_without_output());
        }
    }
}

pub(super) async fn list_tags<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.required("UserName", &USER_NAME), check.optional("Marker", &MARKER), check.max_items());
    let (name, from, limit) = check.finish(read)?;
    call.authorize(&Subject::User(name)).await?;
    let mut row = call.registry.user_by_name(call.caller.account, name).await?;
    let after = from.map(marker::read).transpose()?.unwrap_or_default();
    row.tags.sort_by(|one, other| one.key.cmp(&other.key));
    row.tags.retain(|tag| tag.key > after);
    let truncated = row.tags.len() > limit as usize;
    row.tags.truncate(limit as usize);
    Ok(call.reply(&ListUserTagsResult {
        tags: row.tags.iter().map(TagElement::of).collect(),
        is_truncated: truncated,
        marker: row.tags.last().filter(|_| truncated).map(|tag| marker::after(&tag.key)),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUserTagsResult<'a> {
    tags: Members<TagElement<'a>>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

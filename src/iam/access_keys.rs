//! Access keys: CreateAccessKey, ListAccessKeys, UpdateAccessKey, DeleteAccessKey, GetAccessKeyLastUsed.

use bytes::Bytes;
use http::Method;
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::secret::SecretAccessKey;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::authorize::Subject;
use super::call::{Call, Effect};
use super::caller::SignaturePlace;
use super::constraint::{ACCESS_KEY_ID, CLIENT_TOKEN, Check, DESCRIPTION, MARKER, USER_NAME};
use super::error::{ApiError, no_such_key};
use super::office::KeyOffice;
use super::xml::{Members, timestamp};
use super::{marker, terms, xml};
use crate::authority::{ClientToken, Issued, KeyRequest, NewKeySpec};
use crate::registry::{KeyRow, KeyStatus, LastUsed, Owner, UsedSignature};

/// How old the signature of a request for a secret may be.
const MAX_AGE: i64 = 5 * 60;
/// How much the clocks of two issuers may differ before a signature that one has forgotten is young to the other.
const CLOCKS_DIFFER: i64 = 15 * 60;

/// Makes CreateAccessKey one that may be sent again.
const TOKEN: &str = "ClientToken";

pub(super) async fn create<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (
        check.optional("UserName", &USER_NAME),
        check.optional(TOKEN, &CLIENT_TOKEN),
        check.optional("Description", &DESCRIPTION),
        terms::read(&mut check),
    );
    let (name, token, description, terms) = check.finish(read)?;
    call.authorize(&name.map_or(Subject::Caller, Subject::User)).await?;
    terms::check_not_over(&terms, call.now)?;
    let signature = fresh_signature(call)?;
    let owner = owner(call, name).await?;
    if description.is_some() && owner.user_id.is_none() {
        let text = "Description is kept as a tag of the key's user, and root has no tags".into();
        return Err(ApiError::sender(400, "ValidationError", text));
    }
    // The rest must be the same whenever the token comes again.
    let asked = || call.parameters.digest(TOKEN);
    let token = token.map(|token| ClientToken::new(&call.caller.owner(), token, asked()));
    let new = NewKeySpec { terms, description: description.map(str::to_owned) };
    let request = KeyRequest { by: call.caller.access_key_id, signature, token, new };
    let issued = call.office.issue_key(&owner, &request, call.now).await?;
    let row = &issued.row;
    let elements = json!({ "accessKey": {
        "userName": user_name(row),
        "accessKeyId": row.id.as_str(),
        "status": row.status_word(call.now),
        "createDate": timestamp(row.created_at),
    }});
    // A key that was there before is not taken back.
    let new = (!issued.again).then(|| (row.id, row.owner()));
    call.tell_all(Effect { elements, issued: new });
    Ok(reply_with_secret(call, &issued))
}

/// A secret is given for a POST with a young signature in its header, once: URLs lie about in logs and histories.
fn fresh_signature<O>(call: &Call<'_, O>) -> Result<UsedSignature, ApiError> {
    let signed = &call.caller.signed;
    if signed.method != Method::POST || signed.place != SignaturePlace::Header {
        let text = format!("{} takes a POST request signed in its Authorization header", call.action.name());
        return Err(ApiError::sender(403, "AccessDenied", text));
    }
    let (oldest, at) = (call.now - MAX_AGE, signed.at);
    if at < oldest {
        let [at, oldest, now] = [at, oldest, call.now].map(timestamp);
        let text = format!("Signature expired: {at} is now earlier than {oldest} ({now} - 5 min.)");
        return Err(ApiError::sender(403, "SignatureDoesNotMatch", text));
    }
    Ok(UsedSignature { hash: signed.hash, expires_at: at + MAX_AGE + CLOCKS_DIFFER })
}

/// The user of that name, or the caller.
async fn owner<O>(call: &Call<'_, O>, name: Option<&str>) -> Result<Owner, ApiError> {
    let Some(name) = name else { return Ok(call.caller.owner()) };
    let row = call.registry.user_by_name(call.caller.account, name).await?;
    Ok(Owner { account: row.account, user_id: Some(row.user_id) })
}

/// Stands for the secret while the XML is built. No other part of the answer can hold it: `<` is escaped in them.
const BLANK: &str = "****************************************";

/// The XML is built with a blank of the secret's length and the secret written over it, so that the secret is in one
/// buffer, never moved, and wiped with it.
fn reply_with_secret<O>(call: &Call<'_, O>, Issued { row, secret, .. }: &Issued) -> Bytes {
    let access_key = NewKeyElement {
        user_name: user_name(row),
        access_key_id: row.id.as_str(),
        status: row.status_word(call.now),
        secret_access_key: BLANK,
        create_date: timestamp(row.created_at),
    };
    let result = CreateAccessKeyResult { access_key };
    let mut body = Zeroizing::new(xml::response(call.action, Some(&result), &call.caller.request_id));
    fill_in(&mut body, secret);
    Bytes::from_owner(body)
}

fn fill_in(body: &mut [u8], secret: &SecretAccessKey) {
    let blank = format!("<SecretAccessKey>{BLANK}");
    let start = body.windows(blank.len()).position(|window| window == blank.as_bytes());
    let end = start.expect("the element was just written") + blank.len();
    body[end - BLANK.len()..end].copy_from_slice(secret.expose().as_bytes());
}

pub(super) async fn list<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.optional("UserName", &USER_NAME), check.optional("Marker", &MARKER), check.max_items());
    let (name, from, limit) = check.finish(read)?;
    call.authorize(&name.map_or(Subject::Caller, Subject::User)).await?;
    let after = from.map(read_marker).transpose()?;
    let owner = owner(call, name).await?;
    let page = call.registry.keys(&owner, after.as_ref(), limit).await?;
    let last = page.items.last().filter(|_| page.truncated);
    Ok(call.reply(&ListAccessKeysResult {
        access_key_metadata: page.items.iter().map(|row| KeyElement::of(row, call.now)).collect(),
        is_truncated: page.truncated,
        marker: last.map(|row| marker::after(row.id.as_str())),
    }))
}

fn read_marker(text: &str) -> Result<AccessKeyId, ApiError> {
    let item = marker::read(text)?;
    AccessKeyId::parse(item.as_bytes())
        .ok_or_else(|| ApiError::sender(400, "ValidationError", "Invalid Marker.".into()))
}

pub(super) async fn update<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (
        check.optional("UserName", &USER_NAME),
        check.required("AccessKeyId", &ACCESS_KEY_ID),
        check.one_of("Status", &[(ACTIVE, KeyStatus::Active), (INACTIVE, KeyStatus::Inactive)]),
    );
    let (name, id, status) = check.finish(read)?;
    set_status(call, name, id, status).await
}

pub(super) async fn delete<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let read = (check.optional("UserName", &USER_NAME), check.required("AccessKeyId", &ACCESS_KEY_ID));
    let (name, id) = check.finish(read)?;
    set_status(call, name, id, KeyStatus::Deleted).await
}

async fn set_status<O: KeyOffice>(
    call: &Call<'_, O>,
    name: Option<&str>,
    id: &str,
    status: KeyStatus,
) -> Result<Bytes, ApiError> {
    call.authorize(&name.map_or(Subject::Caller, Subject::User)).await?;
    let owner = owner(call, name).await?;
    let id = AccessKeyId::parse(id.as_bytes()).ok_or_else(|| no_such_key(id))?;
    call.office.set_status(&id, &owner, status, call.caller.access_key_id, call.now).await?;
    Ok(call.reply_without_output())
}

pub(super) async fn last_used<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let id = check.required("AccessKeyId", &ACCESS_KEY_ID);
    let id = check.finish(id)?;
    let row = match AccessKeyId::parse(id.as_bytes()) {
        Some(parsed) => call.registry.key(&parsed).await?,
        None => None,
    };
    let theirs = row.filter(|row| row.account == call.caller.account && row.status != KeyStatus::Deleted);
    call.authorize(&Subject::Key { id, row: theirs.as_ref() }).await?;
    let row = theirs.ok_or_else(|| no_such_key(id))?;
    let result = GetAccessKeyLastUsedResult {
        user_name: user_name(&row),
        access_key_last_used: LastUsedElement::of(row.last_used.as_ref()),
    };
    Ok(call.reply(&result))
}

const ACTIVE: &str = "Active";
const INACTIVE: &str = "Inactive";

/// Root keys have none.
fn user_name(row: &KeyRow) -> Option<&str> {
    row.user.as_ref().map(|user| user.name.as_str())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreateAccessKeyResult<'a> {
    access_key: NewKeyElement<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewKeyElement<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    access_key_id: &'a str,
    status: &'static str,
    secret_access_key: &'static str,
    create_date: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListAccessKeysResult<'a> {
    access_key_metadata: Members<KeyElement<'a>>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyElement<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    access_key_id: &'a str,
    status: &'static str,
    create_date: String,
}

impl<'a> KeyElement<'a> {
    fn of(row: &'a KeyRow, now: i64) -> Self {
        Self {
            user_name: user_name(row),
            access_key_id: row.id.as_str(),
            status: row.status_word(now),
            create_date: timestamp(row.created_at),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetAccessKeyLastUsedResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    access_key_last_used: LastUsedElement<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LastUsedElement<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_date: Option<String>,
    service_name: &'a str,
    region: &'a str,
}

impl<'a> LastUsedElement<'a> {
    fn of(used: Option<&'a LastUsed>) -> Self {
        match used {
            Some(LastUsed { at, service, region }) => {
                Self { last_used_date: Some(timestamp(*at)), service_name: service, region }
            }
            None => Self { last_used_date: None, service_name: "N/A", region: "N/A" },
        }
    }
}

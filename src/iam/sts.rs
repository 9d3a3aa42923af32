//! STS: GetCallerIdentity, GetAccessKeyInfo.

use bytes::Bytes;
use rederive_hsm::access_key_id::Account;
use serde::Serialize;

use super::authorize::Subject;
use super::call::Call;
use super::caller::Principal;
use super::constraint::{ACCESS_KEY_ID, Check};
use super::error::ApiError;

/// It takes no permission, and no policy can deny it.
pub(super) fn caller_identity<O>(call: &Call<'_, O>) -> Bytes {
    let account = call.caller.account.to_string();
    let user_id = match &call.caller.principal {
        Principal::Root => account.clone(),
        Principal::User(user) => user.user_id.to_string(),
    };
    call.reply(&GetCallerIdentityResult { arn: call.caller.arn(), user_id, account })
}

/// Tells the account that an id names by its own bits. It works for ids of anyone and doesn't say whether the key exists.
pub(super) async fn access_key_info<O>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    let mut check = Check::new(call.parameters);
    let id = check.required("AccessKeyId", &ACCESS_KEY_ID);
    let id = check.finish(id)?;
    call.authorize(&Subject::Account).await?;
    let account = account_in(id).ok_or_else(|| {
        ApiError::sender(400, "ValidationError", format!("The access key id {id} doesn't name its account."))
    })?;
    Ok(call.reply(&GetAccessKeyInfoResult { account: account.to_string() }))
}

/// The 40 bits after the first bit, which is 1, of the base32 after the prefix.
///
/// Source: Tal Be'ery, "A short note on AWS KEY ID": the first 6 bytes, AND 0x7fffffffff80, shifted right by 7.
fn account_in(id: &str) -> Option<Account> {
    let first = id.as_bytes().get(4..14)?;
    let bits = first.iter().try_fold(0u64, |bits, c| {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'2'..=b'7' => c - b'2' + 26,
            _ => return None,
        };
        Some(bits << 5 | u64::from(value))
    })?;
    let six_bytes = bits >> 2;
    let names_account = six_bytes >> 47 == 1;
    names_account.then(|| Account::new((six_bytes & 0x7fff_ffff_ff80) >> 7)).flatten()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetCallerIdentityResult {
    arn: String,
    user_id: String,
    account: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetAccessKeyInfoResult {
    account: String,
}

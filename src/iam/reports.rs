//! Reports on an account: GetAccountSummary, GenerateCredentialReport, GetCredentialReport.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::authorize::Subject;
use super::call::Call;
use super::error::ApiError;
use super::office::KeyOffice;
use super::policies::LIMITS;
use super::xml::timestamp;
use crate::registry::{KeyRow, KeyStatus, UserId};

/// Users read at a time.
const PAGE: u32 = 1000;
/// Keys of one user that a report has columns for.
const KEYS: usize = 2;

/// The columns of AWS's report.
const COLUMNS: &str = "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,\
                       password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,\
                       access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,\
                       access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,\
                       access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,\
                       cert_1_last_rotated,cert_2_active,cert_2_last_rotated";

pub(super) async fn summary<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    call.authorize(&Subject::Account).await?;
    let keys = call.registry.keys_of_account(call.caller.account).await?;
    let users = call.registry.count_users(call.caller.account).await?;
    let account = call.registry.account(call.caller.account).await?;
    let quota = account.as_ref().and_then(|row| row.keys_per_user).unwrap_or_else(|| call.office.keys_per_user());
    let root_keys = keys.iter().any(|key| key.user.is_none());
    let soon = keys.iter().filter(|key| key.ends_soon(call.now).is_some()).count();
    let max_age = account.and_then(|row| row.key_age.max).map(|max| ("AccessKeyMaxAgeDays", max / 86_400));
    let entries = [
        ("AccessKeysEndingSoon", soon as i64),
        ("AccessKeysPerUserQuota", i64::from(quota)),
        ("AccountAccessKeysPresent", i64::from(root_keys)),
        ("AccountMFAEnabled", 0),
        ("AttachedPoliciesPerUserQuota", i64::from(LIMITS.attached)),
        ("Groups", 0),
        ("MFADevices", 0),
        ("MFADevicesInUse", 0),
        ("Policies", 0),
        ("Roles", 0),
        ("UserPolicySizeQuota", LIMITS.inline_size as i64),
        ("Users", users),
    ];
    let entry = max_age.into_iter().chain(entries).map(|(key, value)| Entry { key, value }).collect();
    Ok(call.reply(&GetAccountSummaryResult { summary_map: SummaryMap { entry } }))
}

/// The report is made when it is fetched, and so is always complete.
pub(super) async fn generate<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    call.authorize(&Subject::Account).await?;
    Ok(call.reply(&GenerateCredentialReportResult { state: "COMPLETE" }))
}

pub(super) async fn get<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    call.authorize(&Subject::Account).await?;
    let account = call.caller.account;
    let mut keys: HashMap<Option<UserId>, Vec<KeyRow>> = HashMap::new();
    for key in call.registry.keys_of_account(account).await? {
        keys.entry(key.user.as_ref().map(|user| user.user_id.clone())).or_default().push(key);
    }
    let created = call.registry.account(account).await?.map_or(0, |row| row.created_at);
    let of = |owner: Option<&UserId>| keys.get(&owner.cloned()).map_or(&[][..], Vec::as_slice);
    let mut lines =
        vec![COLUMNS.to_owned(), line("<root_account>", &format!("arn:aws:iam::{account}:root"), created, of(None))];
    let mut after: Option<String> = None;
    loop {
        let page = call.registry.users(account, "/", after.as_deref(), PAGE).await?;
        for user in &page.items {
            lines.push(line(&user.name, &user.arn(), user.created_at, of(Some(&user.user_id))));
        }
        after = page.items.last().filter(|_| page.truncated).map(|user| user.name.clone());
        if after.is_none() {
            break;
        }
    }
    Ok(call.reply(&GetCredentialReportResult {
        content: STANDARD.encode(lines.join("\n")),
        report_format: "text/csv",
        generated_time: timestamp(call.now),
    }))
}

/// No value holds a comma or a quotation mark but names may hold a comma, and paths both.
fn line(name: &str, arn: &str, created_at: i64, keys: &[KeyRow]) -> String {
    let no_password = ["false", "N/A", "N/A", "N/A", "false"].map(str::to_owned);
    let mut cells = vec![quoted(name), quoted(arn), timestamp(created_at)];
    cells.extend(no_password);
    cells.extend((0..KEYS).flat_map(|number| key_cells(keys.get(number))));
    cells.extend(["false", "N/A", "false", "N/A"].map(str::to_owned));
    cells.join(",")
}

fn key_cells(key: Option<&KeyRow>) -> [String; 5] {
    let none = || "N/A".to_owned();
    let Some(key) = key else { return ["false".into(), none(), none(), none(), none()] };
    let [date, region, service] = match &key.last_used {
        Some(used) => [timestamp(used.at), used.region.clone(), used.service.clone()],
        None => [none(), none(), none()],
    };
    [(key.status == KeyStatus::Active).to_string(), timestamp(key.created_at), date, region, service]
}

/// As RFC 4180 has it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetAccountSummaryResult {
    summary_map: SummaryMap,
}

#[derive(Serialize)]
struct SummaryMap {
    entry: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    key: &'static str,
    value: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GenerateCredentialReportResult {
    state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetCredentialReportResult {
    content: String,
    report_format: &'static str,
    generated_time: String,
}

//! The operator API: JSON over HTTP/1.1, a path for each of an operator's functions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use rederive_hsm::access_key_id::Account;
use rederive_hsm::region_set::RegionSet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Operator, OperatorError, Wanted, random_account};
use crate::audit::Audit;
use crate::authority::{Authority, IssueError, NewKeySpec, RootKey};
use crate::http::{Request, Response, full, read_body};
use crate::iam::{is_description, timestamp};
use crate::key_terms::{KeyScope, KeyTerms, ServiceSet};
use crate::registry::{AccountRow, KEY_WARNING, KeyAge, KeyRow, RegistryError};

/// The most bytes of a body.
const MAX_BODY: usize = 64 * 1024;
/// How long a body may take.
const BODY: Duration = Duration::from_secs(10);
const DAY: i64 = 86_400;

/// What the API works on.
pub(super) struct Place {
    pub authority: Arc<Authority>,
    pub audit: Audit,
}

/// An answer that is none of what was asked for.
struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NewAccount {
    number: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quota {
    keys_per_user: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Age {
    max_days: Option<u32>,
    #[serde(default = "warn_days")]
    warn_days: u32,
    #[serde(default)]
    ends: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    user: String,
    expires_at: Option<String>,
    services: Option<String>,
    regions: Option<String>,
    description: Option<String>,
}

fn warn_days() -> u32 {
    (KEY_WARNING / DAY) as u32
}

/// Answers a request of the system's user of that number.
pub(super) async fn answer(place: Arc<Place>, uid: u32, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = match read_body(body, MAX_BODY, BODY).await {
        Ok(body) => body,
        Err(error) => {
            return problem(Problem { status: error.status(), code: "bad_request", message: error.to_string() });
        }
    };
    let (method, path) = (head.method, head.uri.path().to_owned());
    // In a task of its own: what is begun is recorded, even for who does not wait for it.
    let done = tokio::spawn(async move { carry_out(&place, uid, &method, &path, &body).await });
    match done.await {
        Ok(Ok((status, value))) => json_response(status, &value),
        Ok(Err(wrong)) => problem(wrong),
        Err(error) => {
            problem(Problem { status: StatusCode::INTERNAL_SERVER_ERROR, code: "internal", message: error.to_string() })
        }
    }
}

type Answer = Result<(StatusCode, Value), Problem>;

async fn carry_out(place: &Place, uid: u32, method: &Method, path: &str, body: &Bytes) -> Answer {
    let Place { authority, audit } = place;
    let operator = Operator::of_user(audit.clone(), uid);
    let now = authority.clock().now().map_err(unavailable)?;
    let registry = authority.registry().map_err(OperatorError::from)?;
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    match (method.as_str(), &parts[..]) {
        ("GET", ["v1", "accounts"]) => {
            let rows = registry.accounts().await.map_err(OperatorError::from)?;
            Ok((StatusCode::OK, json!({ "accounts": rows.iter().map(account_json).collect::<Vec<_>>() })))
        }
        ("POST", ["v1", "accounts"]) => {
            let NewAccount { number } = if body.is_empty() { NewAccount::default() } else { read(body)? };
            let account = number.as_deref().map_or_else(|| Ok(random_account()?), parse_account)?;
            let root = operator.create_account(authority, account, now).await?;
            Ok((StatusCode::CREATED, root_json(account, &root)))
        }
        ("POST", ["v1", "accounts", account, "root-keys"]) => {
            let account = parse_account(account)?;
            let root = operator.create_root_key(authority, account, now).await?;
            Ok((StatusCode::CREATED, root_json(account, &root)))
        }
        ("PUT", ["v1", "accounts", account, "quota"]) => {
            let Quota { keys_per_user } = read(body)?;
            bounds("keys_per_user", keys_per_user, 1..=1000)?;
            operator.set_quota(registry, parse_account(account)?, keys_per_user, now).await?;
            Ok((StatusCode::OK, json!({})))
        }
        ("PUT", ["v1", "accounts", account, "key-age"]) => {
            let Age { max_days, warn_days, ends } = read(body)?;
            bounds("max_days", max_days, 1..=3650)?;
            bounds("warn_days", Some(warn_days), 0..=3650)?;
            let age = KeyAge { max: max_days.map(|days| i64::from(days) * DAY), warning: i64::from(warn_days) * DAY };
            operator.set_key_age(registry, parse_account(account)?, age, ends, now).await?;
            Ok((StatusCode::OK, json!({})))
        }
        ("GET", ["v1", "accounts", account, "keys"]) => {
            let rows = registry.keys_of_account(parse_account(account)?).await.map_err(OperatorError::from)?;
            Ok((StatusCode::OK, json!({ "keys": rows.iter().map(|row| key_json(row, now)).collect::<Vec<_>>() })))
        }
        ("POST", ["v1", "accounts", account, "keys"]) => {
            create_key(place, &operator, parse_account(account)?, read(body)?, now).await
        }
        _ => Err(Problem {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            message: "there is no such path, or it does not take this method: see docs/api.md".into(),
        }),
    }
}

async fn create_key(place: &Place, operator: &Operator, account: Account, new: NewKey, now: i64) -> Answer {
    let time = |text: String| OffsetDateTime::parse(&text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp);
    let expires_at = new.expires_at.map(|text| time(text).ok_or_else(|| invalid("expires_at"))).transpose()?;
    let services = new.services.map(|text| ServiceSet::parse(&text).ok_or_else(|| invalid("services"))).transpose()?;
    let regions = new.regions.map(|text| RegionSet::parse(text.as_bytes()).ok_or_else(|| invalid("regions")));
    let terms = KeyTerms { expires_at, scope: KeyScope { services, regions: regions.transpose()? } };
    if terms.have_expired(now) {
        return Err(invalid("expires_at"));
    }
    if new.description.as_ref().is_some_and(|text| !is_description(text)) {
        return Err(invalid("description"));
    }
    let wanted = Wanted { account, user: new.user, key: NewKeySpec { terms, description: new.description } };
    let (user, issued) = operator.create_key(&place.authority, &wanted, now).await?;
    let mut value = key_json(&issued.row, now);
    value["user"] = user.name.into();
    value["secret_access_key"] = issued.secret.expose().into();
    Ok((StatusCode::CREATED, value))
}

fn root_json(account: Account, root: &RootKey) -> Value {
    let (id, secret) = (root.id.as_str(), root.secret.expose());
    json!({ "account": account.to_string(), "access_key_id": id, "secret_access_key": secret })
}

fn account_json(row: &AccountRow) -> Value {
    json!({
        "account": row.number.to_string(),
        "created_at": timestamp(row.created_at),
        "keys_per_user": row.keys_per_user,
        "max_key_age_days": row.key_age.max.map(|max| max / DAY),
        "key_warning_days": row.key_age.warning / DAY,
    })
}

fn key_json(row: &KeyRow, now: i64) -> Value {
    let scope = &row.terms.scope;
    json!({
        "access_key_id": row.id.as_str(),
        "user": row.user.as_ref().map(|user| &user.name),
        "status": row.status_word(now),
        "created_at": timestamp(row.created_at),
        "last_used_at": row.last_used.as_ref().map(|used| timestamp(used.at)),
        "expires_at": row.ends_at().map(timestamp),
        "services": scope.services.as_ref().map(ToString::to_string),
        "regions": scope.regions.as_ref().map(ToString::to_string),
    })
}

fn parse_account(text: &str) -> Result<Account, Problem> {
    Account::parse(text).ok_or_else(|| invalid("account: twelve digits"))
}

fn bounds(name: &str, number: Option<u32>, range: std::ops::RangeInclusive<u32>) -> Result<(), Problem> {
    match number {
        Some(number) if !range.contains(&number) => {
            Err(invalid(&format!("{name}: {} to {}", range.start(), range.end())))
        }
        _ => Ok(()),
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))
}

fn invalid(what: &str) -> Problem {
    Problem { status: StatusCode::BAD_REQUEST, code: "bad_request", message: what.to_owned() }
}

fn unavailable(error: impl std::fmt::Display) -> Problem {
    Problem { status: StatusCode::SERVICE_UNAVAILABLE, code: "unavailable", message: error.to_string() }
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Self {
        let (OperatorError::Registry(no) | OperatorError::Issue(IssueError::Registry(no))) = &error else {
            return unavailable(error);
        };
        let (status, code) = match no {
            RegistryError::NoSuchAccount(_) | RegistryError::NoSuchUser { .. } => (StatusCode::NOT_FOUND, "not_found"),
            RegistryError::AccountExists(_)
            | RegistryError::QuotaExceeded(_)
            | RegistryError::TooMuch(_)
            | RegistryError::OwnerDenied
            | RegistryError::WouldEnd { .. }
            | RegistryError::SerialsExhausted { .. } => (StatusCode::CONFLICT, "conflict"),
            _ => return unavailable(error),
        };
        Self { status, code, message: error.to_string() }
    }
}

fn problem(Problem { status, code, message }: Problem) -> Response {
    json_response(status, &json!({ "error": code, "message": message }))
}

/// The bytes of an answer are wiped when they are freed, like all memory.
fn json_response(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

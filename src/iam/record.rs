//! What the audit log is told of a call. Only parameters that are known here are told: a client may send anything by mistake.

use serde_json::{Map, Value, json};

use super::action::{Action, Service};
use super::caller::{Caller, Principal};
use super::error::{ApiError, excerpt};
use super::parameters::Parameters;
use crate::audit::{Event, UserIdentity};

/// Parameters that are told as they came. What is not here is not told.
const TOLD: [&str; 22] = [
    "AccessKeyId",
    "Description",
    "DurationSeconds",
    "Marker",
    "MaxItems",
    "NewPath",
    "NewUserName",
    "OnlyAttached",
    "Path",
    "PathPrefix",
    "PermissionsBoundary",
    "PolicyArn",
    "PolicyDocument",
    "PolicyName",
    "PolicyUsageFilter",
    "Scope",
    "Status",
    "UserName",
    "VersionId",
    "ExpiresAt",
    "Regions",
    "Services",
];
/// Lists of parameters: `Tags.member.1.Key`.
const TOLD_LISTS: [&str; 2] = ["Tags.member.", "TagKeys.member."];

/// The event of a call. `action` is `None` where the request names none that there is.
pub(super) fn event(
    service: Service,
    action: Option<Action>,
    caller: &Caller,
    parameters: &Parameters,
    outcome: Result<&Value, &ApiError>,
    now: i64,
) -> Event {
    let name = action.map_or_else(|| asked_for(parameters), |action| action.name().to_owned());
    let origin = &caller.origin;
    let event = Event::api_call(identity(caller), service.name(), &name, now)
        .from_client(origin.address.clone(), origin.user_agent.as_deref(), &origin.region)
        .about(caller.account, Some(&caller.request_id))
        .read_only(action.is_none_or(|action| !action.changes()))
        .with_parameters(told(parameters));
    match outcome {
        Ok(elements) => event.with_response(elements.clone()),
        Err(error) => event.with_error(error.code, Some(&error.message)),
    }
}

fn identity(caller: &Caller) -> UserIdentity {
    let account = caller.account.to_string();
    let (r#type, principal_id, user_name) = match &caller.principal {
        Principal::Root => ("Root", account.clone(), None),
        Principal::User(user) => ("IAMUser", user.user_id.to_string(), Some(user.name.clone())),
    };
    UserIdentity {
        r#type,
        principal_id: Some(principal_id),
        arn: Some(caller.arn()),
        account_id: Some(account),
        access_key_id: Some(caller.access_key_id.to_string()),
        user_name,
    }
}

/// The name of an action that there is not, if it looks like one.
fn asked_for(parameters: &Parameters) -> String {
    let name = parameters.get("Action").filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric()));
    name.filter(|name| !name.is_empty()).map_or_else(|| "Unknown".into(), excerpt)
}

/// `UserName` is `userName` there.
fn told(parameters: &Parameters) -> Value {
    let mut all = Map::new();
    for name in TOLD {
        if let Some(value) = parameters.get(name) {
            all.insert(small_first(name), value.into());
        }
    }
    for list in TOLD_LISTS {
        let mut items: Vec<_> = parameters.under(list).collect();
        items.sort_unstable();
        if !items.is_empty() {
            let name = small_first(list.trim_end_matches(".member."));
            all.insert(name, items.into_iter().map(|(place, value)| json!({ "at": place, "value": value })).collect());
        }
    }
    if all.is_empty() { Value::Null } else { Value::Object(all) }
}

/// `UserName` to `userName`.
pub(super) fn small_first(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_ascii_lowercase() + rest
}

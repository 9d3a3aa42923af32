//! Who may do what: the account's root everything in its account, a user what concerns itself alone.

use super::action::Action;
use super::caller::{Caller, Principal};
use super::error::ApiError;
use crate::registry::user_arn;

/// What an action is about.
pub(super) enum Subject<'a> {
    /// The caller itself.
    Caller,
    /// A user, by the name in the request.
    User(&'a str),
    /// A user yet to be made, with its path.
    NewUser {
        /// The path asked for.
        path: &'a str,
        /// The name asked for.
        name: &'a str,
    },
    /// All users below a path.
    UsersUnder(&'a str),
    /// A key, and whether it is the caller's own.
    Key {
        /// The id in the request.
        id: &'a str,
        /// Whether it is the caller's.
        own: bool,
    },
}

/// Lets the action pass or says AccessDenied. It comes before anything is looked up by name, so that what a caller may not
/// touch is denied in the same words whether it exists or not.
pub(super) fn authorize(caller: &Caller, action: Action, subject: &Subject<'_>) -> Result<(), ApiError> {
    let allowed = match &caller.principal {
        Principal::Root => true,
        Principal::User(user) => match subject {
            Subject::Caller | Subject::Key { own: true, .. } => is_for_oneself(action),
            Subject::User(name) => is_for_oneself(action) && name.eq_ignore_ascii_case(&user.name),
            Subject::NewUser { .. } | Subject::UsersUnder(_) | Subject::Key { own: false, .. } => false,
        },
    };
    if allowed { Ok(()) } else { Err(denied(caller, action, subject)) }
}

/// What users may do with themselves and their keys.
fn is_for_oneself(action: Action) -> bool {
    match action {
        Action::GetUser
        | Action::CreateAccessKey
        | Action::ListAccessKeys
        | Action::UpdateAccessKey
        | Action::DeleteAccessKey
        | Action::GetAccessKeyLastUsed
        | Action::GetCallerIdentity
        | Action::GetAccessKeyInfo => true,
        Action::CreateUser | Action::ListUsers | Action::DeleteUser => false,
    }
}

fn denied(caller: &Caller, action: Action, subject: &Subject<'_>) -> ApiError {
    let account = caller.account;
    let resource = match subject {
        Subject::Caller => caller.arn(),
        Subject::User(name) => user_arn(account, "/", name),
        Subject::NewUser { path, name } => user_arn(account, path, name),
        Subject::UsersUnder(path) => user_arn(account, path, ""),
        Subject::Key { id, .. } => format!("access key {id}"),
    };
    let (who, what) = (caller.arn(), action.permission());
    let text = format!(
        "User: {who} is not authorized to perform: {what} on resource: {resource} \
         because no identity-based policy allows the {what} action"
    );
    ApiError::sender(403, "AccessDenied", text)
}

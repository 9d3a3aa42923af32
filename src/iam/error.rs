//! Errors as clients see them, and what of them is for the log only.

use serde::Serialize;

use super::action::Service;
use super::xml::{self, legal};
use crate::authority::IssueError;
use crate::registry::RegistryError;

/// Why an action was not done: an HTTP status, a code and a message for the client, and sometimes a text for the log.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {}", inside.as_deref().unwrap_or(message))]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// AWS's code.
    pub code: &'static str,
    /// What the client is told.
    pub message: String,
    /// What the log is told, where the client is told less.
    pub inside: Option<String>,
}

impl ApiError {
    /// The client's fault.
    pub fn sender(status: u16, code: &'static str, message: String) -> Self {
        Self { status, code, message, inside: None }
    }

    /// Our trouble: the client may try again.
    pub fn unavailable(inside: impl std::fmt::Display) -> Self {
        let message = "The service can't decide this now. Try again.".into();
        Self { status: 503, code: "ServiceUnavailable", message, inside: Some(inside.to_string()) }
    }

    /// Our mistake.
    pub fn internal(inside: impl std::fmt::Display) -> Self {
        let message = "The request could not be processed because of an internal error.".into();
        Self { status: 500, code: "InternalFailure", message, inside: Some(inside.to_string()) }
    }

    /// There is nothing of that name.
    pub(super) fn no_such_entity(message: String) -> Self {
        Self::sender(404, "NoSuchEntity", message)
    }

    /// The XML to send.
    pub fn body(&self, service: Service, request_id: &str) -> Vec<u8> {
        let response = ErrorResponse {
            xmlns: service.namespace(),
            error: ErrorElement {
                r#type: if self.status < 500 { "Sender" } else { "Receiver" },
                code: self.code,
                message: legal(&self.message),
            },
            request_id,
        };
        xml::error_response(&response)
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::NoSuchUser { user, .. } => no_such_user(&user),
            RegistryError::UserExists { name, .. } => {
                Self::sender(409, "EntityAlreadyExists", format!("User with name {name} already exists."))
            }
            RegistryError::DeleteConflict(_) => {
                let text = "Cannot delete entity, must delete access keys first.";
                Self::sender(409, "DeleteConflict", text.into())
            }
            RegistryError::HasPolicies(_) => {
                let text = "Cannot delete entity, must delete policies first.";
                Self::sender(409, "DeleteConflict", text.into())
            }
            RegistryError::TooMuch(text) => Self::sender(409, "LimitExceeded", text),
            RegistryError::NoSuchKey(id) => no_such_key(id.as_str()),
            RegistryError::Expired(id) => {
                Self::sender(400, "InvalidInput", format!("The Access Key with id {id} has expired."))
            }
            RegistryError::BeyondOwnTerms(_) => {
                let text = "An access key that is good for some services, some regions or some time only gets none that is \
                            good for more.";
                Self { inside: Some(error.to_string()), ..Self::sender(403, "AccessDenied", text.into()) }
            }
            RegistryError::QuotaExceeded(quota) => {
                Self::sender(409, "LimitExceeded", format!("Cannot exceed quota for AccessKeysPerUser: {quota}"))
            }
            RegistryError::ActorDenied(_) => {
                let text = "The security token included in the request is invalid.";
                Self { inside: Some(error.to_string()), ..Self::sender(403, "InvalidClientTokenId", text.into()) }
            }
            RegistryError::OwnerDenied => {
                let text = "An operator has denied this user, or the account: it gets no access key.";
                Self::sender(403, "AccessDenied", text.into())
            }
            RegistryError::TokenOfAnotherRequest => {
                let text = "This ClientToken was used for a request with other parameters within the last day.";
                Self::sender(400, "IdempotentParameterMismatch", text.into())
            }
            RegistryError::TokenOfDeletedKey(id) => Self::no_such_entity(format!(
                "The Access Key {id}, which this ClientToken was used for, is deleted. Use another ClientToken."
            )),
            RegistryError::SerialsExhausted { .. } => {
                let text = "The account has used up its access key ids: the operator must begin a new generation";
                Self { inside: Some(error.to_string()), ..Self::sender(409, "LimitExceeded", text.into()) }
            }
            // Two requests that differ in nothing and are signed within one second have one signature. A stock client
            // takes this code as a reason to wait, sign again and send again, which is what should happen.
            RegistryError::SignatureReplayed => {
                let text = "A signature gives one access key, and this one was used. Sign the request again.";
                Self::sender(400, "Throttling", text.into())
            }
            error => Self::unavailable(error),
        }
    }
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Registry(error) => error.into(),
            IssueError::NotDerivedAgain(id) => {
                let text = format!("The secret of {id} can't be told again. Delete it, and use another ClientToken.");
                Self { inside: Some(error.to_string()), ..Self::sender(409, "EntityTemporarilyUnmodifiable", text) }
            }
            error => Self::unavailable(error),
        }
    }
}

/// As much of a text from the request as a message quotes.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}

pub(super) fn no_such_user(name: &str) -> ApiError {
    ApiError::no_such_entity(format!("The user with name {name} cannot be found."))
}

pub(super) fn no_such_key(id: &str) -> ApiError {
    ApiError::no_such_entity(format!("The Access Key with id {id} cannot be found."))
}

/// `<ErrorResponse>`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ErrorResponse<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    error: ErrorElement,
    request_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorElement {
    r#type: &'static str,
    code: &'static str,
    message: String,
}

//! One call: from its parameters to the answer.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::action::{Action, Service};
use super::authorize::{Subject, authorize};
use super::caller::{Caller, SignaturePlace};
use super::error::ApiError;
use super::office::KeyOffice;
use super::parameters::Parameters;
use super::{access_keys, sts, users, xml};
use crate::registry::Registry;

/// What to send: `text/xml`, with the request id in the header `x-amzn-RequestId`.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The XML.
    pub body: Bytes,
    /// Whether the XML holds a secret. Then it is wiped when it is dropped, and so should be every copy of it.
    pub holds_secret: bool,
}

/// Without the XML, which may hold a secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body: _, holds_secret } = self;
        f.debug_struct("Answer").field("status", status).field("holds_secret", holds_secret).finish_non_exhaustive()
    }
}

/// Does what an authenticated caller asks of a service. `now` is in unix seconds.
pub async fn answer<O: KeyOffice>(
    registry: &Registry,
    office: &O,
    service: Service,
    caller: &Caller,
    parameters: &Parameters,
    now: i64,
) -> Answer {
    let done = async {
        let action = Action::of(service, parameters)?;
        not_by_url(action, caller)?;
        let registry = &registry.on_behalf_of(caller.access_key_id);
        let body = dispatch(&Call { registry, office, caller, parameters, action, now }).await?;
        Ok(Answer { status: 200, body, holds_secret: action.gives_secret() })
    };
    done.await.unwrap_or_else(|error: ApiError| error.answer(service, &caller.request_id))
}

/// Nothing is changed by a presigned URL: it lies about in logs and histories, and is good for days.
fn not_by_url(action: Action, caller: &Caller) -> Result<(), ApiError> {
    if !action.changes() || caller.signed.place == SignaturePlace::Header {
        return Ok(());
    }
    let text = format!("{} takes a request signed in its Authorization header, not a presigned URL", action.name());
    Err(ApiError::sender(403, "AccessDenied", text))
}

impl ApiError {
    /// The answer that tells the client, once the log is told what the client is not.
    pub fn answer(&self, service: Service, request_id: &str) -> Answer {
        if let Some(inside) = &self.inside {
            tracing::error!(request_id, service = service.name(), code = self.code, "{inside}");
        }
        Answer { status: self.status, body: self.body(service, request_id).into(), holds_secret: false }
    }
}

/// What a handler has to work with.
pub(super) struct Call<'a, O> {
    pub registry: &'a Registry,
    pub office: &'a O,
    pub caller: &'a Caller,
    pub parameters: &'a Parameters,
    pub action: Action,
    pub now: i64,
}

impl<O> Call<'_, O> {
    pub fn authorize(&self, subject: &Subject<'_>) -> Result<(), ApiError> {
        authorize(self.caller, self.action, subject)
    }

    pub fn reply<R: Serialize>(&self, result: &R) -> Bytes {
        xml::response(self.action, Some(result), &self.caller.request_id).into()
    }

    pub fn reply_without_output(&self) -> Bytes {
        xml::response::<()>(self.action, None, &self.caller.request_id).into()
    }
}

async fn dispatch<O: KeyOffice>(call: &Call<'_, O>) -> Result<Bytes, ApiError> {
    match call.action {
        Action::CreateUser => users::create(call).await,
        Action::GetUser => users::get(call).await,
        Action::ListUsers => users::list(call).await,
        Action::DeleteUser => users::delete(call).await,
        Action::CreateAccessKey => access_keys::create(call).await,
        Action::ListAccessKeys => access_keys::list(call).await,
        Action::UpdateAccessKey => access_keys::update(call).await,
        Action::DeleteAccessKey => access_keys::delete(call).await,
        Action::GetAccessKeyLastUsed => access_keys::last_used(call).await,
        Action::GetCallerIdentity => sts::caller_identity(call),
        Action::GetAccessKeyInfo => sts::access_key_info(call),
    }
}

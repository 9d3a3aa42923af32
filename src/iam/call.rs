//! One call: from its parameters to the answer.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use rederive_hsm::access_key_id::AccessKeyId;
use serde::Serialize;
use serde_json::Value;

use super::action::{Action, Service};
use super::authorize::{Details, Subject, authorize};
use super::caller::{Caller, SignaturePlace};
use super::error::ApiError;
use super::office::KeyOffice;
use super::parameters::Parameters;
use super::{access_keys, policies, record, reports, sts, user_changes, users, xml};
use crate::audit::Audit;
use crate::registry::{KeyStatus, Owner, Registry};

/// What to send: `text/xml`, with the request id in the header `x-amzn-RequestId`.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The XML.
    pub body: Bytes,
    /// Whether the XML holds a secret. Then it is wiped when it is dropped, and so should be every copy of it.
    pub holds_secret: bool,
    /// When the key that signed ends, if that is soon.
    pub key_ends_at: Option<i64>,
}

/// Without the XML, which may hold a secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body: _, holds_secret, .. } = self;
        f.debug_struct("Answer").field("status", status).field("holds_secret", holds_secret).finish_non_exhaustive()
    }
}

/// Does what an authenticated caller asks of a service, and records it. `now` is in unix seconds.
///
/// Once begun it should run to its end: what was done before it is dropped stands in no audit log.
pub async fn answer<O: KeyOffice>(
    registry: &Registry,
    office: &O,
    audit: &Audit,
    service: Service,
    caller: &Caller,
    parameters: &Parameters,
    now: i64,
) -> Answer {
    let done = match Action::of(service, parameters) {
        Ok(action) => {
            let registry = &registry.on_behalf_of(caller.access_key_id);
            let call = Call { registry, office, caller, parameters, action, now, effect: OnceLock::new() };
            let done = do_and_record(&call, audit).await;
            let holds_secret = action.gives_secret();
            done.map(|body| Answer { status: 200, body, holds_secret, key_ends_at: None })
        }
        Err(error) => {
            audit.note(record::event(service, None, caller, parameters, Err(&error), now));
            Err(error)
        }
    };
    done.unwrap_or_else(|error: ApiError| error.answer(service, &caller.request_id))
}

/// What gives anybody something is done only while it can be recorded, and answered once it is. What only takes away is done anyway.
async fn do_and_record<O: KeyOffice>(call: &Call<'_, O>, audit: &Audit) -> Result<Bytes, ApiError> {
    let is_done_anyway = !call.action.changes() || call.action.only_takes_away(call.parameters);
    if !is_done_anyway {
        audit.check().await.map_err(ApiError::unavailable)?;
    }
    let done = async {
        not_by_url(call.action, call.caller)?;
        dispatch(call).await
    };
    let done = done.await;
    let effect = call.effect.get();
    let outcome = done.as_ref().map(|_| effect.map_or(&Value::Null, |effect| &effect.elements));
    let event =
        record::event(call.action.service(), Some(call.action), call.caller, call.parameters, outcome, call.now);
    if done.is_err() || !call.action.changes() {
        audit.note(event);
        return done;
    }
    match audit.record(event).await {
        Err(error) if !is_done_anyway => {
            take_back(call).await;
            Err(ApiError::unavailable(error))
        }
        _ => done,
    }
}

/// A key that is not recorded is deleted before anybody has seen its secret.
async fn take_back<O: KeyOffice>(call: &Call<'_, O>) {
    let Some(Effect { issued: Some((id, owner)), .. }) = call.effect.get() else { return };
    let deleted = call.office.set_status(id, owner, KeyStatus::Deleted, call.caller.access_key_id, call.now).await;
    if let Err(error) = deleted {
        tracing::error!(access_key_id = %id, %error, "a key that was not recorded, and that nobody has seen, is still there");
    }
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
        Answer {
            status: self.status,
            body: self.body(service, request_id).into(),
            holds_secret: false,
            key_ends_at: None,
        }
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
    /// What came of it, once something has.
    pub effect: OnceLock<Effect>,
}

/// What an action has brought about.
pub(super) struct Effect {
    /// For the audit log, as CloudTrail names it.
    pub elements: Value,
    /// The key that was issued, and whose it is.
    pub issued: Option<(AccessKeyId, Owner)>,
}

impl<O> Call<'_, O> {
    /// Lets the call pass or says AccessDenied.
    pub async fn authorize(&self, subject: &Subject<'_>) -> Result<(), ApiError> {
        authorize(self, subject, &Details::default()).await
    }

    /// The same, with more that a policy may ask about.
    pub async fn authorize_with(&self, subject: &Subject<'_>, details: &Details<'_>) -> Result<(), ApiError> {
        authorize(self, subject, details).await
    }

    /// Says what came of it, for the audit log.
    pub fn tell(&self, elements: Value) {
        self.tell_all(Effect { elements, issued: None });
    }

    pub fn tell_all(&self, effect: Effect) {
        // Each action brings about one thing.
        let _ = self.effect.set(effect);
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
        Action::AttachUserPolicy => policies::attach(call).await,
        Action::DetachUserPolicy => policies::detach(call).await,
        Action::ListAttachedUserPolicies => policies::list_attached(call).await,
        Action::PutUserPolicy => policies::put(call).await,
        Action::GetUserPolicy => policies::get(call).await,
        Action::DeleteUserPolicy => policies::delete(call).await,
        Action::ListUserPolicies => policies::list(call).await,
        Action::ListPolicies => policies::list_managed(call).await,
        Action::GetPolicy => policies::get_managed(call).await,
        Action::GetPolicyVersion => policies::get_managed_version(call).await,
        Action::UpdateUser => user_changes::update(call).await,
        Action::TagUser => user_changes::tag(call).await,
        Action::UntagUser => user_changes::untag(call).await,
        Action::ListUserTags => user_changes::list_tags(call).await,
        Action::GetAccountSummary => reports::summary(call).await,
        Action::GenerateCredentialReport => reports::generate(call).await,
        Action::GetCredentialReport => reports::get(call).await,
        Action::GetCallerIdentity => Ok(sts::caller_identity(call)),
        Action::GetAccessKeyInfo => sts::access_key_info(call).await,
    }
}

//! The authority behind this door.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    Accepted, Decision, Grants, Malformed, Principal, PrincipalSource, Readiness, Refused, Streaming, Verifier,
    VerifyCall,
};
use crate::authority::{self, Authority, CannotDecide, Content, Holder, NotAccepted};
use crate::config::Names;
use crate::explain::Deviation;
use crate::http::RequestId;
use crate::sigv4::{Expectation, Family, PayloadStatus, Refusal, Regions, Verified};

/// When a caller may ask again: a worker is replaced in less.
const RETRY_AFTER_MS: u64 = 500;

impl Readiness for Authority {
    async fn troubles(&self) -> Vec<String> {
        Authority::troubles(self).await
    }
}

impl Verifier for Authority {
    async fn verify(&self, call: VerifyCall<'_>, caller: &Grants, _: &RequestId) -> Decision {
        let family = Family::of(call.expect_service);
        let expectation = Expectation { service: call.expect_service, regions: regions(call.expect_region, caller) };
        let content = call.form.as_ref().map_or(Content::Body(call.body), Content::Form);
        let outcome = Authority::verify(self, &call.head, content, &expectation).await;
        match outcome {
            Ok(accepted) => Decision::Accept(Box::new(accept(&accepted, call.want_signing_key))),
            Err(NotAccepted::Refused(refusal)) => {
                let deviations = match call.explain {
                    true => Some(self.deviations(&call.head, call.body, &expectation, &refusal).await),
                    false => None,
                };
                refuse(family, &refusal, deviations)
            }
            Err(NotAccepted::CannotDecide(trouble)) => unavailable(&trouble),
            Err(NotAccepted::BodyRequired) => Decision::Malformed(body_required()),
        }
    }
}

fn regions<'e>(expected: Option<&'e str>, caller: &'e Grants) -> Regions<'e> {
    match (expected, &caller.regions) {
        (Some(region), _) => Regions::Named(region),
        (None, Names::Any) => Regions::Any,
        (None, Names::Only(regions)) => Regions::OneOf(regions),
    }
}

fn body_required() -> Malformed {
    let message = "the signature covers the body: give `body`, or its hash in `payload_sha256`";
    Malformed::new("body_required", "body", message)
}

fn refuse(family: Family, refusal: &Refusal, deviations: Option<Vec<Deviation>>) -> Decision {
    let outside = refusal.outside(family);
    tracing::debug!(code = outside.code, message = outside.message, "refused");
    Decision::Refuse(Refused {
        code: outside.code.into(),
        message: outside.message,
        http_status: outside.http_status,
        elements: outside.elements,
        deviations,
    })
}

fn unavailable(trouble: &CannotDecide) -> Decision {
    tracing::warn!(%trouble, "cannot decide");
    Decision::Unavailable { reason: Cow::Borrowed(trouble.outside()), retry_after_ms: RETRY_AFTER_MS }
}

fn accept(accepted: &authority::Accepted<'_>, want_signing_key: bool) -> Accepted {
    let (verified, holder) = (&accepted.verified, accepted.holder());
    let scope = verified.scope();
    Accepted {
        access_key_id: verified.access_key_id().to_owned(),
        account: holder.account().to_string(),
        principal: principal(holder),
        principal_source: match holder {
            Holder::Row(_) => PrincipalSource::Registry,
            Holder::Unresolved(_) => PrincipalSource::None,
        },
        credential_scope: format!("{}/{}/{}/aws4_request", scope.date(), scope.region(), scope.service()),
        signed_headers: verified
            .signed_headers()
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
        payload: verified.payload(),
        form: verified.form().cloned(),
        streaming: streaming(verified),
        signing_key: want_signing_key.then(|| accepted.signing_key().clone()),
        valid_until: time(verified.valid_until()),
        deny_list_as_of: time(accepted.deny_list_as_of),
        waited_for_hsm: accepted.waited,
    }
}

fn streaming(verified: &Verified<'_>) -> Option<Streaming> {
    match verified.payload() {
        PayloadStatus::Streaming(kind) => {
            Some(Streaming { kind, date: verified.date(), seed_signature: verified.signature() })
        }
        PayloadStatus::Checked | PayloadStatus::Unsigned | PayloadStatus::NotChecked => None,
    }
}

fn principal(holder: &Holder) -> Option<Principal> {
    let Holder::Row(key) = holder else { return None };
    let (kind, user_id) = match &key.user {
        Some(user) => ("user", user.user_id.to_string()),
        None => ("root", key.account.to_string()),
    };
    Some(Principal { kind: kind.into(), arn: key.arn(), user_id })
}

fn time(unix: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix.max(0) as u64)
}

//! The authority behind this door.

use std::borrow::Cow;

use tokio::sync::watch;

use super::{Accepted, Decision, Grants, Malformed, Readiness, Refused, Verifier, VerifyCall, acceptance};
use crate::authority::{Authority, CannotDecide, Content, NotAccepted};
use crate::config::Names;
use crate::explain::Deviation;
use crate::http::RequestId;
use crate::sigv4::{Expectation, Family, Refusal, Regions};

/// When a caller may ask again: a worker is replaced in less.
const RETRY_AFTER_MS: u64 = 500;

impl Readiness for Authority {
    async fn troubles(&self) -> Vec<String> {
        Authority::troubles(self).await
    }
}

impl Verifier for Authority {
    fn draining(&self) -> watch::Receiver<bool> {
        Authority::draining(self)
    }

    async fn verify<'a>(&self, call: &VerifyCall<'_, 'a>, caller: &Grants, _: &RequestId) -> Decision<'a> {
        let family = Family::of(call.expect_service);
        let expectation = expectation(call, caller);
        let content = call.form.as_ref().map_or(Content::Body(call.body), Content::Form);
        let outcome = caller.asker.asks(self.verify_any(call.head, content, &expectation)).await;
        match outcome {
            Ok(accepted) => Decision::Accept(acceptance::of(accepted, call.want_signing_key)),
            Err(NotAccepted::Refused(refusal)) => {
                let deviations = match call.explain {
                    true => Some(self.deviations(call.head, content, &expectation, &refusal).await),
                    false => None,
                };
                refuse(family, &refusal, deviations)
            }
            Err(NotAccepted::CannotDecide(trouble)) => unavailable(&trouble),
            Err(NotAccepted::BodyRequired) => Decision::Malformed(body_required()),
        }
    }

    fn verify_at_hand<'a>(&self, call: &VerifyCall<'_, 'a>, caller: &Grants) -> Option<Accepted<'a>> {
        if call.form.is_some() {
            return None;
        }
        let accepted = self.verify_at_hand(call.head, call.body, &expectation(call, caller))?;
        Some(acceptance::v4(&accepted, call.want_signing_key))
    }
}

fn expectation<'e>(call: &'e VerifyCall<'_, '_>, caller: &'e Grants) -> Expectation<'e> {
    Expectation { service: call.expect_service, regions: regions(call.expect_region, caller) }
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

fn refuse<'a>(family: Family, refusal: &Refusal, deviations: Option<Vec<Deviation>>) -> Decision<'a> {
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

fn unavailable<'a>(trouble: &CannotDecide) -> Decision<'a> {
    tracing::warn!(%trouble, "cannot decide");
    Decision::Unavailable { reason: Cow::Borrowed(trouble.outside()), retry_after_ms: RETRY_AFTER_MS }
}

//! One decision, counted, whichever format asks for it.

use std::sync::Arc;
use std::time::Instant;

use super::{Accepted, Decision, Grants, Metrics, Verifier, VerifyCall};
use crate::audit::{Audit, Event, UserIdentity};
use crate::http::RequestId;
use crate::sigv4::{RequestHead, SignedRequest};

/// The authority, and who counts what it decides.
pub(super) struct Decider<A> {
    pub authority: Arc<A>,
    pub metrics: Arc<Metrics>,
    pub audit: Audit,
}

impl<A: Verifier> Decider<A> {
    pub async fn decide<'a>(&self, call: &VerifyCall<'_, 'a>, caller: &Grants, id: &RequestId) -> Decision<'a> {
        let (start, service) = (Instant::now(), call.expect_service);
        let decision = self.authority.verify(call, caller, id).await;
        let (kind, code) = match &decision {
            Decision::Accept(_) => ("accept", ""),
            Decision::Refuse(refused) => ("refuse", &*refused.code),
            Decision::Unavailable { .. } => ("unavailable", ""),
            Decision::Malformed(what) => ("malformed", what.code),
        };
        let waited_for_hsm = matches!(&decision, Decision::Accept(accepted) if accepted.waited_for_hsm);
        self.metrics.verified(kind, code, start.elapsed(), waited_for_hsm);
        if let Decision::Refuse(refused) = &decision {
            let claimed = || claimed_id(call.head);
            self.audit.refused(service, &refused.code, |at| {
                let event = Event::refused(UserIdentity::unknown(claimed().as_deref()), service, &refused.code, at);
                event.with_data("caller", caller.caller.to_string()).with_data("requestID", id.to_string())
            });
        }
        tracing::debug!(caller = %caller.caller, decision = kind, code, "decided");
        decision
    }

    /// The same for what is accepted without a wait; `None` says nothing. Whoever asks counts it.
    pub fn decide_at_hand<'a>(&self, call: &VerifyCall<'_, 'a>, caller: &Grants) -> Option<Accepted<'a>> {
        let accepted = self.authority.verify_at_hand(call, caller)?;
        tracing::debug!(caller = %caller.caller, decision = "accept", "decided");
        Some(accepted)
    }

    /// So many were accepted without a wait since then: to look at the clock for each of them costs as much as to read one.
    pub fn count_at_hand(&self, accepted: usize, since: Instant) {
        if accepted > 0 {
            self.metrics.accepted_at_hand(accepted, since.elapsed() / accepted as u32);
        }
    }
}

/// The access key id that a request claims, if it has the form of one.
fn claimed_id(head: &RequestHead<'_>) -> Option<String> {
    let id = SignedRequest::parse(head).ok()?.access_key_id().to_owned();
    rederive_hsm::access_key_id::AccessKeyId::parse(id.as_bytes()).map(|id| id.to_string())
}

//! One decision, counted, whichever format asks for it.

use std::sync::Arc;
use std::time::Instant;

use super::{Decision, Grants, Metrics, Verifier, VerifyCall};
use crate::http::RequestId;

/// The authority, and who counts what it decides.
pub(super) struct Decider<A> {
    pub authority: Arc<A>,
    pub metrics: Arc<Metrics>,
}

impl<A: Verifier> Decider<A> {
    pub async fn decide(&self, call: VerifyCall<'_>, caller: &Grants, id: &RequestId) -> Decision {
        let start = Instant::now();
        let decision = self.authority.verify(call, caller, id).await;
        let (kind, code) = match &decision {
            Decision::Accept(_) => ("accept", ""),
            Decision::Refuse(refused) => ("refuse", &*refused.code),
            Decision::Unavailable { .. } => ("unavailable", ""),
            Decision::Malformed(what) => ("malformed", what.code),
        };
        let waited_for_hsm = matches!(&decision, Decision::Accept(accepted) if accepted.waited_for_hsm);
        self.metrics.verified(kind, code, start.elapsed(), waited_for_hsm);
        tracing::debug!(caller = %caller.caller, decision = kind, code, "decided");
        decision
    }
}

//! Many gRPC calls in one: a batch, and a stream.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tonic::Status;

use super::decide::Decider;
use super::grpc::{Asking, accept, refuse, verify_call};
use super::v1::outcome::Outcome;
use super::{Decision, Malformed, Verifier, v1};

/// The most requests of a batch.
const MAX_BATCH: usize = 256;
/// Requests of one stream that are decided at a time: enough that one which waits for the HSM holds up few.
const AT_A_TIME: usize = 64;

/// The outcomes of a stream's requests, in their order.
pub(super) type Outcomes = Pin<Box<dyn Stream<Item = Result<v1::Outcome, Status>> + Send>>;

/// Decides all of a batch. Nearly all are decided without a wait, and the rest wait together.
pub(super) async fn batch<A: Verifier>(
    decider: &Decider<A>,
    asking: &Asking,
    requests: &[v1::VerifyRequest],
) -> Result<Vec<v1::Outcome>, Malformed> {
    if requests.len() > MAX_BATCH {
        return Err(Malformed::too_large("requests", format!("more than {MAX_BATCH} requests in a batch")));
    }
    let (mut outcomes, mut waiting) = (Vec::with_capacity(requests.len()), Vec::new());
    for (place, request) in requests.iter().enumerate() {
        let mut deciding = Box::pin(decide(decider, asking, request));
        outcomes.push((&mut deciding).now_or_never().unwrap_or_default());
        if outcomes[place].outcome.is_none() {
            waiting.push(deciding.map(move |outcome| (place, outcome)));
        }
    }
    for (place, outcome) in join_all(waiting).await {
        outcomes[place] = outcome;
    }
    Ok(outcomes)
}

/// Decides requests as they come.
pub(super) fn stream<A: Verifier>(
    decider: Arc<Decider<A>>,
    asking: Asking,
    requests: tonic::Streaming<v1::VerifyRequest>,
) -> Outcomes {
    let decide_one = move |request: Result<v1::VerifyRequest, Status>| {
        let (decider, asking) = (decider.clone(), asking.clone());
        async move { Ok(decide(&decider, &asking, &request?).await) }
    };
    Box::pin(requests.map(decide_one).buffered(AT_A_TIME))
}

async fn decide<A: Verifier>(decider: &Decider<A>, asking: &Asking, request: &v1::VerifyRequest) -> v1::Outcome {
    let outcome = match decide_call(decider, asking, request).await {
        Decision::Accept(accepted) => Outcome::Accept(Box::new(accept(*accepted))),
        Decision::Refuse(refused) => Outcome::Refuse(refuse(refused)),
        Decision::Unavailable { reason, retry_after_ms } => {
            Outcome::Unavailable(v1::Unavailable { reason: reason.into_owned(), retry_after_ms })
        }
        Decision::Malformed(Malformed { code, at, message }) => {
            Outcome::Malformed(v1::Malformed { error: code.to_owned(), at, message })
        }
    };
    v1::Outcome { outcome: Some(outcome) }
}

async fn decide_call<A: Verifier>(decider: &Decider<A>, asking: &Asking, request: &v1::VerifyRequest) -> Decision {
    let call = match verify_call(request) {
        Ok(call) => call,
        Err(malformed) => return Decision::Malformed(malformed),
    };
    match asking.caller.check(&call) {
        Ok(()) => decider.decide(call, &asking.caller, &asking.request_id).await,
        Err(denied) => Decision::Malformed(Malformed::new("not_granted", denied.at, denied.message)),
    }
}

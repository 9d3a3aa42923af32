//! Many gRPC calls in one: a batch, and a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tonic::Status;

use super::decide::Decider;
use super::grpc::{Asking, refuse, verify_call};
use super::v1::outcome::Outcome;
use super::written::{Written, WrittenBatch};
use super::{Decision, Malformed, Verifier, v1};
use crate::sigv4::HeadPlace;

/// The most requests of a batch.
const MAX_BATCH: usize = 256;
/// Requests of one stream that are decided at a time: enough that one which waits for the HSM holds up few.
const AT_A_TIME: usize = 64;

/// Decides all of a batch: what needs no wait first, as it comes, and the rest together.
pub(super) async fn batch<A: Verifier>(
    decider: &Decider<A>,
    asking: &Asking,
    requests: &[v1::VerifyRequest],
) -> Result<Written, Malformed> {
    if requests.len() > MAX_BATCH {
        return Err(Malformed::too_large("requests", format!("more than {MAX_BATCH} requests in a batch")));
    }
    let (mut outcomes, mut outcome) = (WrittenBatch::with_capacity(requests.len()), Written::default());
    let (mut waiting, since, mut accepted) = (Vec::new(), Instant::now(), 0);
    for request in requests {
        match at_hand(decider, asking, request, &mut outcome) {
            true => {
                outcomes.push(&outcome);
                accepted += 1;
            }
            false => {
                let place = outcomes.end();
                waiting.push(decide(decider, asking, request).map(move |outcome| (place, outcome)));
            }
        }
    }
    decider.count_at_hand(accepted, since);
    if !waiting.is_empty() {
        outcomes.insert(&join_all(waiting).await);
    }
    Ok(outcomes.finish(asking.request_id.as_str()))
}

/// The outcomes of a stream's requests, in their order, decided as they come.
pub(super) struct Outcomes<A> {
    decider: Arc<Decider<A>>,
    asking: Asking,
    /// `None` when there are no more.
    requests: Option<tonic::Streaming<v1::VerifyRequest>>,
    /// What has to be waited for, and what comes after it.
    waiting: FuturesOrdered<BoxFuture<'static, Result<Written, Status>>>,
    /// Ready when this node is about to end.
    draining: BoxFuture<'static, ()>,
}

impl<A: Verifier> Outcomes<A> {
    pub fn new(decider: Arc<Decider<A>>, asking: Asking, requests: tonic::Streaming<v1::VerifyRequest>) -> Self {
        let mut told = decider.authority.draining();
        let draining = async move {
            // Who can tell nothing any more ends nothing.
            if told.wait_for(|draining| *draining).await.is_err() {
                std::future::pending().await
            }
        };
        Self { decider, asking, requests: Some(requests), waiting: FuturesOrdered::new(), draining: draining.boxed() }
    }

    /// Takes requests that are there. An outcome that needs no wait comes back at once, if none has to come before it.
    fn take_requests(&mut self, context: &mut Context<'_>) -> Option<Written> {
        let mut since = Instant::now();
        while self.waiting.len() < AT_A_TIME
            && let Some(requests) = &mut self.requests
            && let Poll::Ready(request) = requests.poll_next_unpin(context)
        {
            match request {
                None => self.requests = None,
                Some(Err(status)) => self.waiting.push_back(std::future::ready(Err(status)).boxed()),
                Some(Ok(request)) => {
                    let mut outcome = Written::default();
                    if !at_hand(&self.decider, &self.asking, &request, &mut outcome) {
                        self.waiting.push_back(self.decide(request));
                        continue;
                    }
                    self.decider.count_at_hand(1, since);
                    if self.waiting.is_empty() {
                        return Some(outcome);
                    }
                    self.waiting.push_back(std::future::ready(Ok(outcome)).boxed());
                    since = Instant::now();
                }
            }
        }
        None
    }

    fn decide(&self, request: v1::VerifyRequest) -> BoxFuture<'static, Result<Written, Status>> {
        let (decider, asking) = (self.decider.clone(), self.asking.clone());
        async move { Ok(decide(&decider, &asking, &request).await) }.boxed()
    }
}

impl<A: Verifier> Stream for Outcomes<A> {
    type Item = Result<Written, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(outcome) = self.take_requests(context) {
            return Poll::Ready(Some(Ok(outcome)));
        }
        match self.waiting.poll_next_unpin(context) {
            // All that came is answered: a node that is about to end waits for no more.
            Poll::Ready(None) if self.requests.is_some() => self.draining.poll_unpin(context).map(|()| {
                self.requests = None;
                Some(Err(Status::unavailable("this node is about to end")))
            }),
            outcome => outcome,
        }
    }
}

/// Writes the outcome of a request that is accepted without a wait; whether it was.
fn at_hand<A: Verifier>(
    decider: &Decider<A>,
    asking: &Asking,
    request: &v1::VerifyRequest,
    outcome: &mut Written,
) -> bool {
    let mut place = HeadPlace::default();
    let Ok(call) = verify_call(request, &mut place) else { return false };
    if asking.caller.check(&call).is_err() {
        return false;
    }
    let Some(accepted) = decider.decide_at_hand(&call, &asking.caller) else { return false };
    outcome.put_accepted_outcome(&accepted);
    true
}

async fn decide<A: Verifier>(decider: &Decider<A>, asking: &Asking, request: &v1::VerifyRequest) -> Written {
    let mut place = HeadPlace::default();
    let outcome = match verify_call(request, &mut place) {
        Err(malformed) => Outcome::Malformed(told(malformed)),
        Ok(call) => match asking.caller.check(&call) {
            Err(denied) => Outcome::Malformed(told(Malformed::new("not_granted", denied.at, denied.message))),
            Ok(()) => match decider.decide(&call, &asking.caller, &asking.request_id).await {
                Decision::Accept(accepted) => {
                    let mut outcome = Written::default();
                    outcome.put_accepted_outcome(&accepted);
                    return outcome;
                }
                Decision::Refuse(refused) => Outcome::Refuse(refuse(refused)),
                Decision::Unavailable { reason, retry_after_ms } => {
                    Outcome::Unavailable(v1::Unavailable { reason: reason.into_owned(), retry_after_ms })
                }
                Decision::Malformed(malformed) => Outcome::Malformed(told(malformed)),
            },
        },
    };
    Written::of(&v1::Outcome { outcome: Some(outcome) })
}

fn told(Malformed { code, at, message }: Malformed) -> v1::Malformed {
    v1::Malformed { error: code.to_owned(), at, message }
}

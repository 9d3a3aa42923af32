//! Many gRPC calls in one: a batch, and a stream.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tonic::Status;

use super::decide::Decider;
use super::grpc::{Asking, malformed, refuse, verify_call};
use super::v1::outcome::Outcome;
use super::written::{Written, WrittenBatch, WrittenOutcomes};
use super::{Accepted, Decision, Malformed, Verifier, VerifyCall, asked, v1};
use crate::sigv4::HeadPlace;

/// The most requests of a batch.
const MAX_BATCH: usize = 256;
/// Requests of one stream that are decided at a time: enough that one which waits for the HSM holds up few.
const AT_A_TIME: usize = 64;

/// Decides all of a batch: what needs no wait first, as it comes, and the rest together.
pub(super) async fn batch<A: Verifier>(
    decider: &Decider<A>,
    asking: &Asking,
    batch: &Bytes,
) -> Result<Written, Status> {
    let requests = asked::requests_of(batch, MAX_BATCH)?;
    if requests.len() > MAX_BATCH {
        let message = format!("more than {MAX_BATCH} requests in a batch");
        return Err(malformed(&Malformed::too_large("requests", message)));
    }
    let mut outcomes = WrittenBatch::with_capacity(requests.len());
    let (mut waiting, since, mut accepted) = (Vec::new(), Instant::now(), 0);
    for request in requests {
        match at_hand(decider, asking, (batch, request), |accepted| outcomes.push_accepted(accepted))? {
            None => accepted += 1,
            Some(request) => {
                let place = outcomes.end();
                waiting.push(async move { (place, decide(decider, asking, &request).await) });
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
    requests: Option<tonic::Streaming<Bytes>>,
    /// What was at hand.
    written: WrittenOutcomes,
    /// What comes after that: what has to be waited for, and what came after it.
    waiting: FuturesOrdered<BoxFuture<'static, Result<Written, Status>>>,
    /// Ready when this node is about to end.
    draining: BoxFuture<'static, ()>,
}

impl<A: Verifier> Outcomes<A> {
    pub fn new(decider: Arc<Decider<A>>, asking: Asking, requests: tonic::Streaming<Bytes>) -> Self {
        let mut told = decider.authority.draining();
        let draining = async move {
            // Who can tell nothing any more ends nothing.
            if told.wait_for(|draining| *draining).await.is_err() {
                std::future::pending().await
            }
        };
        let (written, waiting) = (WrittenOutcomes::default(), FuturesOrdered::new());
        Self { decider, asking, requests: Some(requests), written, waiting, draining: draining.boxed() }
    }

    /// Takes the requests that are there, and decides those that need no wait.
    fn take_requests(&mut self, context: &mut Context<'_>) {
        let (since, mut accepted) = (Instant::now(), 0);
        while self.waiting.len() + self.written.len() < AT_A_TIME
            && let Some(requests) = &mut self.requests
            && let Poll::Ready(request) = requests.poll_next_unpin(context)
        {
            match request.map(|request| request.and_then(|bytes| self.take(&bytes))) {
                None => self.requests = None,
                Some(Ok(None)) => accepted += 1,
                Some(Ok(Some(request))) => self.waiting.push_back(self.decide(request)),
                Some(Err(status)) => {
                    self.requests = None;
                    self.waiting.push_back(ready(Err(status)).boxed());
                }
            }
        }
        self.decider.count_at_hand(accepted, since);
    }

    /// Takes one request. Gives it back if it needs a wait.
    fn take(&mut self, bytes: &Bytes) -> Result<Option<v1::VerifyRequest>, Status> {
        at_hand(&self.decider, &self.asking, (bytes, bytes), |accepted| match self.waiting.is_empty() {
            true => self.written.push_accepted(accepted),
            false => self.waiting.push_back(ready(Ok(Written::accepted_outcome(accepted))).boxed()),
        })
    }

    fn decide(&self, request: v1::VerifyRequest) -> BoxFuture<'static, Result<Written, Status>> {
        let (decider, asking) = (self.decider.clone(), self.asking.clone());
        async move { Ok(decide(&decider, &asking, &request).await) }.boxed()
    }
}

impl<A: Verifier> Stream for Outcomes<A> {
    type Item = Result<Written, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.written.is_empty() {
            self.take_requests(context);
        }
        if let Some(outcome) = self.written.pop() {
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

/// Puts the acceptance of a request, a part of these bytes, if nothing has to be waited for. Gives back any other, which is to be decided.
fn at_hand<A: Verifier>(
    decider: &Decider<A>,
    asking: &Asking,
    (bytes, request): (&Bytes, &[u8]),
    put: impl FnOnce(&Accepted<'_>),
) -> Result<Option<v1::VerifyRequest>, Status> {
    let accept = |call: &VerifyCall<'_, '_>| {
        asking.caller.check(call).ok()?;
        decider.decide_at_hand(call, &asking.caller).map(|accepted| put(&accepted))
    };
    let mut place = HeadPlace::default();
    if let Some(call) = asked::plain_call(request, &mut place) {
        return if accept(&call).is_some() { Ok(None) } else { asked::decode(bytes.slice_ref(request)).map(Some) };
    }
    let request = asked::decode(bytes.slice_ref(request))?;
    let is_accepted = {
        let mut place = HeadPlace::default();
        verify_call(&request, &mut place).is_ok_and(|call| accept(&call).is_some())
    };
    Ok((!is_accepted).then_some(request))
}

async fn decide<A: Verifier>(decider: &Decider<A>, asking: &Asking, request: &v1::VerifyRequest) -> Written {
    let mut place = HeadPlace::default();
    let outcome = match verify_call(request, &mut place) {
        Err(malformed) => Outcome::Malformed(told(malformed)),
        Ok(call) => match asking.caller.check(&call) {
            Err(denied) => Outcome::Malformed(told(Malformed::new("not_granted", denied.at, denied.message))),
            Ok(()) => match decider.decide(&call, &asking.caller, &asking.request_id).await {
                Decision::Accept(accepted) => return Written::accepted_outcome(&accepted),
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

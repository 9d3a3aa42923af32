//! All workers of all tokens: a request goes to one of them, and to a second when the first errs or takes long.

use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};

use super::balance::Balance;
use super::lanes::Lanes;
use super::line::Line;
use super::replicas::Replicas;
use super::{Counts, Unavailable, count};
use crate::access_key_id::Generation;
use crate::config::GenerationConfig;
use crate::wire::{Answer, Reason, Request};

/// How often one request may be asked of each worker: an HMAC has no effect, so repeating is safe.
const ROUNDS: usize = 2;

/// One worker as the pool knows it.
pub(super) struct Member {
    pub(super) line: Line,
    /// The number of its token.
    pub(super) token: usize,
    /// After how long another one is asked instead.
    pub(super) deadline: Duration,
    /// Wakes whoever checks it.
    pub(super) look: Notify,
}

/// The workers, and the books over them.
pub(super) struct Pool {
    /// The tokens' names.
    pub(super) tokens: Vec<Arc<str>>,
    pub(super) members: Vec<Member>,
    pub(super) balance: Mutex<Balance>,
    /// When a worker last computed a recorded check value.
    pub(super) checked: Mutex<Option<Instant>>,
    /// Told whenever a worker's standing changes.
    pub(super) changed: watch::Sender<()>,
    /// What was recorded of the generations that live.
    pub(super) generations: RwLock<Vec<GenerationConfig>>,
    pub(super) replicas: Replicas,
    pub(super) counts: Arc<Counts>,
    pub(super) lanes: Lanes,
    /// After how long a caller is told that there is no answer.
    pub(super) deadline: Duration,
}

/// A request that is with a worker. When nobody waits for it any more, the books say so.
struct Flight<'a> {
    pool: &'a Pool,
    worker: usize,
    sent: Instant,
    landed: bool,
}

impl Flight<'_> {
    fn land(&mut self) {
        self.landed = true;
        self.pool.books().answered(self.worker, self.sent.elapsed(), Instant::now());
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.landed {
            self.pool.books().abandoned(self.worker);
            self.pool.members[self.worker].look.notify_one();
        }
    }
}

impl Pool {
    /// The books, for one look.
    pub(super) fn books(&self) -> MutexGuard<'_, Balance> {
        // They are whole between any two statements.
        self.balance.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks whoever is best, not `avoided` if another is as good. Gives the worker with its answer.
    pub(super) async fn ask(&self, request: &Request, avoided: Option<usize>) -> Result<(usize, Answer), Unavailable> {
        let mut trouble = "no HSM worker is ready".to_owned();
        let outcome = tokio::time::timeout(self.deadline, async {
            let _room = self.lanes.enter(request).await.map_err(|_| {
                count(&self.counts.full);
                "too many wait already".to_owned()
            })?;
            self.race(request, avoided, &mut trouble).await
        })
        .await;
        let late = |_| Err(format!("no answer within {} ms: {trouble}", self.deadline.as_millis()));
        outcome.unwrap_or_else(late).map_err(|reason| self.unavailable(reason))
    }

    /// One worker, then another when it errs or takes longer than most answers do; the first answer counts.
    async fn race(
        &self,
        request: &Request,
        avoided: Option<usize>,
        trouble: &mut String,
    ) -> Result<(usize, Answer), String> {
        self.books().count_request();
        let mut changes = self.changed.subscribe();
        let mut running = FuturesUnordered::new();
        let mut tried = Vec::new();
        let mut asked = 0;
        loop {
            if running.is_empty() {
                if asked >= ROUNDS * self.members.len() {
                    return Err(trouble.clone());
                }
                match self.pick(request, &tried, avoided) {
                    Some(worker) => {
                        asked += 1;
                        tried.push(worker);
                        running.push(self.attempt(worker, request));
                    }
                    // Nobody is left: from the beginning, when something changes.
                    None => {
                        let _ = changes.changed().await;
                        tried.clear();
                        continue;
                    }
                }
            }
            let patience = self.books().hedge_after();
            tokio::select! {
                biased;
                Some((worker, outcome)) = running.next() => match outcome {
                    Ok(answer) => return Ok((worker, answer)),
                    Err(reason) => *trouble = reason,
                },
                () = tokio::time::sleep(patience), if running.len() == 1 => {
                    if let Some(second) = self.hedge(request, &tried, avoided) {
                        tried.push(second);
                        running.push(self.attempt(second, request));
                    }
                }
            }
        }
    }

    fn pick(&self, request: &Request, tried: &[usize], avoided: Option<usize>) -> Option<usize> {
        self.books().pick(generation_of(request), tried, avoided, Instant::now())
    }

    /// A second worker for a request that takes long, within the budget.
    fn hedge(&self, request: &Request, tried: &[usize], avoided: Option<usize>) -> Option<usize> {
        let mut books = self.books();
        let second = books.pick(generation_of(request), tried, avoided, Instant::now())?;
        if !books.may_hedge() {
            books.abandoned(second);
            return None;
        }
        count(&self.counts.hedges);
        Some(second)
    }

    /// Asks one worker. What is no answer puts it in doubt; that it does not have the key says nothing against it.
    async fn attempt(&self, worker: usize, request: &Request) -> (usize, Result<Answer, String>) {
        let member = &self.members[worker];
        let mut flight = Flight { pool: self, worker, sent: Instant::now(), landed: false };
        let outcome = tokio::time::timeout(member.deadline, member.line.ask(request.clone())).await;
        let reason = match outcome {
            Ok(Ok(Answer::Trouble(reason))) | Ok(Err(reason)) => reason,
            Ok(Ok(Answer::Refused(reason @ (Reason::Generation | Reason::NoControlKey)))) => {
                flight.land();
                return (worker, Err(self.of_token(worker, &format!("it refused: {reason}"))));
            }
            Ok(Ok(answer)) => {
                flight.land();
                return (worker, Ok(answer));
            }
            Err(_) => format!("no answer within {} ms", member.deadline.as_millis()),
        };
        let reason = self.of_token(worker, &reason);
        // Signing heads needs another key of the token, whose trouble is no trouble of the masters.
        if !matches!(request, Request::SignHead(_)) {
            self.doubt(worker, &reason);
        }
        (worker, Err(reason))
    }

    fn doubt(&self, worker: usize, reason: &str) {
        if self.books().doubt(worker, reason) {
            tracing::warn!(
                token = &*self.tokens[self.members[worker].token],
                worker,
                reason,
                "an HSM worker is doubted"
            );
            self.changed.send_replace(());
        }
        self.members[worker].look.notify_one();
    }

    /// A reason with the token's name.
    pub(super) fn of_token(&self, worker: usize, reason: &str) -> String {
        format!("token '{}': {reason}", self.tokens[self.members[worker].token])
    }

    pub(super) fn unavailable(&self, reason: String) -> Unavailable {
        Unavailable { reason }
    }
}

/// The generation whose master a request needs.
fn generation_of(request: &Request) -> Option<Generation> {
    match request {
        Request::SigningKey { id, .. } | Request::SigV4aPublicKey { id, .. } => Some(id.fields().generation()),
        Request::MatchesV2(question) => Some(question.id().fields().generation()),
        Request::TagKey(generation) | Request::Check(generation) | Request::Issue { generation, .. } => {
            Some(*generation)
        }
        Request::SignHead(_) | Request::Tally(_) => None,
    }
}

//! One request: asked of one worker, and of another when that errs or takes longer than most answers do; the first answer counts.
//!
//! One timer serves all that there is to wait for: asking a second worker, giving up one that was asked, and giving up.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until, timeout_at};

use super::line::Reply;
use super::pool::Pool;
use super::{Unavailable, count};
use crate::access_key_id::Generation;
use crate::wire::{Answer, Reason, Request};

/// How often one request may be asked of each worker: an HMAC has no effect, so repeating is safe.
const ROUNDS: usize = 2;
/// Workers that are asked the same at a time.
const AT_A_TIME: usize = 2;

/// A request that is with a worker. When nobody waits for it any more, the books say so.
struct Flight<'a> {
    pool: &'a Pool,
    worker: usize,
    sent: Instant,
    /// When it is given up.
    due: Instant,
    reply: Reply,
    has_landed: bool,
}

/// A request on its way to an answer.
struct Race<'a> {
    pool: &'a Pool,
    request: &'a Arc<Request>,
    avoided: Option<usize>,
    /// When whoever asks is told that there is none.
    until: Instant,
    changes: watch::Receiver<()>,
    flights: [Option<Flight<'a>>; AT_A_TIME],
    /// Workers that were asked, since everybody was asked last.
    tried: Vec<usize>,
    asked: usize,
    /// When a second worker is asked.
    hedge: Instant,
    trouble: String,
}

impl Pool {
    /// Asks whoever is best, not `avoided` if another is as good. Gives the worker with its answer.
    pub(super) async fn ask(&self, request: Request, avoided: Option<usize>) -> Result<(usize, Answer), Unavailable> {
        let until = Instant::now() + self.deadline;
        let room = timeout_at(until.into(), self.lanes.enter(&request)).await;
        let _room = match room {
            Ok(Ok(room)) => room,
            Ok(Err(_)) => {
                count(&self.counts.full);
                return Err(self.unavailable("too many wait already".into()));
            }
            Err(_) => return Err(self.unavailable(self.late("no worker had room for it"))),
        };
        let request = Arc::new(request);
        let race = Race {
            pool: self,
            request: &request,
            avoided,
            until,
            changes: self.changed.subscribe(),
            flights: Default::default(),
            tried: Vec::new(),
            asked: 0,
            hedge: until,
            trouble: String::new(),
        };
        race.run().await.map_err(|reason| self.unavailable(reason))
    }

    fn late(&self, trouble: &str) -> String {
        format!("no answer within {} ms: {trouble}", self.deadline.as_millis())
    }
}

impl<'a> Race<'a> {
    async fn run(mut self) -> Result<(usize, Answer), String> {
        let mut clock = pin!(sleep_until(self.until.into()));
        self.pool.books().count_request();
        loop {
            let now = Instant::now();
            self.give_up_what_is_due(now);
            if now >= self.until {
                return Err(self.pool.late(self.trouble()));
            }
            if self.running() == 0 {
                if self.asked >= ROUNDS * self.pool.members.len() {
                    return Err(self.trouble().to_owned());
                }
                if !self.start(now) {
                    // Nobody is left: from the beginning, when something changes.
                    let _ = timeout_at(self.until.into(), self.changes.changed()).await;
                    self.tried.clear();
                    continue;
                }
            } else if self.may_start_second() && now >= self.hedge {
                self.start_second(now);
            }
            wake_at(clock.as_mut(), self.next_deadline());
            tokio::select! {
                biased;
                (flight, outcome) = landed(&mut self.flights) => match self.judge(flight, outcome) {
                    Ok(answer) => return Ok(answer),
                    Err(reason) => self.trouble = reason,
                },
                () = clock.as_mut() => {}
            }
        }
    }

    fn trouble(&self) -> &str {
        if self.trouble.is_empty() { "no HSM worker is ready" } else { &self.trouble }
    }

    fn running(&self) -> usize {
        self.flights.iter().flatten().count()
    }

    fn may_start_second(&self) -> bool {
        self.running() == 1 && self.tried.len() < self.pool.members.len()
    }

    fn next_deadline(&self) -> Instant {
        let hedge = self.may_start_second().then_some(self.hedge);
        self.flights.iter().flatten().map(|flight| flight.due).chain(hedge).fold(self.until, Instant::min)
    }

    /// Asks the best worker that was not asked; `false` if there is none.
    fn start(&mut self, now: Instant) -> bool {
        let mut books = self.pool.books();
        self.hedge = now + books.hedge_after();
        let Some(worker) = books.pick(generation_of(self.request), &self.tried, self.avoided, now) else {
            return false;
        };
        drop(books);
        self.asked += 1;
        self.send(worker, now);
        true
    }

    /// Asks a second worker because the first takes long, within the budget.
    fn start_second(&mut self, now: Instant) {
        let mut books = self.pool.books();
        self.hedge = now + books.hedge_after();
        let Some(second) = books.pick(generation_of(self.request), &self.tried, self.avoided, now) else { return };
        if !books.may_hedge() {
            return books.abandoned(second);
        }
        drop(books);
        count(&self.pool.counts.hedges);
        self.send(second, now);
    }

    fn send(&mut self, worker: usize, now: Instant) {
        let member = &self.pool.members[worker];
        let reply = member.line.send(self.request.clone());
        let flight =
            Flight { pool: self.pool, worker, sent: now, due: now + member.deadline, reply, has_landed: false };
        self.tried.push(worker);
        if let Some(place) = self.flights.iter_mut().find(|place| place.is_none()) {
            *place = Some(flight);
        }
    }

    fn give_up_what_is_due(&mut self, now: Instant) {
        for at in 0..AT_A_TIME {
            if let Some(late) = self.flights[at].take_if(|flight| flight.due <= now) {
                let deadline = self.pool.members[late.worker].deadline;
                self.trouble = self.fails(late.worker, &format!("no answer within {} ms", deadline.as_millis()));
            }
        }
    }

    /// What is no answer puts a worker in doubt; that it does not have the key says nothing against it.
    fn judge(&self, mut flight: Flight<'_>, outcome: Result<Answer, String>) -> Result<(usize, Answer), String> {
        let worker = flight.worker;
        match outcome {
            Ok(Answer::Trouble(reason)) | Err(reason) => {
                drop(flight);
                Err(self.fails(worker, &reason))
            }
            Ok(Answer::Refused(reason @ (Reason::Generation | Reason::NoControlKey))) => {
                flight.land();
                Err(self.pool.of_token(worker, &format!("it refused: {reason}")))
            }
            Ok(answer) => {
                flight.land();
                Ok((worker, answer))
            }
        }
    }

    fn fails(&self, worker: usize, reason: &str) -> String {
        let reason = self.pool.of_token(worker, reason);
        // Signing heads needs another key of the token, whose trouble is no trouble of the masters.
        if !matches!(**self.request, Request::SignHead(_)) {
            self.pool.doubt(worker, &reason);
        }
        reason
    }
}

/// Waits for one of these to have an outcome, and takes it out.
async fn landed<'a>(flights: &mut [Option<Flight<'a>>; AT_A_TIME]) -> (Flight<'a>, Result<Answer, String>) {
    let lost = |_| Err("the connection to it was lost".into());
    poll_fn(|context| {
        for place in flights.iter_mut() {
            let polled = place.as_mut().map(|flight| Pin::new(&mut flight.reply).poll(context));
            if let Some(Poll::Ready(outcome)) = polled
                && let Some(flight) = place.take()
            {
                return Poll::Ready((flight, outcome.unwrap_or_else(lost)));
            }
        }
        Poll::Pending
    })
    .await
}

fn wake_at(clock: Pin<&mut Sleep>, at: Instant) {
    if clock.deadline() != at.into() {
        clock.reset(at.into());
    }
}

impl Flight<'_> {
    fn land(&mut self) {
        self.has_landed = true;
        let now = Instant::now();
        self.pool.books().answered(self.worker, now.saturating_duration_since(self.sent), now);
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.has_landed {
            self.pool.books().abandoned(self.worker);
            self.pool.members[self.worker].look.notify_one();
        }
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

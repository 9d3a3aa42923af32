//! Who asks the token: one job after the other on sessions of its own, and the answers on their way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::outbox::{Connection, Outbox};
use super::{Keeper, harden};
use crate::pkcs11::{Reaction, TokenError, TokenSession};
use crate::wire::{Answer, Request};

/// How long a session is used without a proof that it computes the recorded check values.
const PROVE: Duration = Duration::from_secs(10);

/// A request that the rules allow.
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) request: Request,
    pub(super) from: Arc<Connection>,
}

/// A keeper at work.
pub(super) struct Session {
    at: usize,
    keeper: Keeper<TokenSession>,
    busy: Arc<Busy>,
    /// When it was proven to compute the recorded check values.
    proven: Instant,
    outbox: Outbox,
}

/// Since when each of them has been with the token, in milliseconds of this desk plus one; 0 while it is not.
pub(super) struct Busy {
    opened: Instant,
    sessions: Vec<AtomicU64>,
}

impl Session {
    /// The one with this number among those that are busy.
    pub(super) fn new(at: usize, keeper: Keeper<TokenSession>, busy: Arc<Busy>) -> Self {
        Self { at, keeper, busy, proven: Instant::now(), outbox: Outbox::default() }
    }

    /// What it has answered and not sent yet.
    pub(super) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Does a job. The answer goes out with others, or before the next wait.
    pub(super) fn answer(&mut self, Job { number, request, from }: Job) {
        if from.is_gone() {
            return;
        }
        let begun = self.busy.begin(self.at);
        let outcome = self.ask(&request, begun);
        let times = (begun, self.busy.end(self.at));
        let answer = outcome.unwrap_or_else(|error| {
            tell(&error);
            if error.reaction() == Reaction::NewProcess {
                // The connection to the token is lost with every handle: only a new process can mend that.
                self.outbox.put(&from, number, &Answer::Trouble(error.to_string()), times);
                self.outbox.send();
                harden::be_gone();
            }
            Answer::Trouble(error.to_string())
        });
        self.outbox.put(&from, number, &answer, times);
    }

    /// Others' checks may never come to these sessions, so they are proven when they are used.
    fn ask(&mut self, request: &Request, now: Instant) -> Result<Answer, TokenError> {
        if now.saturating_duration_since(self.proven) >= PROVE {
            self.keeper.prove()?;
            self.proven = now;
        }
        self.keeper.answer(request)
    }
}

fn tell(error: &TokenError) {
    match error {
        TokenError::CheckValue { .. } => tracing::error!(%error, "ALARM: the token answers wrongly"),
        _ => tracing::error!(%error, "the token failed"),
    }
}

impl Busy {
    /// Of so many sessions.
    pub(super) fn new(sessions: usize) -> Self {
        Self { opened: Instant::now(), sessions: (0..sessions).map(|_| AtomicU64::new(0)).collect() }
    }

    /// When it begins.
    fn begin(&self, at: usize) -> Instant {
        let now = Instant::now();
        let millis = now.saturating_duration_since(self.opened).as_millis() as u64;
        self.sessions[at].store(millis + 1, Ordering::Relaxed);
        now
    }

    /// When it ends.
    fn end(&self, at: usize) -> Instant {
        self.sessions[at].store(0, Ordering::Relaxed);
        Instant::now()
    }

    /// For how long the call that has lasted longest has lasted.
    pub(super) fn longest(&self) -> Duration {
        let now = self.opened.elapsed().as_millis() as u64 + 1;
        let since = self.sessions.iter().map(|since| since.load(Ordering::Relaxed)).filter(|since| *since > 0).min();
        Duration::from_millis(since.map_or(0, |since| now.saturating_sub(since)))
    }
}

//! Watching one worker: when it starts, and over and over, it has to compute the check values that were recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balance::{GenerationSet, Standing};
use super::line::Life;
use super::pool::Pool;
use crate::access_key_id::Generation;
use crate::config::GenerationConfig;
use crate::pkcs11::hex;
use crate::wire::{Answer, Reason, Request};

/// How often a trusted worker is checked. Twice within the 10 s for which a check says something.
const EVERY: Duration = Duration::from_secs(5);
/// How often one that failed is.
const AGAIN: Duration = Duration::from_millis(200);
/// No sooner than this, however often somebody asks for it.
const LEAST: Duration = Duration::from_millis(20);
/// After so many failures in a row the process is replaced: for some modules only a new one mends a lost connection.
const PATIENCE: u32 = 5;

/// How a check went.
enum Outcome {
    Passed,
    /// It gave another check value than was recorded, of this generation.
    Wrong(Generation),
    Failed(String),
}

/// Follows the life of one worker for as long as it has one.
pub(super) async fn watch_over(pool: Arc<Pool>, at: usize) {
    let member = &pool.members[at];
    let mut life = member.line.life.clone();
    let mut failures = 0;
    loop {
        let now = life.borrow_and_update().clone();
        let again = match now {
            Life::Ready(holds) => check(&pool, at, holds, &mut failures).await,
            Life::Starting => pool.stands(at, Standing::Starting),
            Life::Down(reason) => pool.stands(at, Standing::Down(reason)),
            Life::Latched(reason) => pool.stands(at, Standing::Latched(reason)),
        };
        let pause = async {
            tokio::time::sleep(LEAST).await;
            match again {
                Some(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = member.look.notified() => {}
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = life.changed() => if changed.is_err() { return },
            () = pause => {}
        }
    }
}

/// Checks a worker that is ready, and says when to check it again.
async fn check(pool: &Pool, at: usize, holds: GenerationSet, failures: &mut u32) -> Option<Duration> {
    match pool.check_once(at, holds).await {
        Outcome::Passed => {
            *failures = 0;
            pool.passes(at, holds);
            pool.reckon(at).await;
            return Some(EVERY);
        }
        Outcome::Wrong(generation) => {
            pool.replicas.contradicted(generation, pool.members[at].token);
            let reason = format!("it computes another check value for generation {generation} than was recorded");
            tracing::error!(reason = pool.of_token(at, &reason), "ALARM: the token answers wrongly");
            pool.stands(at, Standing::Excluded(reason));
            pool.members[at].line.restart();
        }
        Outcome::Failed(reason) => {
            *failures += 1;
            pool.stands(at, Standing::Doubted(reason));
            if failures.is_multiple_of(PATIENCE) {
                pool.members[at].line.restart();
            }
        }
    }
    Some(AGAIN)
}

impl Pool {
    /// Checks every worker that is ready, now.
    pub(super) async fn check_all(&self) {
        for (at, member) in self.members.iter().enumerate() {
            let life = member.line.life.borrow().clone();
            if let Life::Ready(holds) = life
                && let Outcome::Passed = self.check_once(at, holds).await
            {
                self.passes(at, holds);
            }
        }
    }

    /// Makes a worker compute the check value of each generation that it holds.
    async fn check_once(&self, at: usize, holds: GenerationSet) -> Outcome {
        let member = &self.members[at];
        let generations = self.generations.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for config in generations {
            let Some(generation) = config.generation().filter(|generation| holds.has(*generation)) else { continue };
            match self.check_value(at, generation).await {
                Ok(Some(value)) if value == config.check_value => self.replicas.saw(generation, member.token),
                Ok(Some(_)) => return Outcome::Wrong(generation),
                // It is about to be replaced by one that knows.
                Ok(None) => {}
                Err(reason) => return Outcome::Failed(reason),
            }
        }
        Outcome::Passed
    }

    /// Whether a worker computes the recorded check value of one generation.
    pub(super) async fn vouch(&self, at: usize, generation: Generation) -> Result<(), String> {
        let recorded = {
            let generations = self.generations.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            let of_it = |config: &&GenerationConfig| config.generation() == Some(generation);
            generations.iter().find(of_it).map(|config| config.check_value.clone())
        };
        match (self.check_value(at, generation).await?, recorded) {
            (Some(found), Some(recorded)) if found == recorded => Ok(()),
            _ => Err(format!("it does not compute the recorded check value of generation {generation}")),
        }
    }

    /// The check value that a worker computes, in hexadecimal; none if it does not know the generation.
    async fn check_value(&self, at: usize, generation: Generation) -> Result<Option<String>, String> {
        let member = &self.members[at];
        let asked = member.line.ask(Request::Check(generation));
        match tokio::time::timeout(member.deadline, asked).await {
            Ok(Ok(Answer::CheckValue(value))) => Ok(Some(hex(&value))),
            Ok(Ok(Answer::Refused(Reason::Generation))) => Ok(None),
            Ok(Ok(Answer::Trouble(reason))) | Ok(Err(reason)) => Err(reason),
            Ok(Ok(_)) => Err("it gave an answer of another kind".into()),
            Err(_) => Err(format!("no check within {} ms", member.deadline.as_millis())),
        }
    }

    /// Compares what a worker has counted with what we have sent. Trouble with that is trouble of the next check.
    async fn reckon(&self, at: usize) {
        let member = &self.members[at];
        let mark = member.line.ledger().next_mark();
        let asked = tokio::time::timeout(member.deadline, member.line.ask(Request::Tally(mark)));
        let Ok(Ok(Answer::Tally(sheet))) = asked.await else { return };
        let compared = member.line.ledger().compare(&sheet);
        if let Err(difference) = compared {
            super::count(&self.counts.differences);
            let reason = self.of_token(at, &difference.to_string());
            tracing::error!(reason, worker = at, "ALARM: an HSM worker was used by somebody else");
        }
    }

    fn passes(&self, at: usize, holds: GenerationSet) {
        self.books().passed(at, holds);
        if !holds.is_empty() {
            *self.checked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
        }
        self.changed.send_replace(());
    }

    /// Writes a worker's standing down; nothing is to be checked before its life changes, or it is asked for.
    fn stands(&self, at: usize, standing: Standing) -> Option<Duration> {
        if self.books().set_standing(at, standing) {
            self.changed.send_replace(());
        }
        None
    }
}

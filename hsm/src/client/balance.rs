//! Who is asked next: the workers' standing, what they are busy with, when to ask a second one. Pure: no I/O and no clock.

use std::time::{Duration, Instant};

use super::answer_times::AnswerTimes;
use super::hedging::HedgeBudget;
use crate::access_key_id::Generation;

/// A worker that owes answers for this many times the usual is asked only when there is no other.
const STALLED_FACTOR: u32 = 8;
/// And never for less than this: a busy machine is not a stalled token.
const STALLED_LEAST: Duration = Duration::from_millis(20);

/// What is thought of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being started, or has not passed its first check.
    Starting,
    /// It passed its last check.
    Trusted,
    /// It erred or did not answer in time: asked only when nobody else can be, until it passes a check. Why.
    Doubted(String),
    /// It answered a check wrongly: not asked until it passes one. Why.
    Excluded(String),
    /// There is no process; why.
    Down(String),
    /// There will be none until the operator has mended this (a refused PIN).
    Latched(String),
}

/// The words for a standing, in metrics.
pub const STATES: [&str; 6] = ["starting", "trusted", "doubted", "excluded", "down", "latched"];

impl Standing {
    /// The word for it in metrics.
    pub fn word(&self) -> &'static str {
        STATES[match self {
            Self::Starting => 0,
            Self::Trusted => 1,
            Self::Doubted(_) => 2,
            Self::Excluded(_) => 3,
            Self::Down(_) => 4,
            Self::Latched(_) => 5,
        }]
    }
}

/// A set of generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GenerationSet(u128);

impl GenerationSet {
    /// Whether it has this one.
    pub fn has(self, generation: Generation) -> bool {
        self.0 >> generation.number() & 1 == 1
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Generation> for GenerationSet {
    fn from_iter<I: IntoIterator<Item = Generation>>(generations: I) -> Self {
        Self(generations.into_iter().fold(0, |set, generation| set | 1 << generation.number()))
    }
}

/// One worker in the books.
struct Worker {
    token: usize,
    weight: u64,
    standing: Standing,
    holds: GenerationSet,
    in_flight: u64,
    /// How often it was picked; between equals the one that was picked less is next.
    picked: u64,
    /// Since when it owes an answer without having given one.
    owing_since: Option<Instant>,
}

/// The books over all workers of all tokens.
pub struct Balance {
    workers: Vec<Worker>,
    times: AnswerTimes,
    hedging: HedgeBudget,
}

impl Balance {
    /// Of workers given as (number of the token, weight).
    pub fn new(workers: impl IntoIterator<Item = (usize, u16)>) -> Self {
        let worker = |(token, weight): (usize, u16)| Worker {
            token,
            weight: u64::from(weight.max(1)),
            standing: Standing::Starting,
            holds: GenerationSet::default(),
            in_flight: 0,
            picked: 0,
            owing_since: None,
        };
        Self {
            workers: workers.into_iter().map(worker).collect(),
            times: AnswerTimes::default(),
            hedging: HedgeBudget::default(),
        }
    }

    /// A request came in.
    pub fn count_request(&mut self) {
        self.hedging.earn();
    }

    /// The worker to ask, if one is left: it holds the generation, was not tried; trusted before stalled before doubted,
    /// another than `avoided`, of another token than those tried, then the least busy by its weight. It counts as busy from now
    /// on.
    pub fn pick(
        &mut self,
        generation: Option<Generation>,
        tried: &[usize],
        avoided: Option<usize>,
        now: Instant,
    ) -> Option<usize> {
        let stalled_after = self.stalled_after();
        let tokens: Vec<usize> = tried.iter().chain(&avoided).map(|&at| self.workers[at].token).collect();
        let candidates = self.workers.iter().enumerate().filter(|(at, _)| !tried.contains(at));
        let holding = candidates.filter(|(_, worker)| generation.is_none_or(|wanted| worker.holds.has(wanted)));
        let ranked = holding.filter_map(|(at, worker)| {
            let rank = worker.rank(now, stalled_after)?;
            let load = worker.in_flight * 1000 / worker.weight;
            let spared = (Some(at) == avoided, tokens.contains(&worker.token));
            Some((rank, spared, load, worker.picked * 1000 / worker.weight, at))
        });
        let at = ranked.min()?.4;
        let worker = &mut self.workers[at];
        worker.in_flight += 1;
        worker.picked += 1;
        worker.owing_since.get_or_insert(now);
        Some(at)
    }

    /// A worker gave a request's answer, after so long.
    pub fn answered(&mut self, at: usize, took: Duration, now: Instant) {
        self.times.note(took);
        let worker = &mut self.workers[at];
        worker.in_flight = worker.in_flight.saturating_sub(1);
        worker.owing_since = (worker.in_flight > 0).then_some(now);
    }

    /// Nobody waits for this request's answer any more. It stays owed.
    pub fn abandoned(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        worker.in_flight = worker.in_flight.saturating_sub(1);
    }

    /// A worker passed its check.
    pub fn passed(&mut self, at: usize, holds: GenerationSet) {
        let worker = &self.workers[at];
        let is_back = worker.standing != Standing::Trusted;
        // Who comes back does not get every request until it has caught up with the others.
        let least = self.workers.iter().filter(|other| other.standing == Standing::Trusted).map(|other| other.picked);
        let picked = least.min().unwrap_or(0).max(worker.picked);
        let worker = &mut self.workers[at];
        (worker.standing, worker.holds, worker.owing_since) = (Standing::Trusted, holds, None);
        if is_back {
            worker.picked = picked;
        }
    }

    /// A worker has another standing from now on. Says whether that is news.
    pub fn set_standing(&mut self, at: usize, standing: Standing) -> bool {
        let news = self.workers[at].standing != standing;
        self.workers[at].standing = standing;
        news
    }

    /// A trusted worker erred. Says whether that is news.
    pub fn doubt(&mut self, at: usize, why: &str) -> bool {
        let trusted = self.workers[at].standing == Standing::Trusted;
        if trusted {
            self.workers[at].standing = Standing::Doubted(why.to_owned());
        }
        trusted
    }

    /// What is thought of each worker, with its token's number.
    pub fn standings(&self) -> impl Iterator<Item = (usize, &Standing)> {
        self.workers.iter().map(|worker| (worker.token, &worker.standing))
    }

    /// After how long a second worker is asked as well: when 95 % of answers would have come.
    pub fn hedge_after(&self) -> Duration {
        self.times.p95()
    }

    /// Takes one hedge out of the budget, if there is one.
    pub fn may_hedge(&mut self) -> bool {
        self.hedging.spend()
    }

    fn stalled_after(&self) -> Duration {
        (self.times.p95() * STALLED_FACTOR).max(STALLED_LEAST)
    }
}

impl Worker {
    /// 0 for the best; `None` if it cannot be asked.
    fn rank(&self, now: Instant, stalled_after: Duration) -> Option<u8> {
        let stalled = self.owing_since.is_some_and(|since| now.saturating_duration_since(since) > stalled_after);
        match self.standing {
            Standing::Trusted if !stalled => Some(0),
            Standing::Trusted => Some(1),
            Standing::Doubted(_) => Some(2),
            Standing::Starting | Standing::Excluded(_) | Standing::Down(_) | Standing::Latched(_) => None,
        }
    }
}

//! The authority's end of the wire: it starts the workers of every token, asks them, and replaces those that die or hang.
//!
//! Nothing in here is ever a refusal of somebody's request: whatever goes wrong is [`Unavailable`], "cannot decide".
//!
//! A request goes to the least busy trusted worker (`balance.rs`, pure); when the answer takes longer than 95 %
//! of them do, a second worker is asked as well, for one request in twenty at the most; when a worker errs, another is asked at
//! once. Each worker is checked by the recorded check values, when it starts and over and over (`checks`).

mod answer_times;
mod balance;
#[cfg(test)]
mod balance_tests;
mod checks;
mod connection;
mod hedging;
mod inbox;
mod lanes;
mod launch;
mod ledger;
mod line;
mod pool;
mod race;
mod replicas;
mod socket;
mod supervisor;

pub use balance::{STATES, Standing};
pub(crate) use launch::worker;
pub use launch::{Child, Launch, Place, admin, greet};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::access_key_id::{AccessKeyId, Account, Generation, TagKey};
use crate::config::GenerationConfig;
use crate::feed_head::FeedHead;
use crate::region_set::RegionSet;
use crate::secret::SecretAccessKey;
use crate::signing_key::{ScopeDate, SigningKey};
use crate::sigv2::{Matched, Question};
use crate::sigv4a_key::PublicKey as PointKey;
use crate::tally::Tally;
use crate::wire::{Answer, Reason, Request};
use crate::worker::{Now, PublicKey, Signature};
use balance::Balance;
use lanes::Lanes;
use line::{Life, Line};
use pool::{Member, Pool};
use replicas::Replicas;

/// For how long a check says something about a worker.
const CHECK_IS_GOOD_FOR: Duration = Duration::from_secs(10);
/// How long a change of the workers waits for one to be ready before it takes the next one away.
const ONE_BY_ONE: Duration = Duration::from_secs(1);
/// The scope for which a new key is derived once more: every issuer's worker gives signing keys for it.
const CONFIRM_SCOPE: (&str, &str) = ("us-east-1", "iam");

/// The HSM cannot answer now; the text is for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the HSM cannot answer: {reason}")]
pub struct Unavailable {
    /// Why, with the token's name where it is one token's trouble.
    pub reason: String,
}

/// What the workers are doing, taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The first is being started.
    Starting,
    /// One can be asked at least.
    Ready,
    /// All are down and will be started again; why.
    Down(String),
    /// None will be started again until the operator has mended this (a refused PIN).
    Latched(String),
}

/// One token's workers.
#[derive(Debug, Clone)]
pub struct TokenState {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What is thought of each of its workers.
    pub workers: Vec<Standing>,
}

/// How many requests of each kind were sent to workers, and what came of it. A count never goes down.
#[derive(Debug, Default)]
pub struct Counts {
    /// Signing keys.
    pub signing_key: AtomicU64,
    /// Public keys of Signature V4A.
    pub sigv4a_public_key: AtomicU64,
    /// Signatures V2 compared.
    pub matches_v2: AtomicU64,
    /// Tag keys.
    pub tag_key: AtomicU64,
    /// Checks.
    pub check: AtomicU64,
    /// New keys.
    pub issue: AtomicU64,
    /// Signed heads of the deny feed.
    pub sign_head: AtomicU64,
    /// Workers started, the first ones included.
    pub starts: AtomicU64,
    /// Requests that a second worker was asked as well, because the first took long.
    pub hedges: AtomicU64,
    /// Requests that were turned away because too many waited.
    pub full: AtomicU64,
    /// Answers in which a worker refused what we asked, by [`Reason::index`].
    pub refusals: [AtomicU64; Reason::ALL.len()],
    /// Workers that have counted other requests than we have sent.
    pub differences: AtomicU64,
}

/// What holds for the workers of all tokens together.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// After how long a caller is told that there is no answer.
    pub deadline: Duration,
    /// Callers that may wait in each lane (verification; issuing; our own requests); more are told at once.
    pub queue: usize,
}

/// Which worker gave an answer, so that another can be asked the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source(usize);

/// A handle on the workers. Cloning gives another handle on the same ones.
#[derive(Clone)]
pub struct Hsm(Arc<Pool>);

impl Hsm {
    /// Starts the workers, one [`Launch`] a token, and whoever watches over them. The task ends after [`Hsm::stop`].
    pub fn start(launches: Vec<Launch>, bounds: Bounds) -> (Self, JoinHandle<()>) {
        let counts = Arc::new(Counts::default());
        let (members, supervisors) = start_members(&launches, &counts);
        let books = members.iter().map(|member| (member.token, launches[member.token].weight));
        let pool = Arc::new(Pool {
            tokens: launches.iter().map(|launch| launch.token.as_str().into()).collect(),
            balance: Mutex::new(Balance::new(books)),
            changed: watch::Sender::new(()),
            checked: Mutex::new(None),
            generations: RwLock::new(launches.first().map(|one| one.generations.clone()).unwrap_or_default()),
            replicas: Replicas::default(),
            counts,
            lanes: Lanes::new(members.len(), bounds.queue),
            deadline: bounds.deadline,
            members,
        });
        for at in 0..pool.members.len() {
            tokio::spawn(checks::watch_over(pool.clone(), at));
        }
        let all_ended = tokio::spawn(async move {
            for supervisor in supervisors {
                if supervisor.await.is_err() {
                    tracing::error!("the supervisor of an HSM worker panicked");
                }
            }
        });
        (Self(pool), all_ended)
    }

    /// What the workers are doing now, taken together.
    pub fn status(&self) -> Status {
        let books = self.0.books();
        let mut sum = None;
        for (token, standing) in books.standings() {
            let of_token = |reason: &str| format!("token '{}': {reason}", self.0.tokens[token]);
            let status = match standing {
                Standing::Trusted | Standing::Doubted(_) => return Status::Ready,
                Standing::Starting => Status::Starting,
                Standing::Down(reason) | Standing::Excluded(reason) => Status::Down(of_token(reason)),
                Standing::Latched(reason) => Status::Latched(of_token(reason)),
            };
            sum = Some(match (sum, status) {
                (Some(Status::Starting), _) | (_, Status::Starting) => Status::Starting,
                (Some(Status::Down(reason)), _) | (_, Status::Down(reason)) => Status::Down(reason),
                (_, latched) => latched,
            });
        }
        sum.unwrap_or_else(|| Status::Down("there is no token".into()))
    }

    /// What is thought of the workers of each token.
    pub fn tokens(&self) -> Vec<TokenState> {
        let state = |name: &Arc<str>| TokenState { name: name.clone(), workers: Vec::new() };
        let mut tokens: Vec<TokenState> = self.0.tokens.iter().map(state).collect();
        for (token, standing) in self.0.books().standings() {
            tokens[token].workers.push(standing.clone());
        }
        tokens
    }

    /// Waits until it shows how the first start went: one is ready, or why none is.
    pub async fn settled(&self) -> Status {
        let mut changes = self.0.changed.subscribe();
        loop {
            let status = self.status();
            if status != Status::Starting || changes.changed().await.is_err() {
                return status;
            }
        }
    }

    /// Whether a worker has computed a recorded check value within the last 10 s.
    pub fn was_checked_lately(&self) -> bool {
        let checked = *self.0.checked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        checked.is_some_and(|at| at.elapsed() < CHECK_IS_GOOD_FOR)
    }

    /// Checks every worker that is ready, now.
    pub async fn check(&self) {
        self.0.check_all().await;
    }

    /// On how many tokens the recorded check value of a generation was computed.
    pub fn replicas(&self, generation: Generation) -> usize {
        self.0.replicas.of(generation)
    }

    /// What the masters were used for, by token, as of each worker's last check: (token, purpose, generation, uses).
    pub fn uses(&self) -> Vec<(Arc<str>, &'static str, String, u64)> {
        let of_token = |at: usize| {
            let members = self.0.members.iter().filter(move |member| member.token == at);
            members.fold(Tally::default(), |sum, member| sum.plus(&member.line.ledger().uses()))
        };
        let name = |at: usize| self.0.tokens[at].clone();
        let rows = (0..self.0.tokens.len()).map(|at| (at, of_token(at)));
        rows.flat_map(|(at, uses)| {
            uses.purposes()
                .map(|(purpose, generation, count)| (name(at), purpose, generation, count))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// Requests sent so far, by kind.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// The signing key of an id for a scope, and which worker gave it.
    pub async fn signing_key(
        &self,
        id: AccessKeyId,
        date: [u8; 8],
        region: &str,
        service: &str,
    ) -> Result<(SigningKey, Source), Unavailable> {
        self.derive(id, date, region, service, None).await
    }

    /// The same from another worker than `source`, or from another session of its, where there is none.
    pub async fn signing_key_again(
        &self,
        id: AccessKeyId,
        date: [u8; 8],
        region: &str,
        service: &str,
        source: Source,
    ) -> Result<(SigningKey, Source), Unavailable> {
        self.derive(id, date, region, service, Some(source)).await
    }

    /// Makes the worker that gave an answer compute the recorded check value of a generation, now: if it cannot, neither is what
    /// it gave to be relied upon.
    pub async fn vouch(&self, source: Source, generation: Generation) -> Result<(), Unavailable> {
        self.0.vouch(source.0, generation).await.map_err(|reason| {
            self.0.members[source.0].look.notify_one();
            self.0.unavailable(self.0.of_token(source.0, &reason))
        })
    }

    /// What this worker gave was contradicted by another: it is checked at once.
    pub fn contradicted(&self, source: Source) {
        let reason = self.0.of_token(source.0, "it derived a signing key that another worker derives otherwise");
        tracing::error!(reason, "ALARM: two workers gave different answers");
        self.0.members[source.0].look.notify_one();
    }

    async fn derive(
        &self,
        id: AccessKeyId,
        date: [u8; 8],
        region: &str,
        service: &str,
        not_by: Option<Source>,
    ) -> Result<(SigningKey, Source), Unavailable> {
        let request = Request::SigningKey { id, date, region: region.to_owned(), service: service.to_owned() };
        match self.0.ask(request, not_by.map(|source| source.0)).await? {
            (worker, Answer::Key(key)) => Ok((SigningKey::from_secret(key), Source(worker))),
            (worker, other) => Err(self.unexpected(worker, other)),
        }
    }

    /// The public key of an id for Signature V4A. The date, the service and the regions are those of the request that it is
    /// wanted for, and the worker's rules look at them; the key is the same for all.
    pub async fn sigv4a_public_key(
        &self,
        id: AccessKeyId,
        date: [u8; 8],
        service: &str,
        regions: &RegionSet,
    ) -> Result<PointKey, Unavailable> {
        let request = Request::SigV4aPublicKey { id, date, service: service.to_owned(), regions: regions.clone() };
        match self.0.ask(request, None).await? {
            (_, Answer::PublicKey(key)) => Ok(key),
            (worker, other) => Err(self.unexpected(worker, other)),
        }
    }

    /// Whether a Signature V2 is right: `None` if it is not.
    pub async fn matches_v2(&self, question: Question) -> Result<Option<Matched>, Unavailable> {
        match self.0.ask(Request::MatchesV2(question.clone()), None).await? {
            (_, Answer::Matches(true)) => Ok(Some(Matched::new(question))),
            (_, Answer::Matches(false)) => Ok(None),
            (worker, other) => Err(self.unexpected(worker, other)),
        }
    }

    /// The tag key of a generation.
    pub async fn tag_key(&self, generation: Generation) -> Result<TagKey, Unavailable> {
        match self.0.ask(Request::TagKey(generation), None).await? {
            (_, Answer::Key(key)) => Ok(TagKey::new(&key)),
            (worker, other) => Err(self.unexpected(worker, other)),
        }
    }

    /// A new key: its id and its secret, derived twice by one worker, and once more by another where there is one.
    pub async fn issue(
        &self,
        generation: Generation,
        account: Account,
        needs_row: bool,
        nonce: [u8; 32],
    ) -> Result<(AccessKeyId, SecretAccessKey), Unavailable> {
        let request = Request::Issue { generation, account, needs_row, nonce };
        let made = async {
            match self.0.ask(request, None).await? {
                (worker, Answer::Issued(id, secret)) => {
                    self.confirm(&id, &secret, Source(worker)).await?;
                    Ok((id, secret))
                }
                (worker, other) => Err(self.unexpected(worker, other)),
            }
        };
        // Both questions in the time of one.
        let late = |_| self.0.unavailable("a new key was not made and confirmed within the deadline".into());
        tokio::time::timeout(self.0.deadline, made).await.map_err(late)?
    }

    /// Refuses a new secret that another worker does not derive as well: it would never work anywhere else.
    async fn confirm(&self, id: &AccessKeyId, secret: &SecretAccessKey, source: Source) -> Result<(), Unavailable> {
        let (region, service) = CONFIRM_SCOPE;
        let today = Now::from_clock().0.div_euclid(86_400);
        let date = ScopeDate::of_day(today).ok_or_else(|| self.0.unavailable("the clock shows no day".into()))?;
        let (again, _) = self.signing_key_again(*id, *date.digits(), region, service, source).await?;
        if SigningKey::derive(secret, date.digits(), region, service).ct_eq(&again) {
            return Ok(());
        }
        let reason = self.0.of_token(source.0, "the secret of a new key is derived otherwise elsewhere");
        tracing::error!(reason, "ALARM: two workers gave different answers");
        self.0.members[source.0].look.notify_one();
        Err(self.0.unavailable(reason))
    }

    /// The control key's signature of the deny feed's head, with the key's public half.
    pub async fn sign_head(&self, head: FeedHead) -> Result<(PublicKey, Signature), Unavailable> {
        match self.0.ask(Request::SignHead(head), None).await? {
            (_, Answer::SignedHead { public_key, signature }) => Ok((public_key, signature)),
            (worker, other) => Err(self.unexpected(worker, other)),
        }
    }

    /// What the workers were last told of the generations.
    pub fn generations(&self) -> Vec<GenerationConfig> {
        self.0.generations.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Replaces the workers by ones that know these generations, one after the other, unless they do. Where there is one only,
    /// requests wait for it meanwhile.
    pub async fn reconfigure(&self, generations: Vec<GenerationConfig>) {
        if self.generations() == generations {
            return;
        }
        *self.0.generations.write().unwrap_or_else(std::sync::PoisonError::into_inner) = generations.clone();
        for member in &self.0.members {
            member.line.reconfigure(generations.clone(), ONE_BY_ONE).await;
            let mut life = member.line.life.clone();
            let _ = tokio::time::timeout(ONE_BY_ONE, life.wait_for(|life| *life != Life::Starting)).await;
        }
    }

    /// Lets the workers drain, finalize and exit.
    pub async fn stop(&self) {
        for member in &self.0.members {
            member.line.stop().await;
        }
    }

    /// An answer that is no answer. The worker's own rules are behind ours, so even its no is our trouble: the two
    /// configurations differ, or the clocks do.
    fn unexpected(&self, worker: usize, answer: Answer) -> Unavailable {
        let reason = match answer {
            Answer::Refused(reason) => format!("it refused: {reason}"),
            Answer::Trouble(reason) => reason,
            _ => "it gave an answer of another kind".into(),
        };
        self.0.unavailable(self.0.of_token(worker, &reason))
    }
}

/// The workers of every token, and their supervisors.
fn start_members(launches: &[Launch], counts: &Arc<Counts>) -> (Vec<Member>, Vec<JoinHandle<()>>) {
    let mut members = Vec::new();
    let mut supervisors = Vec::new();
    for (token, launch) in launches.iter().enumerate() {
        let gate = line::Gate::default();
        for at in 0..usize::from(launch.workers.max(1)) {
            let (line, supervisor) = Line::start(launch.of_worker(at), gate.clone(), counts.clone());
            members.push(Member { line, token, deadline: launch.deadline, look: Notify::new() });
            supervisors.push(supervisor);
        }
    }
    (members, supervisors)
}

impl Counts {
    fn count(&self, request: &Request) {
        count(match request {
            Request::SigningKey { .. } => &self.signing_key,
            Request::SigV4aPublicKey { .. } => &self.sigv4a_public_key,
            Request::MatchesV2(_) => &self.matches_v2,
            Request::TagKey(_) => &self.tag_key,
            Request::Check(_) => &self.check,
            Request::Issue { .. } => &self.issue,
            Request::SignHead(_) => &self.sign_head,
            Request::Tally(_) => return,
        });
    }
}

/// One more.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

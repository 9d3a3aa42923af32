//! The authority's end of the wire: it starts the worker, asks it, and replaces it when it dies or hangs.
//!
//! Nothing in here is ever a refusal of somebody's request: whatever goes wrong is [`Unavailable`], "cannot decide".

mod connection;
mod launch;
mod supervisor;

pub use launch::{Launch, admin};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::access_key_id::{AccessKeyId, Account, Generation, TagKey};
use crate::config::WorkerConfig;
use crate::feed_head::FeedHead;
use crate::region_set::RegionSet;
use crate::secret::SecretAccessKey;
use crate::signing_key::SigningKey;
use crate::sigv2::{Matched, Question};
use crate::sigv4a_key::PublicKey as PointKey;
use crate::wire::{Answer, Request};
use crate::worker::{PublicKey, Signature};

/// Requests that may wait for the worker; a caller past it is told at once.
const QUEUE: usize = 4096;

/// The HSM cannot answer now; the text is for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the HSM worker of token '{token}' cannot answer: {reason}")]
pub struct Unavailable {
    /// The token's name.
    pub token: String,
    /// Why.
    pub reason: String,
}

/// What the worker is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It is being started.
    Starting,
    /// It answers.
    Ready,
    /// It is down and will be started again; why.
    Down(String),
    /// It will not be started again until the operator has mended this (a refused PIN).
    Latched(String),
}

/// How many requests of each kind were sent to the worker. A count never goes down.
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
    /// Workers started, the first included.
    pub starts: AtomicU64,
}

/// A handle on the worker of one token. Cloning gives another handle on the same worker.
#[derive(Clone)]
pub struct Hsm {
    token: Arc<str>,
    deadline: Duration,
    calls: mpsc::Sender<Call>,
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    counts: Arc<Counts>,
}

/// One request on its way to the worker, and where its answer goes.
struct Call {
    request: Request,
    answer: oneshot::Sender<Result<Answer, String>>,
}

/// What the supervisor is told.
enum Order {
    /// Replace the worker by one with this configuration.
    Reconfigure(Box<WorkerConfig>, oneshot::Sender<()>),
    /// Let the worker drain and end.
    Stop,
}

impl Hsm {
    /// Starts the worker and whoever watches over it. Ends when the task is awaited after [`Hsm::stop`].
    pub fn start(launch: Launch) -> (Self, JoinHandle<()>) {
        let (calls, call_queue) = mpsc::channel(QUEUE);
        let (orders, order_queue) = mpsc::channel(4);
        let (announce, status) = watch::channel(Status::Starting);
        let counts = Arc::new(Counts::default());
        let hsm = Self {
            token: launch.config.token.name.as_str().into(),
            deadline: launch.deadline,
            calls,
            orders,
            status,
            counts: counts.clone(),
        };
        let task = tokio::spawn(supervisor::supervise(launch, call_queue, order_queue, announce, counts));
        (hsm, task)
    }

    /// The token's name in the configuration.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What the worker is doing now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until it shows how the first start went: ready, or why not.
    pub async fn settled(&self) -> Status {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| *status != Status::Starting).await;
        settled.map_or_else(|_| Status::Down("its supervisor has ended".into()), |status| status.clone())
    }

    /// Requests sent so far, by kind.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The signing key of an id for a scope.
    pub async fn signing_key(
        &self,
        id: AccessKeyId,
        date: [u8; 8],
        region: &str,
        service: &str,
    ) -> Result<SigningKey, Unavailable> {
        let request = Request::SigningKey { id, date, region: region.to_owned(), service: service.to_owned() };
        match self.ask(request).await? {
            Answer::Key(key) => Ok(SigningKey::from_secret(key)),
            other => Err(self.unexpected(other)),
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
        let (service, regions) = (service.to_owned(), regions.clone());
        match self.ask(Request::SigV4aPublicKey { id, date, service, regions }).await? {
            Answer::PublicKey(key) => Ok(key),
            other => Err(self.unexpected(other)),
        }
    }

    /// Whether a Signature V2 is right: `None` if it is not.
    pub async fn matches_v2(&self, question: Question) -> Result<Option<Matched>, Unavailable> {
        match self.ask(Request::MatchesV2(question.clone())).await? {
            Answer::Matches(true) => Ok(Some(Matched::new(question))),
            Answer::Matches(false) => Ok(None),
            other => Err(self.unexpected(other)),
        }
    }

    /// The tag key of a generation.
    pub async fn tag_key(&self, generation: Generation) -> Result<TagKey, Unavailable> {
        match self.ask(Request::TagKey(generation)).await? {
            Answer::Key(key) => Ok(TagKey::new(&key)),
            other => Err(self.unexpected(other)),
        }
    }

    /// The check value of a generation, computed by the token now.
    pub async fn check(&self, generation: Generation) -> Result<[u8; 32], Unavailable> {
        match self.ask(Request::Check(generation)).await? {
            Answer::CheckValue(value) => Ok(value),
            other => Err(self.unexpected(other)),
        }
    }

    /// A new key: its id and its secret.
    pub async fn issue(
        &self,
        generation: Generation,
        account: Account,
        needs_row: bool,
        nonce: [u8; 32],
    ) -> Result<(AccessKeyId, SecretAccessKey), Unavailable> {
        match self.ask(Request::Issue { generation, account, needs_row, nonce }).await? {
            Answer::Issued(id, secret) => Ok((id, secret)),
            other => Err(self.unexpected(other)),
        }
    }

    /// The control key's signature of the deny feed's head, with the key's public half.
    pub async fn sign_head(&self, head: FeedHead) -> Result<(PublicKey, Signature), Unavailable> {
        match self.ask(Request::SignHead(head)).await? {
            Answer::SignedHead { public_key, signature } => Ok((public_key, signature)),
            other => Err(self.unexpected(other)),
        }
    }

    /// Replaces the worker by one with another configuration. Requests wait for it meanwhile.
    pub async fn reconfigure(&self, config: WorkerConfig) {
        let (done, replaced) = oneshot::channel();
        if self.orders.send(Order::Reconfigure(Box::new(config), done)).await.is_ok() {
            let _ = replaced.await;
        }
    }

    /// Lets the worker drain, finalize and exit.
    pub async fn stop(&self) {
        let _ = self.orders.send(Order::Stop).await;
    }

    async fn ask(&self, request: Request) -> Result<Answer, Unavailable> {
        if let Status::Latched(reason) = &*self.status.borrow() {
            return Err(self.unavailable(reason.clone()));
        }
        let (answer, answered) = oneshot::channel();
        self.calls
            .try_send(Call { request, answer })
            .map_err(|_| self.unavailable("its queue is full, or it is shutting down".into()))?;
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(reason))) => Err(self.unavailable(reason)),
            Ok(Err(_)) => Err(self.unavailable("the connection to it was lost".into())),
            Err(_) => Err(self.unavailable(format!("no answer within {} ms", self.deadline.as_millis()))),
        }
    }

    /// An answer that is no answer. The worker's own rules are behind ours, so even its no is our trouble: the two
    /// configurations differ, or the clocks do.
    fn unexpected(&self, answer: Answer) -> Unavailable {
        self.unavailable(match answer {
            Answer::Refused(reason) => format!("it refused: {reason}"),
            Answer::Trouble(reason) => reason,
            _ => "it gave an answer of another kind".into(),
        })
    }

    fn unavailable(&self, reason: String) -> Unavailable {
        Unavailable { token: self.token.to_string(), reason }
    }
}

impl Counts {
    fn count(&self, request: &Request) {
        let counter = match request {
            Request::SigningKey { .. } => &self.signing_key,
            Request::SigV4aPublicKey { .. } => &self.sigv4a_public_key,
            Request::MatchesV2(_) => &self.matches_v2,
            Request::TagKey(_) => &self.tag_key,
            Request::Check(_) => &self.check,
            Request::Issue { .. } => &self.issue,
            Request::SignHead(_) => &self.sign_head,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

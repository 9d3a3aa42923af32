//! The line to one worker: calls go in, its supervisor keeps a process at the other end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::balance::GenerationSet;
use super::ledger::Ledger;
use super::{Counts, Launch, supervisor};
use crate::config::GenerationConfig;
use crate::wire::{Answer, Request};

/// Calls that may wait for a worker that is being replaced.
const QUEUE: usize = 1024;

/// One request on its way to the worker, and where its answer goes.
pub(super) struct Call {
    pub(super) request: Arc<Request>,
    pub(super) answer: oneshot::Sender<Result<Answer, String>>,
}

/// An answer that is waited for. The reason why there is none is for the log.
pub(super) type Reply = oneshot::Receiver<Result<Answer, String>>;

/// What the supervisor is told.
pub(super) enum Order {
    /// Replace the worker by one that knows these generations.
    Reconfigure(Vec<GenerationConfig>, oneshot::Sender<()>),
    /// Replace the worker: it answers, but not as it should.
    Restart,
    /// Let the worker drain and end.
    Stop,
}

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Starting,
    /// It said hello, and holds these generations.
    Ready(GenerationSet),
    Down(String),
    Latched(String),
}

/// The supervisor's end of a line.
pub(super) struct End {
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) life: watch::Sender<Life>,
    pub(super) ledger: Books,
    pub(super) counts: Arc<Counts>,
}

/// Where the workers of one token meet: they log in one after the other, and a PIN that was refused to one is not
/// tried by another.
pub(super) type Gate = Arc<Mutex<Option<String>>>;

/// What was sent to a worker, for whoever sends and for whoever compares.
pub(super) type Books = Arc<std::sync::Mutex<Ledger>>;

/// A handle on one worker.
pub(super) struct Line {
    calls: mpsc::Sender<Call>,
    orders: mpsc::Sender<Order>,
    ledger: Books,
    pub(super) life: watch::Receiver<Life>,
}

impl Line {
    /// Starts a worker and whoever watches over it.
    pub(super) fn start(launch: Launch, gate: Gate, counts: Arc<Counts>) -> (Self, JoinHandle<()>) {
        let (calls, call_queue) = mpsc::channel(QUEUE);
        let (orders, order_queue) = mpsc::channel(4);
        let (announce, life) = watch::channel(Life::Starting);
        let ledger = Books::new(Ledger::new(launch.is_shared).into());
        let end = End { calls: call_queue, orders: order_queue, life: announce, ledger: ledger.clone(), counts };
        let task = tokio::spawn(supervisor::supervise(launch, gate, end));
        (Self { calls, orders, ledger, life }, task)
    }

    /// What was sent to it.
    pub(super) fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        // It is whole between any two statements.
        self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sends a request to the worker, which has it even if nobody waits for the answer.
    pub(super) fn send(&self, request: Arc<Request>) -> Reply {
        let (answer, reply) = oneshot::channel();
        if let Err(unsent) = self.calls.try_send(Call { request, answer }) {
            let _ = unsent.into_inner().answer.send(Err("its queue is full, or it is shutting down".to_owned()));
        }
        reply
    }

    /// The worker's answer.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, String> {
        self.send(Arc::new(request)).await.unwrap_or_else(|_| Err("the connection to it was lost".into()))
    }

    /// Replaces the worker by one that knows these generations; ends when the old one has ended, or after so long.
    pub(super) async fn reconfigure(&self, generations: Vec<GenerationConfig>, at_most: Duration) {
        let (done, replaced) = oneshot::channel();
        if self.orders.send(Order::Reconfigure(generations, done)).await.is_ok() {
            let _ = tokio::time::timeout(at_most, replaced).await;
        }
    }

    /// Replaces the worker, if its supervisor is not busy with another order.
    pub(super) fn restart(&self) {
        let _ = self.orders.try_send(Order::Restart);
    }

    /// Lets the worker drain, finalize and exit.
    pub(super) async fn stop(&self) {
        let _ = self.orders.send(Order::Stop).await;
    }
}

//! The line to one worker: calls go in, its supervisor keeps a process at the other end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::balance::GenerationSet;
use super::{Counts, Launch, supervisor};
use crate::config::GenerationConfig;
use crate::wire::{Answer, Request};

/// Calls that may wait for a worker that is being replaced.
const QUEUE: usize = 1024;

/// One request on its way to the worker, and where its answer goes.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Answer, String>>,
}

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

/// Where the workers of one token meet: they log in one after the other, and a PIN that was refused to one is not
/// tried by another.
pub(super) type Gate = Arc<Mutex<Option<String>>>;

/// A handle on one worker.
pub(super) struct Line {
    calls: mpsc::Sender<Call>,
    orders: mpsc::Sender<Order>,
    pub(super) life: watch::Receiver<Life>,
}

impl Line {
    /// Starts a worker and whoever watches over it.
    pub(super) fn start(launch: Launch, gate: Gate, counts: Arc<Counts>) -> (Self, JoinHandle<()>) {
        let (calls, call_queue) = mpsc::channel(QUEUE);
        let (orders, order_queue) = mpsc::channel(4);
        let (announce, life) = watch::channel(Life::Starting);
        let task = tokio::spawn(supervisor::supervise(launch, gate, call_queue, order_queue, announce, counts));
        (Self { calls, orders, life }, task)
    }

    /// Asks the worker. The reason why there is no answer is for the log.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, String> {
        let (answer, answered) = oneshot::channel();
        self.calls
            .try_send(Call { request, answer })
            .map_err(|_| "its queue is full, or it is shutting down".to_owned())?;
        answered.await.unwrap_or_else(|_| Err("the connection to it was lost".into()))
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

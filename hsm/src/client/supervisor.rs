//! Watches over the worker of one token: starts it, replaces it, and gives up only when the PIN was refused.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Counts;
use super::connection::{self, Ended};
use super::launch::{Launch, NotStarted, Running};
use super::line::{Call, End, Gate, Life, Order};

/// The first wait before a new start; it doubles up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest wait between two starts. Less than the 2 s in which service must be back.
const LONGEST: Duration = Duration::from_secs(1);
/// A worker that lived this long has earned a quick restart.
const STEADY: Duration = Duration::from_secs(10);
/// How long a worker may take to drain and finalize before it is killed.
const DRAIN: Duration = Duration::from_secs(3);

/// What follows the life of one worker.
enum Next {
    Restart(String),
    Replace,
    Stop,
}

/// Keeps a worker running until told to stop.
pub(super) async fn supervise(mut launch: Launch, gate: Gate, mut line: End) {
    let mut wait = SHORTEST;
    loop {
        let born = Instant::now();
        let next = match start(&launch, &gate, &line.counts).await {
            Ok(running) => {
                line.life.send_replace(Life::Ready(running.holds));
                tracing::info!(token = launch.token, "the HSM worker is ready");
                live(running, &mut launch, &mut line).await
            }
            Err(NotStarted::Failed(reason)) => Next::Restart(reason),
            Err(NotStarted::PinRefused(reason)) => {
                tracing::error!(token = launch.token, reason, "the HSM worker is latched");
                line.life.send_replace(Life::Latched(reason));
                return refuse_all(line.calls, line.orders).await;
            }
        };
        match next {
            Next::Stop => return,
            Next::Replace => wait = SHORTEST,
            Next::Restart(reason) => {
                tracing::error!(token = launch.token, reason, "the HSM worker is down");
                line.life.send_replace(Life::Down(reason));
                wait = if born.elapsed() > STEADY { SHORTEST } else { (wait * 2).min(LONGEST) };
                if pause(wait, &mut launch, &mut line.orders).await {
                    return;
                }
            }
        }
    }
}

/// Starts a worker, one of its token at a time. After one was refused the PIN, none is started.
async fn start(launch: &Launch, gate: &Gate, counts: &Counts) -> Result<Running, NotStarted> {
    let mut refused = gate.lock().await;
    if let Some(reason) = &*refused {
        return Err(NotStarted::PinRefused(reason.clone()));
    }
    counts.starts.fetch_add(1, Ordering::Relaxed);
    let started = launch.start().await;
    if let Err(NotStarted::PinRefused(reason)) = &started {
        *refused = Some(reason.clone());
    }
    started
}

/// One worker's life, from ready to its end.
async fn live(running: Running, launch: &mut Launch, line: &mut End) -> Next {
    let ended = connection::run(&running.socket, line, launch.deadline).await;
    match ended {
        Ended::Ordered(Some(Order::Restart)) => {
            give_up(running).await;
            Next::Replace
        }
        Ended::Ordered(order) => {
            end(running).await;
            obey(order, launch)
        }
        Ended::Lost(reason) => {
            give_up(running).await;
            Next::Restart(reason)
        }
        Ended::Hung => {
            give_up(running).await;
            Next::Restart(format!("no answer within {} ms: given up", launch.deadline.as_millis()))
        }
    }
}

fn obey(order: Option<Order>, launch: &mut Launch) -> Next {
    match order {
        Some(Order::Reconfigure(generations, done)) => {
            launch.generations = generations;
            let _ = done.send(());
            Next::Replace
        }
        Some(Order::Restart) => Next::Replace,
        Some(Order::Stop) | None => Next::Stop,
    }
}

/// Closes the connection, which tells the worker to drain, and waits for its exit.
async fn end(running: Running) {
    let Running { child, socket, .. } = running;
    drop(socket);
    let Some(mut child) = child else { return };
    if tokio::time::timeout(DRAIN, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Kills the process. One that is not ours is left to its watchdog.
async fn give_up(running: Running) {
    if let Some(mut child) = running.child {
        let _ = child.kill().await;
    }
}

/// Waits before the next start, still obeying orders. Says whether to stop.
async fn pause(wait: Duration, launch: &mut Launch, orders: &mut mpsc::Receiver<Order>) -> bool {
    let pause = tokio::time::sleep(wait);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return false,
            order = orders.recv() => if matches!(obey(order, launch), Next::Stop) { return true },
        }
    }
}

/// After a refused PIN: every call is answered with the latch, until the end.
async fn refuse_all(mut calls: mpsc::Receiver<Call>, mut orders: mpsc::Receiver<Order>) {
    loop {
        tokio::select! {
            call = calls.recv() => match call {
                Some(call) => drop(call),
                None => return,
            },
            order = orders.recv() => match order {
                Some(Order::Reconfigure(_, done)) => drop(done),
                Some(Order::Restart) => {}
                Some(Order::Stop) | None => return,
            },
        }
    }
}

//! One worker's connection while it lives: requests out, answers in, and a clock over those that wait.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::inbox::Inbox;
use super::line::{Books, Call, End, Life, Order};
use super::socket::Socket;
use super::{Counts, count};
use crate::wire::Answer;

/// Requests that go out in one write.
const BATCH: usize = 64;

/// Why a connection ended.
pub(super) enum Ended {
    /// The worker closed it, died, or broke the format.
    Lost(String),
    /// A request waited longer than the deadline: the worker hangs.
    Hung,
    /// Everything that was sent is answered, and an order waits to be obeyed.
    Ordered(Option<Order>),
}

type Waiting = Mutex<Callers>;

/// Who waits for answers, and whether answers come.
struct Callers {
    /// By the number of the request: since when, and whom to tell.
    by_number: HashMap<u64, (Instant, oneshot::Sender<Result<Answer, String>>)>,
    last_answer: Instant,
}

impl Callers {
    /// Whether somebody has waited for longer than the deadline, and in that time no answer came to anybody. A token that
    /// is slow under a burst is not hung: those who wait too long are told by their own clocks.
    fn wait_in_vain(&self, deadline: Duration) -> bool {
        self.last_answer.elapsed() > deadline && self.by_number.values().any(|(since, _)| since.elapsed() > deadline)
    }
}

/// Passes calls to the worker and answers back until one of the ends is reached. When an order has come, nobody new is sent to
/// the worker while what is on its way is answered. Dropping the future drops the connection, and every call that waits on it learns
/// so.
pub(super) async fn run(socket: &Socket, line: &mut End, deadline: Duration) -> Ended {
    lock_books(&line.ledger).connected();
    let counts = line.counts.clone();
    let waiting = Waiting::new(Callers { by_number: HashMap::new(), last_answer: Instant::now() });
    tokio::select! {
        ended = write_calls(socket, line, &waiting) => ended,
        ended = read_answers(socket, &waiting, &counts) => ended,
        ended = watch_deadline(deadline, &waiting) => ended,
    }
}

async fn write_calls(socket: &Socket, line: &mut End, waiting: &Waiting) -> Ended {
    let End { calls, orders, life, ledger, counts } = line;
    let mut number = 0;
    let mut batch = Vec::with_capacity(BATCH);
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                life.send_replace(Life::Starting);
                all_answered(waiting).await;
                return Ended::Ordered(order);
            }
            _ = calls.recv_many(&mut batch, BATCH), if !calls.is_closed() => {}
        }
        // Who was answered together asks again together: after this turn, in one write.
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(call) = calls.try_recv()
        {
            batch.push(call);
        }
        frames.clear();
        put_out(&mut batch, &mut number, &mut frames, waiting, ledger, counts);
        if let Err(error) = socket.write_all(&frames).await {
            return Ended::Lost(error.to_string());
        }
    }
}

/// Writes the frames of calls down, and who waits for their answers.
fn put_out(
    batch: &mut Vec<Call>,
    number: &mut u64,
    frames: &mut Vec<u8>,
    waiting: &Waiting,
    ledger: &Books,
    counts: &Counts,
) {
    let (mut waiting, mut ledger, now) = (lock(waiting), lock_books(ledger), Instant::now());
    // A caller that has given up waits for nothing.
    for Call { request, answer } in batch.drain(..).filter(|call| !call.answer.is_closed()) {
        *number += 1;
        counts.count(&request);
        ledger.sends(&request);
        request.put_frame(*number, frames);
        waiting.by_number.insert(*number, (now, answer));
    }
}

/// Waits until no request is on its way. The deadline of each bounds the wait.
async fn all_answered(waiting: &Waiting) {
    while !lock(waiting).by_number.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read_answers(socket: &Socket, waiting: &Waiting, counts: &Counts) -> Ended {
    let mut inbox = Inbox::default();
    loop {
        let read = match socket.read(inbox.place()).await {
            Ok(0) => return Ended::Lost("it has closed the connection".into()),
            Ok(read) => read,
            Err(error) => return Ended::Lost(error.to_string()),
        };
        let mut callers = lock(waiting);
        callers.last_answer = Instant::now();
        let delivered = inbox.came(read, |number, answer| {
            if let Answer::Refused(reason) = &answer {
                count(&counts.refusals[reason.index()]);
            }
            if let Some((_, caller)) = callers.by_number.remove(&number) {
                let _ = caller.send(Ok(answer));
            }
        });
        if let Err(malformed) = delivered {
            return Ended::Lost(malformed.to_string());
        }
    }
}

/// Ends when the worker hangs: somebody waits for longer than the deadline, and no answers come.
///
/// When it is this process that was held up, the answers may be here and not yet read: the next look decides.
async fn watch_deadline(deadline: Duration, waiting: &Waiting) -> Ended {
    loop {
        let since = Instant::now();
        tokio::time::sleep(deadline / 4).await;
        let held_up = since.elapsed() > deadline / 2;
        if !held_up && lock(waiting).wait_in_vain(deadline) {
            return Ended::Hung;
        }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, Callers> {
    // The map is whole between any two statements, so a panic elsewhere does not spoil it.
    waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn lock_books(books: &Books) -> std::sync::MutexGuard<'_, super::ledger::Ledger> {
    books.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

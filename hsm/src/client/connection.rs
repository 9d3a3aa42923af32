//! One worker's connection while it lives: requests out, answers in, and a clock over those that wait.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use zeroize::Zeroize;

use super::line::{Books, End, Life, Order};
use super::{Counts, count};
use crate::wire::{self, Answer};

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
pub(super) async fn run(socket: &mut UnixStream, line: &mut End, deadline: Duration) -> Ended {
    lock_books(&line.ledger).connected();
    let counts = line.counts.clone();
    let waiting = Waiting::new(Callers { by_number: HashMap::new(), last_answer: Instant::now() });
    let (input, output) = socket.split();
    tokio::select! {
        ended = write_calls(output, line, &waiting) => ended,
        ended = read_answers(input, &waiting, &counts) => ended,
        ended = watch_deadline(deadline, &waiting) => ended,
    }
}

async fn write_calls(mut output: WriteHalf<'_>, line: &mut End, waiting: &Waiting) -> Ended {
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
        frames.clear();
        for call in batch.drain(..) {
            // A caller that has given up waits for nothing.
            if call.answer.is_closed() {
                continue;
            }
            number += 1;
            counts.count(&call.request);
            lock_books(ledger).sends(&call.request);
            let body = call.request.encode(number);
            frames.extend_from_slice(&wire::length_prefix(&body));
            frames.extend_from_slice(&body);
            lock(waiting).by_number.insert(number, (Instant::now(), call.answer));
        }
        if let Err(error) = output.write_all(&frames).await {
            return Ended::Lost(error.to_string());
        }
    }
}

/// Waits until no request is on its way. The deadline of each bounds the wait.
async fn all_answered(waiting: &Waiting) {
    while !lock(waiting).by_number.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read_answers(mut input: ReadHalf<'_>, waiting: &Waiting, counts: &Counts) -> Ended {
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        match input.read(&mut buffer[filled..]).await {
            Ok(0) => return Ended::Lost("it has closed the connection".into()),
            Ok(read) => filled += read,
            Err(error) => return Ended::Lost(error.to_string()),
        }
        match deliver(&mut buffer[..filled], waiting, counts) {
            Ok(used) => {
                // What was delivered held secrets; what is left moves to the front, and its old place is wiped too.
                buffer.copy_within(used..filled, 0);
                let left = filled - used;
                buffer[left..filled].zeroize();
                filled = left;
            }
            Err(malformed) => return Ended::Lost(malformed.to_string()),
        }
    }
}

/// Hands every whole frame to whoever waits for it; gives how many bytes were used.
fn deliver(bytes: &mut [u8], waiting: &Waiting, counts: &Counts) -> Result<usize, wire::Malformed> {
    let mut used = 0;
    while let Some((prefix, rest)) = bytes[used..].split_first_chunk_mut::<{ wire::LENGTH_BYTES }>() {
        let length = wire::body_length(*prefix)?;
        let Some(body) = rest.get_mut(..length) else { break };
        let (number, answer) = Answer::decode(body)?;
        if let Answer::Refused(reason) = &answer {
            count(&counts.refusals[reason.index()]);
        }
        let caller = {
            let mut callers = lock(waiting);
            callers.last_answer = Instant::now();
            callers.by_number.remove(&number)
        };
        if let Some((_, caller)) = caller {
            let _ = caller.send(Ok(answer));
        }
        used += wire::LENGTH_BYTES + length;
    }
    Ok(used)
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

//! What all connections of a worker share: the rules, the queue, and the session threads behind it.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::outbox::{Connection, Outbox};
use super::report::Counted;
use super::rules::{Now, Rules};
use super::{Failure, Keeper, Started, frames, harden};
use crate::pkcs11::{Reaction, Token, TokenError, TokenSession};
use crate::tally::{Sheet, Tally, Uses};
use crate::wire::{Answer, Hello, Reason, Request};

/// Requests that may wait for a session thread; past it the reader waits, and the authority's deadline decides.
const QUEUE: usize = 1024;
/// How long a session is used without a proof that it computes the recorded check values.
const PROVE: Duration = Duration::from_secs(10);
/// What most requests need for their body.
const ROOM: usize = 4096;
/// How long it may drain and finalize before it is gone all the same.
const DRAIN: Duration = Duration::from_secs(2);

/// Takes requests of any connection.
pub(super) struct Desk {
    rules: Arc<Rules>,
    hello: Vec<u8>,
    /// `None` once nothing more is taken.
    jobs: RwLock<Option<SyncSender<Job>>>,
    busy: Arc<Busy>,
    uses: Arc<Uses>,
    instance: [u8; 8],
    /// Of all connections.
    requests: Mutex<Tally>,
    /// By [`Reason::index`].
    refusals: [AtomicU64; Reason::ALL.len()],
}

/// The threads that ask the token.
pub(super) struct Sessions {
    token: Arc<Token>,
    threads: Vec<JoinHandle<()>>,
}

/// A request that the rules allow.
struct Job {
    number: u64,
    request: Request,
    from: Arc<Connection>,
}

/// Since when each thread has been with the token, in milliseconds of this desk plus one; 0 while it is not.
struct Busy {
    opened: Instant,
    threads: Vec<AtomicU64>,
}

impl Desk {
    /// Starts the session threads.
    pub fn open(started: Started) -> Result<(Arc<Self>, Sessions), Failure> {
        let Started { token, held, rules, keepers } = started;
        let (jobs, queue) = sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let busy = Busy { opened: Instant::now(), threads: keepers.iter().map(|_| AtomicU64::new(0)).collect() };
        let busy = Arc::new(busy);
        let start = |(at, keeper)| session_thread(at, keeper, queue.clone(), busy.clone());
        let threads = keepers.into_iter().enumerate().map(start).collect::<Result<_, _>>()?;
        let jobs = RwLock::new(Some(jobs));
        let mut instance = [0; 8];
        getrandom::fill(&mut instance).map_err(|error| error.to_string())?;
        let (requests, refusals) = (Mutex::default(), std::array::from_fn(|_| AtomicU64::new(0)));
        let hello = Hello::Ready(held).encode();
        let desk = Self { rules, hello, jobs, busy, uses: token.uses().clone(), instance, requests, refusals };
        Ok((Arc::new(desk), Sessions { token, threads }))
    }

    /// Answers one connection until its other end closes it or breaks the format.
    pub fn attend(&self, socket: UnixStream) -> Result<(), std::io::Error> {
        frames::send(&socket, &self.hello)?;
        let connection = Arc::new(Connection::new(socket.try_clone()?));
        let read = self.read_requests(socket, &connection);
        connection.leave();
        read
    }

    /// What the rules refuse is answered here and costs the token nothing.
    fn read_requests(&self, socket: UnixStream, connection: &Arc<Connection>) -> Result<(), std::io::Error> {
        let mut input = std::io::BufReader::with_capacity(64 * 1024, socket);
        let mut body = Vec::with_capacity(ROOM);
        let mut own = Tally::default();
        while frames::read(&mut input, &mut body)? {
            let (number, request) = Request::decode(&body).map_err(frames::invalid)?;
            if let Request::Tally(mark) = request {
                connection.reply(number, &Answer::Tally(Box::new(self.sheet(mark, &own))))?;
                continue;
            }
            own.count_request(&request);
            self.all_requests().count_request(&request);
            match self.rules.allow(&request, Now::from_clock()) {
                Ok(()) => self.queue(Job { number, request, from: connection.clone() })?,
                Err(reason) => {
                    self.refusals[reason.index()].fetch_add(1, Ordering::Relaxed);
                    connection.reply(number, &Answer::Refused(reason))?;
                }
            }
        }
        Ok(())
    }

    fn all_requests(&self) -> MutexGuard<'_, Tally> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sheet(&self, mark: u64, own: &Tally) -> Sheet {
        let all = self.all_requests().clone();
        Sheet { mark, instance: self.instance, own: own.clone(), all, uses: self.uses.so_far() }
    }

    /// What it has counted, for its watchdog.
    pub fn counted(&self) -> Counted {
        let refusals = Reason::ALL.into_iter().zip(&self.refusals);
        let refusals = refusals.map(|(reason, count)| (reason.word().to_owned(), count.load(Ordering::Relaxed)));
        Counted {
            requests: self.all_requests().clone(),
            uses: self.uses.so_far(),
            refusals: refusals.filter(|(_, count)| *count > 0).collect(),
            ..Counted::default()
        }
    }

    fn queue(&self, job: Job) -> Result<(), std::io::Error> {
        let ended = || std::io::Error::other("the worker ends");
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())
    }

    /// For how long the call to the token that has lasted longest has lasted.
    pub fn longest_call(&self) -> Duration {
        self.busy.longest()
    }
}

impl Sessions {
    /// Drains, joins and finalizes; past a deadline the process is gone.
    pub fn end(self, desk: &Desk) -> Result<(), Failure> {
        harden::be_gone_after(DRAIN);
        *desk.jobs.write().unwrap_or_else(PoisonError::into_inner) = None;
        for thread in self.threads {
            thread.join().map_err(|_| "a session thread panicked")?;
        }
        if let Ok(token) = Arc::try_unwrap(self.token) {
            token.finalize()?;
        }
        Ok(())
    }
}

/// A thread that owns its sessions and answers jobs from the queue in turn.
fn session_thread(
    at: usize,
    mut keeper: Keeper<TokenSession>,
    queue: Arc<Mutex<Receiver<Job>>>,
    busy: Arc<Busy>,
) -> Result<JoinHandle<()>, std::io::Error> {
    std::thread::Builder::new().name("session".into()).spawn(move || {
        let (mut proven, mut outbox) = (Instant::now(), Outbox::default());
        while let Some(Job { number, request, from }) = next_job(&queue, &mut outbox) {
            if from.is_gone() {
                continue;
            }
            let begun = busy.begin(at);
            let outcome = answer(&mut keeper, &request, &mut proven, begun);
            let times = (begun, busy.end(at));
            let answer = outcome.unwrap_or_else(|error| {
                tell(&error);
                if error.reaction() == Reaction::NewProcess {
                    // The connection to the token is lost with every handle: only a new process can mend that.
                    outbox.put(&from, number, &Answer::Trouble(error.to_string()), times);
                    outbox.send();
                    harden::be_gone();
                }
                Answer::Trouble(error.to_string())
            });
            outbox.put(&from, number, &answer, times);
        }
    })
}

/// The next job. One that is there is taken at once; before a wait for one, the answers so far are sent.
fn next_job(queue: &Mutex<Receiver<Job>>, outbox: &mut Outbox) -> Option<Job> {
    // Whoever has the lock waits for a job: then there is none.
    if let Ok(queue) = queue.try_lock()
        && let Ok(job) = queue.try_recv()
    {
        return Some(job);
    }
    outbox.send();
    queue.lock().ok()?.recv().ok()
}

/// Others' checks may never come to these sessions, so they are proven when they are used.
fn answer(
    keeper: &mut Keeper<TokenSession>,
    request: &Request,
    proven: &mut Instant,
    now: Instant,
) -> Result<Answer, TokenError> {
    if now.saturating_duration_since(*proven) >= PROVE {
        keeper.prove()?;
        *proven = now;
    }
    keeper.answer(request)
}

fn tell(error: &TokenError) {
    match error {
        TokenError::CheckValue { .. } => tracing::error!(%error, "ALARM: the token answers wrongly"),
        _ => tracing::error!(%error, "the token failed"),
    }
}

impl Busy {
    /// When it begins.
    fn begin(&self, at: usize) -> Instant {
        let now = Instant::now();
        let millis = now.saturating_duration_since(self.opened).as_millis() as u64;
        self.threads[at].store(millis + 1, Ordering::Relaxed);
        now
    }

    /// When it ends.
    fn end(&self, at: usize) -> Instant {
        self.threads[at].store(0, Ordering::Relaxed);
        Instant::now()
    }

    fn longest(&self) -> Duration {
        let now = self.opened.elapsed().as_millis() as u64 + 1;
        let since = self.threads.iter().map(|since| since.load(Ordering::Relaxed)).filter(|since| *since > 0).min();
        Duration::from_millis(since.map_or(0, |since| now.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn job(number: u64, from: &Arc<Connection>) -> Job {
        Job { number, request: Request::Tally(number), from: from.clone() }
    }

    #[test]
    fn an_answer_is_held_while_a_job_waits_and_never_while_none_does() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.set_nonblocking(true).expect("it does not wait");
        let (connection, now) = (Arc::new(Connection::new(ours)), Instant::now());
        let (jobs, queue) = sync_channel(2);
        let (queue, mut outbox) = (Mutex::new(queue), Outbox::default());
        let answer = Answer::Matches(true);
        let mut bytes = [0; 64];
        jobs.send(job(2, &connection)).expect("there is room");
        outbox.put(&connection, 1, &answer, (now, now));
        assert_eq!(next_job(&queue, &mut outbox).map(|job| job.number), Some(2));
        assert!(theirs.read(&mut bytes).is_err(), "the control: held");
        drop(jobs);
        assert!(next_job(&queue, &mut outbox).is_none(), "there never will be one");
        let read = theirs.read(&mut bytes).expect("sent before the wait");
        assert_eq!(bytes[..read], frames::of(&answer.encode(1))[..]);
    }
}

//! What all connections of a worker share: the rules, the queue, and the session threads behind it.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zeroize::{Zeroize as _, Zeroizing};

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
/// Answers that are written together, at most.
const TOGETHER: usize = 4;
/// Bytes that they have room for; an answer that holds a secret takes a fraction of it.
const ANSWERS: usize = 1024;
/// No answer waits for the next one if it took longer itself.
const FAST: Duration = Duration::from_micros(200);
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

/// Where answers go.
struct Connection {
    socket: Mutex<UnixStream>,
    is_gone: AtomicBool,
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
        let connection = Connection { socket: Mutex::new(socket.try_clone()?), is_gone: AtomicBool::new(false) };
        let connection = Arc::new(connection);
        let read = self.read_requests(socket, &connection);
        connection.is_gone.store(true, Ordering::Relaxed);
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
            if from.is_gone.load(Ordering::Relaxed) {
                continue;
            }
            busy.begin(at);
            let since = Instant::now();
            let outcome = answer(&mut keeper, &request, &mut proven);
            let is_fast = since.elapsed() < FAST;
            busy.end(at);
            let answer = outcome.unwrap_or_else(|error| {
                tell(&error);
                if error.reaction() == Reaction::NewProcess {
                    // The connection to the token is lost with every handle: only a new process can mend that.
                    outbox.put(&from, number, &Answer::Trouble(error.to_string()));
                    outbox.send();
                    harden::be_gone();
                }
                Answer::Trouble(error.to_string())
            });
            outbox.put(&from, number, &answer);
            if !is_fast {
                outbox.send();
            }
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
fn answer(keeper: &mut Keeper<TokenSession>, request: &Request, proven: &mut Instant) -> Result<Answer, TokenError> {
    if proven.elapsed() >= PROVE {
        keeper.prove()?;
        *proven = Instant::now();
    }
    keeper.answer(request)
}

fn tell(error: &TokenError) {
    match error {
        TokenError::CheckValue { .. } => tracing::error!(%error, "ALARM: the token answers wrongly"),
        _ => tracing::error!(%error, "the token failed"),
    }
}

impl Connection {
    /// Writes an answer. A connection that does not take it is closed, so that nobody else waits for it.
    fn reply(&self, number: u64, answer: &Answer) -> Result<(), std::io::Error> {
        self.write(&frames::of(&answer.encode(number)))
    }

    fn write(&self, frames: &[u8]) -> Result<(), std::io::Error> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = socket.write_all(frames);
        if sent.is_err() {
            self.is_gone.store(true, Ordering::Relaxed);
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        sent
    }
}

/// Answers for one connection that are written together, while more jobs wait: each write wakes the other end, which costs a session
/// half of what an HMAC of a fast token does.
struct Outbox {
    to: Option<Arc<Connection>>,
    frames: Zeroizing<Vec<u8>>,
    answers: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        // With room for all that hold secrets, so that none stays behind in a place that was too small.
        Self { to: None, frames: Zeroizing::new(Vec::with_capacity(ANSWERS)), answers: 0 }
    }
}

impl Outbox {
    fn put(&mut self, to: &Arc<Connection>, number: u64, answer: &Answer) {
        if self.to.as_ref().is_some_and(|other| !Arc::ptr_eq(other, to)) {
            self.send();
        }
        let frame = frames::of(&answer.encode(number));
        if self.frames.len() + frame.len() > self.frames.capacity() {
            self.send();
        }
        self.frames.extend_from_slice(&frame);
        (self.to, self.answers) = (Some(to.clone()), self.answers + 1);
        if self.answers == TOGETHER {
            self.send();
        }
    }

    fn send(&mut self) {
        if let Some(to) = self.to.take() {
            // Who closed the connection waits for nothing.
            let _ = to.write(&self.frames);
        }
        self.frames.as_mut_slice().zeroize();
        self.frames.clear();
        self.answers = 0;
    }
}

impl Busy {
    fn begin(&self, at: usize) {
        self.threads[at].store(self.opened.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    fn end(&self, at: usize) {
        self.threads[at].store(0, Ordering::Relaxed);
    }

    fn longest(&self) -> Duration {
        let now = self.opened.elapsed().as_millis() as u64 + 1;
        let since = self.threads.iter().map(|since| since.load(Ordering::Relaxed)).filter(|since| *since > 0).min();
        Duration::from_millis(since.map_or(0, |since| now.saturating_sub(since)))
    }
}

//! What all connections of a worker share: the rules, the queue, and the session threads behind it.
//!
//! Where one connection is all there is, and one session, whoever reads asks the token too: a hand-over to another thread costs a fifth
//! of what a fast token's HMAC does.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::outbox::{Connection, Outbox};
use super::report::Counted;
use super::rules::{Now, Rules};
use super::session::{Busy, Job, Session};
use super::{Failure, Started, frames, harden};
use crate::pkcs11::Token;
use crate::tally::{Sheet, Tally, Uses};
use crate::wire::{Answer, Hello, Reason, Request};

/// Requests that may wait for a session thread; past it the reader waits, and the authority's deadline decides.
const QUEUE: usize = 1024;
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

/// Who asks the token.
pub(super) struct Sessions {
    token: Arc<Token>,
    threads: Vec<JoinHandle<()>>,
    /// The one that has no thread of its own.
    alone: Option<Session>,
}

impl Desk {
    /// Starts the session threads. A single session needs none if there is a single connection.
    pub fn open(started: Started, is_for_one: bool) -> Result<(Arc<Self>, Sessions), Failure> {
        let Started { token, held, rules, keepers } = started;
        let (jobs, queue) = sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let busy = Arc::new(Busy::new(keepers.len()));
        let session = |(at, keeper)| Session::new(at, keeper, busy.clone());
        let mut sessions: Vec<Session> = keepers.into_iter().enumerate().map(session).collect();
        let alone = if is_for_one && sessions.len() == 1 { sessions.pop() } else { None };
        let start = |session| session_thread(session, queue.clone());
        let threads = sessions.into_iter().map(start).collect::<Result<_, _>>()?;
        let jobs = RwLock::new(Some(jobs));
        let mut instance = [0; 8];
        getrandom::fill(&mut instance).map_err(|error| error.to_string())?;
        let (requests, refusals) = (Mutex::default(), std::array::from_fn(|_| AtomicU64::new(0)));
        let hello = Hello::Ready(held).encode();
        let desk = Self { rules, hello, jobs, busy, uses: token.uses().clone(), instance, requests, refusals };
        Ok((Arc::new(desk), Sessions { token, threads, alone }))
    }

    /// Answers one connection until its other end closes it or breaks the format; through the queue, or by a session that is
    /// this connection's alone.
    pub fn attend(&self, socket: UnixStream, mut alone: Option<&mut Session>) -> Result<(), std::io::Error> {
        if alone.is_some() {
            // Nobody else reads while it is with the token, and that may be for ever.
            harden::be_gone_when_left(socket.try_clone()?, DRAIN)?;
        }
        frames::send(&socket, &self.hello)?;
        let connection = Arc::new(Connection::new(socket.try_clone()?));
        let read = self.read_requests(socket, &connection, &mut alone);
        connection.leave();
        read
    }

    fn read_requests(
        &self,
        socket: UnixStream,
        connection: &Arc<Connection>,
        alone: &mut Option<&mut Session>,
    ) -> Result<(), std::io::Error> {
        let mut input = std::io::BufReader::with_capacity(64 * 1024, socket);
        let mut body = Vec::with_capacity(ROOM);
        let mut own = Tally::default();
        loop {
            if let Some(session) = alone
                && !frames::begin_with_one(input.buffer())
            {
                // There may be a wait now.
                session.outbox().send();
            }
            if !frames::read(&mut input, &mut body)? {
                return Ok(());
            }
            let (number, request) = Request::decode(&body).map_err(frames::invalid)?;
            if let Some(job) = self.take(number, request, connection, &mut own)? {
                match alone {
                    Some(session) => session.answer(job),
                    None => self.queue(job)?,
                }
            }
        }
    }

    /// Counts a request. What asks for counts or is refused by the rules is answered here and costs the token nothing; the rest
    /// is a job.
    fn take(
        &self,
        number: u64,
        request: Request,
        connection: &Arc<Connection>,
        own: &mut Tally,
    ) -> Result<Option<Job>, std::io::Error> {
        if let Request::Tally(mark) = request {
            connection.reply(number, &Answer::Tally(Box::new(self.sheet(mark, own))))?;
            return Ok(None);
        }
        own.count_request(&request);
        self.all_requests().count_request(&request);
        match self.rules.allow(&request, Now::from_clock()) {
            Ok(()) => Ok(Some(Job { number, request, from: connection.clone() })),
            Err(reason) => {
                self.refusals[reason.index()].fetch_add(1, Ordering::Relaxed);
                connection.reply(number, &Answer::Refused(reason))?;
                Ok(None)
            }
        }
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
    /// The session that has no thread of its own, if there is one.
    pub fn alone(&mut self) -> Option<&mut Session> {
        self.alone.as_mut()
    }

    /// Drains, joins and finalizes; past a deadline the process is gone.
    pub fn end(self, desk: &Desk) -> Result<(), Failure> {
        harden::be_gone_after(DRAIN);
        *desk.jobs.write().unwrap_or_else(PoisonError::into_inner) = None;
        drop(self.alone);
        for thread in self.threads {
            thread.join().map_err(|_| "a session thread panicked")?;
        }
        if let Ok(token) = Arc::try_unwrap(self.token) {
            token.finalize()?;
        }
        Ok(())
    }
}

/// A thread that answers jobs from the queue in turn.
fn session_thread(mut session: Session, queue: Arc<Mutex<Receiver<Job>>>) -> Result<JoinHandle<()>, std::io::Error> {
    std::thread::Builder::new().name("session".into()).spawn(move || {
        while let Some(job) = next_job(&queue, session.outbox()) {
            session.answer(job);
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Instant;

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

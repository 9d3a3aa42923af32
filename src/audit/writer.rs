//! The thread that writes the log, and the handle to it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base16ct::lower::encode_string as to_hex;
use tokio::sync::{oneshot, watch};

use super::chain::{Link, LogId};
use super::event::{Event, UserIdentity};
use super::first_few::FirstFew;
use super::sink::Sink;
use super::{AuditError, now};
use crate::config::Config;

/// Events that may wait for the disk.
const QUEUE: usize = 4096;
/// Events that are written at once, and wait for the disk once.
const BATCH: usize = 256;
/// How long whoever waits for an entry waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the thread looks at the clock.
const TICK: Duration = Duration::from_secs(5);

/// Refusals of one class that are written in a minute.
const REFUSALS: u32 = 5;

fn lock(mutex: &Mutex<FirstFew>) -> std::sync::MutexGuard<'_, FirstFew> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Outcome = Result<(), AuditError>;

/// A handle to the log. Clones write the same one.
#[derive(Clone, Default)]
pub struct Audit {
    /// `None` where nothing is written.
    queue: Option<SyncSender<Job>>,
    state: Arc<State>,
}

/// What the log could not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Events that stand in no line.
    pub lost: u64,
    /// Whether the last write failed.
    pub failing: bool,
}

struct State {
    failing: AtomicBool,
    lost: AtomicU64,
    refusals: Mutex<FirstFew>,
    derivations: Mutex<FirstFew>,
    /// The newest.
    checkpoint: watch::Sender<Option<(LogId, Link)>>,
}

impl State {
    fn new(derivations: u32) -> Self {
        Self {
            failing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            refusals: Mutex::new(FirstFew::new(REFUSALS)),
            derivations: Mutex::new(FirstFew::new(derivations)),
            checkpoint: watch::Sender::new(None),
        }
    }
}

/// Where nothing is written.
impl Default for State {
    fn default() -> Self {
        Self::new(0)
    }
}

enum Job {
    Event {
        event: Box<Event>,
        done: Option<oneshot::Sender<Outcome>>,
    },
    /// Tries to write if the last write failed.
    Probe {
        done: oneshot::Sender<Outcome>,
    },
    /// The last: a checkpoint.
    Close {
        done: oneshot::Sender<Outcome>,
    },
}

impl Audit {
    /// Opens the log of a configuration and begins to write.
    pub fn open(config: &Config) -> Result<Self, AuditError> {
        let state = Arc::new(State::new(config.audit.derivations));
        let Some(sink) = Sink::open(config)? else { return Ok(Self::default()) };
        let (queue, jobs) = sync_channel(QUEUE);
        let writer = Writer {
            sink,
            state: state.clone(),
            since_checkpoint: 0,
            checkpoint_every: u64::from(config.audit.checkpoint_every),
            last_checkpoint: Instant::now(),
            checkpoint_after: Duration::from_secs(config.audit.checkpoint_s.into()),
            told: 0,
        };
        let thread = std::thread::Builder::new().name("audit".into());
        thread.spawn(move || writer.run(&jobs)).map_err(|error| AuditError::new(error.to_string()))?;
        Ok(Self { queue: Some(queue), state })
    }

    /// Writes nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Hands an event on, and does not wait. What cannot be written is counted, and told by the next entry that can be.
    pub fn note(&self, event: Event) {
        self.send(Job::Event { event: Box::new(event), done: None });
    }

    /// Writes an event, and returns when it is on the disk.
    pub async fn record(&self, event: Event) -> Outcome {
        self.ask(|done| Job::Event { event: Box::new(event), done: Some(done) }).await
    }

    /// Whether events can be written, as far as anybody knows: after a failure it is tried again first.
    pub async fn check(&self) -> Outcome {
        if !self.state.failing.load(Ordering::Acquire) {
            return Ok(());
        }
        self.ask(|done| Job::Probe { done }).await
    }

    /// Notes that a request was refused, unless enough of its class were within the minute. `event` is only made if it is written.
    pub fn refused(&self, service: &str, code: &str, event: impl FnOnce(i64) -> Event) {
        let at = now();
        if self.queue.is_some() && lock(&self.state.refusals).admit(service, code, at) {
            self.note(event(at));
        }
    }

    /// Notes that the HSM was asked about a key for a caller, unless enough were for it within the minute.
    pub fn derived(&self, caller: &str, event: impl FnOnce(i64) -> Event) {
        let at = now();
        if self.queue.is_some() && lock(&self.state.derivations).admit(caller, "", at) {
            self.note(event(at));
        }
    }

    /// What the log could not take so far.
    pub fn failures(&self) -> Failures {
        Failures { lost: self.state.lost.load(Ordering::Relaxed), failing: self.state.failing.load(Ordering::Acquire) }
    }

    /// Writes what waits and a last checkpoint.
    pub async fn close(&self) -> Outcome {
        self.ask(|done| Job::Close { done }).await
    }

    /// The checkpoints that this process writes.
    pub fn checkpoints(&self) -> watch::Receiver<Option<(LogId, Link)>> {
        self.state.checkpoint.subscribe()
    }

    fn send(&self, job: Job) {
        let Some(queue) = &self.queue else { return };
        // Too slow a sink is as good as none.
        if queue.try_send(job).is_err() {
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn ask(&self, job: impl FnOnce(oneshot::Sender<Outcome>) -> Job) -> Outcome {
        if self.queue.is_none() {
            return Ok(());
        }
        let (done, outcome) = oneshot::channel();
        self.send(job(done));
        match tokio::time::timeout(PATIENCE, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(AuditError::new("too many events wait to be written")),
            Err(_) => Err(AuditError::new(format!("it took longer than {} s", PATIENCE.as_secs()))),
        }
    }
}

struct Writer {
    sink: Sink,
    state: Arc<State>,
    /// Entries since the last checkpoint.
    since_checkpoint: u64,
    checkpoint_every: u64,
    last_checkpoint: Instant,
    checkpoint_after: Duration,
    /// How many lost events the log has told of.
    told: u64,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(TICK) {
                Ok(first) => {
                    let rest = std::iter::from_fn(|| jobs.try_recv().ok()).take(BATCH - 1);
                    self.take(std::iter::once(first).chain(rest).collect());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_the_clock();
        }
    }

    /// Writes a batch, and tells whoever waits.
    fn take(&mut self, jobs: Vec<Job>) {
        let (mut events, mut waiting) = (Vec::new(), Vec::new());
        let mut closing = false;
        for job in jobs {
            match job {
                Job::Event { event, done } => {
                    events.push(event.to_json());
                    waiting.extend(done);
                }
                Job::Probe { done } => waiting.push(done),
                Job::Close { done } => {
                    closing = true;
                    waiting.push(done);
                }
            }
        }
        let mut outcome = self.write(&events, !waiting.is_empty());
        if closing && outcome.is_ok() {
            self.withheld(i64::MAX);
            outcome = self.checkpoint();
        }
        for done in waiting {
            // Who went away does not want to know.
            let _ = done.send(outcome.clone());
        }
    }

    /// Writes events, after one that tells of those that could not be written before.
    fn write(&mut self, events: &[Vec<u8>], durable: bool) -> Outcome {
        let lost = self.state.lost.load(Ordering::Relaxed);
        let gap = (lost > self.told || self.state.failing.load(Ordering::Acquire)).then(|| {
            let event = Event::service("AuditEventsLost", now()).with_data("lost", lost - self.told);
            event.with_data("lostSinceStart", lost).to_json()
        });
        let all: Vec<_> = gap.into_iter().chain(events.iter().cloned()).collect();
        if all.is_empty() {
            return Ok(());
        }
        match self.sink.append(&all, durable) {
            Ok(_) => {
                self.since_checkpoint += all.len() as u64;
                self.told = lost;
                if self.state.failing.swap(false, Ordering::AcqRel) {
                    tracing::warn!("the audit log can be written again");
                }
                Ok(())
            }
            Err(error) => Err(self.failed(events, &error)),
        }
    }

    /// Lost for the log; the ordinary log has them.
    fn failed(&self, events: &[Vec<u8>], error: &std::io::Error) -> AuditError {
        self.state.failing.store(true, Ordering::Release);
        self.state.lost.fetch_add(events.len() as u64, Ordering::Relaxed);
        tracing::error!(%error, events = events.len(), "the audit log cannot be written");
        for event in events {
            tracing::error!(event = %String::from_utf8_lossy(event), "an event that the audit log does not have");
        }
        AuditError::new(error.to_string())
    }

    fn look_at_the_clock(&mut self) {
        self.withheld(now());
        let due = self.last_checkpoint.elapsed() >= self.checkpoint_after;
        if self.since_checkpoint >= self.checkpoint_every || (due && self.since_checkpoint > 0) {
            // It failed: that is told, and tried again.
            let _ = self.checkpoint();
        }
    }

    /// Tells how many refusals and derivations were not written.
    fn withheld(&mut self, now: i64) {
        let over = lock(&self.state.refusals).over(now);
        let derived = lock(&self.state.derivations).over(now);
        let told_at = super::now();
        let event = |((service, code), count): ((String, String), u64)| {
            Event::refused(UserIdentity::unknown(None), &service, &code, told_at)
                .with_data("notWritten", count)
                .to_json()
        };
        let derivation = |((caller, _), count): ((String, String), u64)| {
            Event::derivation(None, None, &caller, told_at).with_data("notWritten", count).to_json()
        };
        let events: Vec<_> = over.into_iter().map(event).chain(derived.into_iter().map(derivation)).collect();
        if !events.is_empty() {
            let _ = self.write(&events, false);
        }
    }

    /// Writes a checkpoint, and tells it to the ordinary log, which stands elsewhere.
    fn checkpoint(&mut self) -> Outcome {
        let event = Event::service("AuditCheckpoint", now()).with_data("entries", self.since_checkpoint);
        let link = self.sink.append(&[event.to_json()], true).map_err(|error| self.failed(&[], &error))?;
        tracing::info!(log = to_hex(self.sink.log()), checkpoint = %link, "audit checkpoint");
        self.state.checkpoint.send_replace(Some((*self.sink.log(), link)));
        (self.since_checkpoint, self.last_checkpoint) = (0, Instant::now());
        Ok(())
    }
}

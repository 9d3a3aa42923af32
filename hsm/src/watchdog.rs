//! The watchdog of workers of their own: starts them, kills one that hangs, starts it again. It holds no key and loads no module.
//!
//! A worker tells it each 50 ms that it lives, and for how long the call to the token that has lasted longest has lasted: a call
//! that hangs can be ended in no other way than with its process.

mod metrics;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::Child;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::client::worker;
use crate::config::{Listen, WorkerConfig};
use crate::worker::{Counted, Report};
use metrics::Metrics;

/// How long a worker may take until it listens: a network HSM may be slow to log in.
const START: Duration = Duration::from_secs(10);
/// No worker that is told to live is killed for less silence than this: a busy machine is not a hung process.
const LEAST_SILENCE: Duration = Duration::from_secs(1);
/// How long a worker may take to drain and finalize before it is killed.
const DRAIN: Duration = Duration::from_secs(3);
/// The first wait before a new start; it doubles up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest wait between two starts.
const LONGEST: Duration = Duration::from_secs(1);
/// A worker that lived this long has earned a quick restart.
const STEADY: Duration = Duration::from_secs(10);

/// Workers of their own, all of one token and one configuration.
pub struct Service {
    /// The `rederive` binary.
    pub program: PathBuf,
    /// Variables set for the workers, such as `SOFTHSM2_CONF`.
    pub environment: Vec<(String, String)>,
    /// What they may do, and where they listen.
    pub config: WorkerConfig,
    /// How many there are. Each listens on a socket of its own (see [`Listen::path_of`]) and has its part of every cap.
    pub workers: u16,
    /// How long a call to the token may last before its worker is killed.
    pub deadline: Duration,
    /// Where all that they count is written for Prometheus, as its textfile collector takes it.
    pub metrics: Option<PathBuf>,
}

/// The token refused the PIN: nothing is tried again before an operator has mended that.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct PinRefused(String);

/// How a worker ended.
enum Ended {
    /// It was told to.
    Stopped,
    PinRefused(String),
    Failed(String),
}

/// Keeps the workers running until `stop` becomes true.
pub async fn watch(service: Service, stop: watch::Receiver<bool>) -> Result<(), PinRefused> {
    let service = Arc::new(service);
    // They log in one after the other: a PIN that one is refused is not tried by the next.
    let gate = Arc::new(Mutex::new(()));
    let mut wards = JoinSet::new();
    let metrics = Arc::new(Metrics::new(&service));
    if let Some(path) = service.metrics.clone() {
        tokio::spawn(metrics.clone().write_forever(path));
    }
    for at in 0..usize::from(service.workers.max(1)) {
        wards.spawn(keep(service.clone(), at, gate.clone(), metrics.clone(), stop.clone()));
    }
    while let Some(ended) = wards.join_next().await {
        // Dropping the set ends the other workers.
        ended.unwrap_or(Ok(()))?;
    }
    Ok(())
}

async fn keep(
    service: Arc<Service>,
    at: usize,
    gate: Arc<Mutex<()>>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), PinRefused> {
    let mut wait = SHORTEST;
    loop {
        let born = Instant::now();
        match service.one_life(at, &gate, &metrics, &mut stop).await {
            Ended::Stopped => return Ok(()),
            Ended::PinRefused(text) => return Err(PinRefused(text)),
            Ended::Failed(reason) => tracing::error!(worker = at, reason, "the HSM worker is down"),
        }
        wait = if born.elapsed() > STEADY { SHORTEST } else { (wait * 2).min(LONGEST) };
        if tokio::time::timeout(wait, told(&mut stop)).await.is_ok() {
            return Ok(());
        }
    }
}

impl Service {
    /// One worker, from its start to its end. It is killed when the future is dropped.
    async fn one_life(
        &self,
        at: usize,
        gate: &Mutex<()>,
        metrics: &Metrics,
        stop: &mut watch::Receiver<bool>,
    ) -> Ended {
        metrics.starts(at);
        let started = tokio::select! {
            started = self.start(at, gate) => started,
            () = told(stop) => return Ended::Stopped,
        };
        let mut ward = match started {
            Ok(ward) => ward,
            Err(ended) => return ended,
        };
        tracing::info!(worker = at, "the HSM worker is ready");
        let reason = tokio::select! {
            reason = ward.watch(self.deadline, |counted| metrics.hears(at, counted)) => reason,
            () = told(stop) => {
                ward.end().await;
                return Ended::Stopped;
            }
        };
        let _ = ward.process.kill().await;
        Ended::Failed(reason)
    }

    async fn start(&self, at: usize, gate: &Mutex<()>) -> Result<Ward, Ended> {
        let _turn = gate.lock().await;
        let cannot = |error| Ended::Failed(format!("cannot be started: {error}"));
        let mut ward = Ward::spawn(self, at).map_err(cannot)?;
        let patience = self.config.token.pin.patience(START);
        Err(match tokio::time::timeout(patience, ward.report()).await {
            Ok(Some(Report::Ready)) => return Ok(ward),
            Ok(Some(Report::Failed { pin_refused: true, text })) => Ended::PinRefused(text),
            Ok(Some(Report::Failed { text, .. })) => Ended::Failed(text),
            Ok(_) => Ended::Failed("ended before it was ready".into()),
            Err(_) => Ended::Failed(format!("was not ready after {} s: killed", patience.as_secs())),
        })
    }
}

/// Ends when the workers are to end. An error means that nobody can tell any more, which ends them, too.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A worker process, and what it tells.
struct Ward {
    process: Child,
    reports: Lines<BufReader<tokio::net::UnixStream>>,
}

impl Ward {
    fn spawn(service: &Service, at: usize) -> Result<Self, std::io::Error> {
        let mut config = service.config.clone();
        config.rights = config.rights.part(at as u16, service.workers.max(1));
        if let Some(listen) = &mut config.listen {
            listen.socket = Listen::path_of(&listen.socket, at);
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = worker(&service.program, &service.environment, &config)?;
        let process = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        let reports = BufReader::new(tokio::net::UnixStream::from_std(ours)?).lines();
        Ok(Self { process, reports })
    }

    /// The next line; none when it has ended, or writes what is no report.
    async fn report(&mut self) -> Option<Report> {
        let line = self.reports.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).inspect_err(|error| tracing::error!(%error, "no report of a worker")).ok()
    }

    /// Ends when the worker has ended or hangs; tells which.
    async fn watch(&mut self, deadline: Duration, hears: impl Fn(Counted)) -> String {
        let silence = (deadline * 2).max(LEAST_SILENCE);
        loop {
            match tokio::time::timeout(silence, self.report()).await {
                Ok(Some(Report::Alive { longest_call_ms, counted })) => {
                    hears(counted);
                    if u128::from(longest_call_ms) <= deadline.as_millis() {
                        continue;
                    }
                    return format!("a call to the token has lasted {longest_call_ms} ms: killed");
                }
                Ok(Some(_)) => {}
                Ok(None) => return "it has ended".into(),
                Err(_) => return format!("no sign of life for {} ms: killed", silence.as_millis()),
            }
        }
    }

    /// Closes our end, which tells it to drain, and waits for its exit.
    async fn end(self) {
        let Self { mut process, reports } = self;
        drop(reports);
        if tokio::time::timeout(DRAIN, process.wait()).await.is_err() {
            let _ = process.kill().await;
        }
    }
}

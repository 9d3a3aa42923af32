//! Reaching a worker: the same binary again, with a socket as its standard input, or one that listens on a socket of its own.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child as Process, Command};

use super::balance::GenerationSet;
use super::socket::Socket;
use crate::access_key_id::Generation;
use crate::config::{GenerationConfig, Listen, WorkerConfig};
use crate::wire::{self, Hello};
use crate::worker::{AdminAnswer, AdminRequest};

/// How long a worker may take until it says hello: a network HSM may be slow to log in.
const HELLO: Duration = Duration::from_secs(10);
/// How glibc is told to do something in another way; what the operator tells it stays.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// How the workers of one token are reached.
#[derive(Clone)]
pub struct Launch {
    /// What the token is called.
    pub token: String,
    /// What was recorded of its generations.
    pub generations: Vec<GenerationConfig>,
    /// Where its workers are.
    pub place: Place,
    /// After how long without an answer a worker is given up, and another one asked.
    pub deadline: Duration,
    /// How many workers this token has.
    pub workers: u16,
    /// Its share of the requests, compared with other tokens'.
    pub weight: u16,
    /// Whether others may ask the same workers, so that requests that are not ours are no alarm.
    pub is_shared: bool,
}

/// Where a worker is.
#[derive(Clone)]
pub enum Place {
    /// A process that we start, and kill when it hangs.
    Child(Box<Child>),
    /// A worker of its own, under another user, that listens on this Unix socket. Its watchdog kills it when it hangs; we can only
    /// close the connection.
    Socket(PathBuf),
}

/// How to start a worker.
#[derive(Clone)]
pub struct Child {
    /// The `rederive` binary; `/proc/self/exe` is right even after an upgrade has replaced the file.
    pub program: PathBuf,
    /// The worker's own configuration, but for the generations, which are the launch's.
    pub config: WorkerConfig,
    /// Variables set for the worker, such as `SOFTHSM2_CONF`.
    pub environment: Vec<(String, String)>,
    /// How many processes are started so, for all tokens together: each has its part of every cap.
    pub processes: u16,
    /// How many of them are those of tokens before this one.
    pub first: u16,
}

/// A worker that has said hello.
pub(super) struct Running {
    /// The process, if we have started it.
    pub(super) child: Option<Process>,
    pub(super) socket: Socket,
    pub(super) holds: GenerationSet,
}

/// Why there is no worker.
pub(super) enum NotStarted {
    /// The token refused the PIN: do not try again.
    PinRefused(String),
    /// Anything else: try again later.
    Failed(String),
}

impl Launch {
    /// The same for one of the workers, counted from 0.
    pub(super) fn of_worker(&self, at: usize) -> Self {
        let place = match &self.place {
            Place::Socket(path) => Place::Socket(Listen::path_of(path, at)),
            Place::Child(child) => {
                let mut child = child.clone();
                child.config.rights = child.config.rights.part(child.first + at as u16, child.processes);
                Place::Child(child)
            }
        };
        Self { place, ..self.clone() }
    }

    /// Starts a worker, or connects to one, and waits for its hello. A child that does not say it is killed.
    pub(super) async fn start(&self) -> Result<Running, NotStarted> {
        let (child, mut socket) = match &self.place {
            Place::Child(child) => {
                self.spawn(child).await.map_err(|error| failed(format!("cannot be started: {error}")))?
            }
            Place::Socket(path) => (None, connect(path).await?),
        };
        let patience = match &self.place {
            Place::Child(child) => child.config.token.pin.patience(HELLO),
            Place::Socket(_) => HELLO,
        };
        let hello = tokio::time::timeout(patience, read_hello(&mut socket)).await;
        let failure = match hello {
            Ok(Ok(Hello::Ready(generations))) => {
                let socket = socket.into_std().and_then(Socket::new);
                let socket = socket.map_err(|error| failed(format!("its socket cannot be used: {error}")))?;
                return Ok(Running { child, socket, holds: generations.into_iter().collect() });
            }
            Ok(Ok(Hello::Failed(failure))) if failure.pin_refused => NotStarted::PinRefused(failure.text),
            Ok(Ok(Hello::Failed(failure))) => failed(failure.text),
            Ok(Err(error)) if child.is_none() => failed(format!("closed the connection without a hello: {error}")),
            Ok(Err(error)) => failed(format!("ended before it was ready: {error}")),
            Err(_) => failed(format!("was not ready after {} s", patience.as_secs())),
        };
        if let Some(mut child) = child {
            let _ = child.kill().await;
        }
        Err(failure)
    }

    async fn spawn(&self, child: &Child) -> Result<(Option<Process>, tokio::net::UnixStream), std::io::Error> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let config = WorkerConfig { generations: self.generations.clone(), ..child.config.clone() };
        let mut command = worker(&child.program, &child.environment, &config)?;
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        // It returns when the new program is loaded, which on a full machine takes tens of milliseconds: nobody else is to wait
        // for that.
        let spawned = tokio::task::spawn_blocking(move || command.spawn()).await;
        let process = spawned.map_err(std::io::Error::other)??;
        Ok((Some(process), tokio::net::UnixStream::from_std(ours)?))
    }
}

async fn connect(path: &Path) -> Result<tokio::net::UnixStream, NotStarted> {
    let connected = tokio::net::UnixStream::connect(path).await;
    connected.map_err(|error| failed(format!("cannot be reached at {}: {error}", path.display())))
}

/// Asks a worker of its own which generations it answers for.
pub async fn greet(path: &Path) -> Result<Vec<Generation>, std::io::Error> {
    let greeting = async {
        let mut socket = tokio::net::UnixStream::connect(path).await?;
        match read_hello(&mut socket).await? {
            Hello::Ready(generations) => Ok(generations),
            Hello::Failed(failure) => Err(std::io::Error::other(failure)),
        }
    };
    tokio::time::timeout(HELLO, greeting).await.map_err(|_| std::io::ErrorKind::TimedOut)?
}

/// The command of a worker process, its standard input still to be given.
pub(crate) fn worker(
    program: &Path,
    environment: &[(String, String)],
    config: &WorkerConfig,
) -> Result<Command, std::io::Error> {
    let settings = serde_json::to_string(config).map_err(std::io::Error::other)?;
    let mut command = command(program, environment);
    command.args(["hsm-worker", "--settings", &settings]).stdout(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Runs one administrative request in a short-lived worker of its own, which is killed if it has not ended after
/// `at_most`.
pub fn admin(
    program: &Path,
    environment: &[(String, String)],
    request: &AdminRequest,
    at_most: Duration,
) -> Result<AdminAnswer, std::io::Error> {
    let mut child = command(program, environment)
        .into_std()
        .args(["hsm-worker", "--admin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let request = serde_json::to_vec(request).map_err(std::io::Error::other)?;
    child.stdin.take().ok_or_else(|| std::io::Error::other("no standard input"))?.write_all(&request)?;
    let mut answer = child.stdout.take().ok_or_else(|| std::io::Error::other("no standard output"))?;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        // Whoever waits may be gone.
        let _ = tell.send(answer.read_to_end(&mut text).map(|_| text));
    });
    let in_time = told.recv_timeout(at_most);
    if in_time.is_err() {
        child.kill()?;
    }
    child.wait()?;
    let late = |_| {
        let text = format!("the HSM gave no answer within {} s, and the admin worker was killed", at_most.as_secs());
        std::io::Error::new(std::io::ErrorKind::TimedOut, text)
    };
    serde_json::from_slice(&in_time.map_err(late)??)
        .map_err(|error| std::io::Error::other(format!("the admin worker ended without an answer: {error}")))
}

/// SoftHSM can deadlock when its OpenSSL is configured to route digests back to the token: no configuration for it.
///
/// An HMAC of SoftHSM makes and frees more places of one size than glibc keeps at hand for a thread, which is 7: with more, a tenth of the
/// worker's time is saved.
fn command(program: &Path, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    command.env("OPENSSL_CONF", "/dev/null");
    if std::env::var_os(TUNABLES).is_none() {
        command.env(TUNABLES, "glibc.malloc.tcache_count=64");
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

fn failed(text: String) -> NotStarted {
    NotStarted::Failed(text)
}

async fn read_hello(socket: &mut tokio::net::UnixStream) -> Result<Hello, std::io::Error> {
    let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
    let mut prefix = [0; wire::LENGTH_BYTES];
    socket.read_exact(&mut prefix).await?;
    let mut body = vec![0; wire::body_length(prefix).map_err(invalid)?];
    socket.read_exact(&mut body).await?;
    Hello::decode(&body).map_err(invalid)
}

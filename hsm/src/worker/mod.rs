//! The worker process: loads the module, logs in, and answers what its own configuration allows, over its standard input
//! (a socket). It holds the masters' handles and no network, no registry, no HTTP.
//!
//! One reader takes frames and applies the rules that need no token; session threads do the rest, each with two
//! sessions of its own. When the other end closes, it drains, joins, finalizes and exits; past a deadline it is gone.

mod admin;
mod harden;
mod keeper;
mod rate;
mod rules;

pub use admin::{AdminAnswer, AdminRequest, run_admin};
pub use keeper::Keeper;
pub use rules::{Now, Rules};

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::access_key_id::Generation;
use crate::config::WorkerConfig;
use crate::feed_head::{PUBLIC_KEY_LEN, SIGNATURE_LEN};
use crate::pkcs11::{Reaction, Token, TokenError, TokenSession};
use crate::secret::Secret32;
use crate::wire::{self, Answer, Hello, Malformed, Request, StartFailure};

/// Something that holds masters and computes HMACs with them: a token's session, or software in tests.
pub trait MasterKeys {
    /// `HMAC-SHA256(master of the generation, message)`.
    fn hmac(&mut self, generation: Generation, message: &[u8]) -> Result<Secret32, TokenError>;

    /// The control key's Ed25519 signature, with its public half.
    fn sign_head(&mut self, message: &[u8]) -> Result<(PublicKey, Signature), TokenError>;
}

/// An Ed25519 public key.
pub type PublicKey = [u8; PUBLIC_KEY_LEN];
/// An Ed25519 signature.
pub type Signature = [u8; SIGNATURE_LEN];

/// Requests that may wait for a session thread; past it the reader waits, and the authority's deadline decides.
const QUEUE: usize = 1024;
/// How long a session is used without a proof that it computes the recorded check values.
const PROVE: Duration = Duration::from_secs(10);
/// How long it may drain and finalize before it is gone all the same.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs a worker on its standard input until the other end closes. Gives the exit status.
pub fn run(config: WorkerConfig) -> u8 {
    harden::harden();
    let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned() else { return 1 };
    let socket = UnixStream::from(socket);
    match start(&config) {
        Ok(started) => match serve(socket, started) {
            Ok(()) => 0,
            Err(error) => {
                tracing::error!(%error, "the worker's connection ended badly");
                1
            }
        },
        Err(failure) => {
            tracing::error!(error = %failure, "the worker cannot start");
            let sent = send(&socket, &Hello::Failed(failure).encode());
            u8::from(sent.is_err()) + 1
        }
    }
}

/// What a worker has when it is ready.
struct Started {
    token: Arc<Token>,
    held: Vec<Generation>,
    rules: Arc<Rules>,
    keepers: Vec<Keeper<TokenSession>>,
}

/// Opens the token and every session, one after the other, stopping at the first error.
fn start(config: &WorkerConfig) -> Result<Started, StartFailure> {
    let failed = |error: TokenError| StartFailure { pin_refused: error.pin_refused(), text: error.to_string() };
    let token = Arc::new(Token::open(&config.token).map_err(failed)?);
    let open = || TokenSession::open(token.clone(), config.generations.clone()).map_err(failed);
    let mut first = open()?;
    let held = first.holds();
    let mut config = config.clone();
    config.generations.retain(|one| one.generation().is_some_and(|number| held.contains(&number)));
    let rules = Rules::new(&config, &mut first)
        .map_err(|text| StartFailure { pin_refused: false, text: format!("token '{}': {text}", token.name()) })?;
    let rules = Arc::new(rules);
    let mut keepers = vec![Keeper::new(first, open()?, rules.clone())];
    while keepers.len() < usize::from(config.token.sessions.max(1)) {
        keepers.push(Keeper::new(open()?, open()?, rules.clone()));
    }
    Ok(Started { token, held, rules, keepers })
}

/// Answers until the other end closes, then drains, joins and finalizes.
fn serve(socket: UnixStream, started: Started) -> Result<(), Box<dyn std::error::Error>> {
    let Started { token, held, rules, keepers } = started;
    send(&socket, &Hello::Ready(held).encode())?;
    let replies = Arc::new(Mutex::new(socket.try_clone()?));
    let (jobs, queue) = sync_channel::<(u64, Request)>(QUEUE);
    let queue = Arc::new(Mutex::new(queue));
    let threads: Vec<_> = keepers
        .into_iter()
        .map(|keeper| session_thread(keeper, queue.clone(), replies.clone()))
        .collect::<Result<_, _>>()?;
    let read = read_requests(socket, &rules, &jobs, &replies);
    drop(jobs);
    harden::be_gone_after(DRAIN);
    for thread in threads {
        thread.join().map_err(|_| "a session thread panicked")?;
    }
    if let Ok(token) = Arc::try_unwrap(token) {
        token.finalize()?;
    }
    Ok(read?)
}

/// Reads frames until the other end closes; what the rules refuse is answered here and costs the token nothing.
fn read_requests(
    socket: UnixStream,
    rules: &Rules,
    jobs: &SyncSender<(u64, Request)>,
    replies: &Mutex<UnixStream>,
) -> Result<(), std::io::Error> {
    let mut input = std::io::BufReader::with_capacity(64 * 1024, socket);
    let mut body = Vec::with_capacity(wire::MAX_BODY);
    while read_frame(&mut input, &mut body)? {
        let (number, request) = Request::decode(&body).map_err(invalid)?;
        match rules.allow(&request, Now::from_clock()) {
            // The threads end only after this sender is dropped, so the queue takes it.
            Ok(()) => jobs.send((number, request)).map_err(std::io::Error::other)?,
            Err(reason) => reply(replies, number, &Answer::Refused(reason))?,
        }
    }
    Ok(())
}

/// One frame's body; `false` when the other end has closed between frames.
fn read_frame(input: &mut impl Read, body: &mut Vec<u8>) -> Result<bool, std::io::Error> {
    let mut prefix = [0; wire::LENGTH_BYTES];
    if input.read(&mut prefix[..1])? == 0 {
        return Ok(false);
    }
    input.read_exact(&mut prefix[1..])?;
    body.resize(wire::request_length(prefix).map_err(invalid)?, 0);
    input.read_exact(body)?;
    Ok(true)
}

fn invalid(malformed: Malformed) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, malformed)
}

/// A thread that owns its sessions and answers jobs from the queue in turn.
fn session_thread(
    mut keeper: Keeper<TokenSession>,
    queue: Arc<Mutex<Receiver<(u64, Request)>>>,
    replies: Arc<Mutex<UnixStream>>,
) -> Result<JoinHandle<()>, std::io::Error> {
    std::thread::Builder::new().name("session".into()).spawn(move || {
        let mut proven = Instant::now();
        loop {
            let job = queue.lock().map(|queue| queue.recv());
            let Ok(Ok((number, request))) = job else { return };
            // Others' checks may never come to these sessions, so they are proven when they are used.
            let is_due = proven.elapsed() >= PROVE;
            let outcome = if is_due { keeper.prove() } else { Ok(()) };
            if is_due && outcome.is_ok() {
                proven = Instant::now();
            }
            let answer = outcome.and_then(|()| keeper.answer(&request)).unwrap_or_else(|error| {
                match error {
                    TokenError::CheckValue { .. } => tracing::error!(%error, "ALARM: the token answers wrongly"),
                    _ => tracing::error!(%error, "the token failed"),
                }
                if error.reaction() == Reaction::NewProcess {
                    // The connection to the token is lost with every handle: only a new process can mend that.
                    let _ = reply(&replies, number, &Answer::Trouble(error.to_string()));
                    harden::be_gone();
                }
                Answer::Trouble(error.to_string())
            });
            if reply(&replies, number, &answer).is_err() {
                return;
            }
        }
    })
}

fn reply(replies: &Mutex<UnixStream>, number: u64, answer: &Answer) -> Result<(), std::io::Error> {
    let body = answer.encode(number);
    let socket = replies.lock().map_err(|_| std::io::Error::other("a session thread panicked"))?;
    send(&socket, &body)
}

fn send(mut socket: &UnixStream, body: &[u8]) -> Result<(), std::io::Error> {
    let mut frame = zeroize::Zeroizing::new(Vec::with_capacity(wire::LENGTH_BYTES + body.len()));
    frame.extend_from_slice(&wire::length_prefix(body));
    frame.extend_from_slice(body);
    socket.write_all(&frame)
}

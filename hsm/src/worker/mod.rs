//! The worker process: loads the module, logs in, and answers what its own configuration allows, over its standard input
//! (a socket). It holds the masters' handles and no network, no registry, no HTTP.
//!
//! One reader takes frames and applies the rules that need no token; session threads do the rest, each with two
//! sessions of its own. Where there is one reader and one of those, they are the same thread. When the other end closes, it drains, joins, finalizes and exits; past a deadline it is gone.

mod admin;
mod desk;
mod frames;
mod harden;
mod keeper;
mod outbox;
mod rate;
mod report;
mod rules;
mod service;
mod session;

pub use admin::{AdminAnswer, AdminRequest, run_admin};
pub use keeper::Keeper;
pub(crate) use report::{Counted, Report};
pub use rules::{Now, Rules};

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::access_key_id::Generation;
use crate::config::WorkerConfig;
use crate::feed_head::{PUBLIC_KEY_LEN, SIGNATURE_LEN};
use crate::pkcs11::{Token, TokenError, TokenSession};
use crate::secret::Secret32;
use crate::wire::{Hello, StartFailure};
use desk::Desk;

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

/// Runs a worker until the other end of its standard input closes. Gives the exit status.
///
/// Without `listen` in its configuration, standard input is the connection that it answers on. With it, standard input leads to
/// its watchdog, and it answers whoever connects and may.
pub fn run(config: WorkerConfig) -> u8 {
    harden::harden();
    let Ok(input) = std::io::stdin().as_fd().try_clone_to_owned() else { return 1 };
    let input = UnixStream::from(input);
    let ended = match &config.listen {
        None => answer_parent(input, &config),
        Some(listen) => service::run(input, listen, &config),
    };
    match ended {
        Ok(()) => 0,
        Err(error) if is_hangup(&*error) => {
            tracing::info!("whoever this worker answered has gone");
            0
        }
        Err(error) => {
            tracing::error!(%error, "the worker ended badly");
            1
        }
    }
}

/// The other end closed before all was said: a `serve` that was killed, or that was refused its start for another reason.
fn is_hangup(error: &(dyn std::error::Error + 'static)) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset))
}

/// A worker that `serve` has started.
fn answer_parent(socket: UnixStream, config: &WorkerConfig) -> Result<(), Failure> {
    match start(config) {
        Ok(started) => {
            let (desk, mut sessions) = Desk::open(started, true)?;
            let attended = desk.attend(socket, sessions.alone());
            sessions.end(&desk)?;
            Ok(attended?)
        }
        Err(failure) => Ok(frames::send(&socket, &Hello::Failed(failure).encode())?),
    }
}

/// What ends a worker badly; for the log.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a worker has when it is ready.
struct Started {
    token: Arc<Token>,
    held: Vec<Generation>,
    rules: Arc<Rules>,
    keepers: Vec<Keeper<TokenSession>>,
}

/// Opens the token and every session. A failure is told to the log first: whoever is told of it next may kill this process.
fn start(config: &WorkerConfig) -> Result<Started, StartFailure> {
    open(config).inspect_err(|failure| tracing::error!(error = %failure, "the worker cannot start"))
}

/// One after the other, stopping at the first error.
fn open(config: &WorkerConfig) -> Result<Started, StartFailure> {
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

//! `rederive hsm-worker`: the only process that loads a PKCS#11 module; or, with `--config`, the watchdog of one that has a user of
//! its own.

use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rederive::config::{Peer, WorkerFile};
use rederive::site::THIS_BINARY;
use rederive_hsm::config::WorkerConfig;
use rederive_hsm::watchdog::{PinRefused, Service, watch};
use rederive_hsm::worker::{AdminRequest, run, run_admin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::token::unlatch_file;
use super::{Failure, log, output};

/// What systemd is told not to start again after (`RestartPreventExitStatus`).
const PIN_REFUSED: u8 = 3;

#[derive(Args)]
pub struct Worker {
    /// The worker's own configuration (TOML): it is kept running until SIGTERM, and begins anew with SIGHUP
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say that the PIN is mended: it is tried again, once, at the next start
    #[arg(long, requires = "config")]
    unlatch: bool,
    /// What a worker is started with
    #[arg(long, hide = true, conflicts_with = "config", required_unless_present_any = ["admin", "config"])]
    settings: Option<String>,
    /// Carry out one administrative request from standard input, and end
    #[arg(long, hide = true, conflicts_with_all = ["settings", "config"])]
    admin: bool,
}

impl Worker {
    pub fn run(self) -> Result<ExitCode, Failure> {
        if let Some(path) = self.config {
            let file = WorkerFile::load(&path)?;
            if self.unlatch {
                unlatch_file(&file.token.name, &file.token.latch(&file.state_dir))?;
                return Ok(ExitCode::SUCCESS);
            }
            log::start(file.log);
            return watch_over(&path, file);
        }
        log::for_worker();
        let Some(settings) = self.settings else { return administrate() };
        let config: WorkerConfig = serde_json::from_str(&settings).map_err(|error| format!("--settings: {error}"))?;
        Ok(ExitCode::from(run(config)))
    }
}

/// Keeps the workers of a configuration running; after SIGHUP those of the same file as it is then, if it can be used.
fn watch_over(path: &Path, file: WorkerFile) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt, mut hangup) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        let mut next = service(&file)?;
        loop {
            let (stop, stopped) = watch::channel(false);
            let mut workers = tokio::spawn(watch(next, stopped));
            next = loop {
                tokio::select! {
                    ended = &mut workers => return told(ended?),
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hangup.recv() => match WorkerFile::load(path).map_err(Failure::from).and_then(|file| service(&file)) {
                        Ok(changed) => {
                            tracing::warn!("SIGHUP: the workers begin anew with the configuration as it is now");
                            break changed;
                        }
                        Err(error) => {
                            tracing::error!(%error, "SIGHUP: the configuration cannot be used, and the workers go on as they are");
                            continue;
                        }
                    },
                }
                stop.send_replace(true);
                return told(workers.await?);
            };
            stop.send_replace(true);
            if workers.await?.is_err() {
                tracing::warn!("the token refused the PIN before the workers began anew");
            }
        }
    })
}

fn told(ended: Result<(), PinRefused>) -> Result<ExitCode, Failure> {
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(refused) => {
            tracing::error!(reason = %refused, "the token refused the PIN: mend it, then 'rederive hsm-worker --unlatch'");
            Ok(ExitCode::from(PIN_REFUSED))
        }
    }
}

fn service(file: &WorkerFile) -> Result<Service, Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&file.state_dir)
        .map_err(|error| format!("cannot make state_dir {}: {error}", file.state_dir.display()))?;
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let uid = |peer| Peer::uid(peer, &passwd).ok_or_else(|| format!("peers: there is no user {peer:?} in /etc/passwd"));
    let peers = file.peers.iter().map(uid).collect::<Result<_, _>>()?;
    let mut environment = log::environment();
    environment.extend(file.token.environment.clone());
    Ok(Service {
        program: THIS_BINARY.into(),
        environment,
        config: file.to_worker(peers)?,
        workers: file.token.workers,
        deadline: Duration::from_millis(file.deadline_ms()),
        metrics: file.metrics_file.clone(),
    })
}

fn administrate() -> Result<ExitCode, Failure> {
    let mut request = String::new();
    std::io::stdin().read_to_string(&mut request)?;
    let request: AdminRequest = serde_json::from_str(&request)?;
    output::line(&serde_json::to_string(&run_admin(request))?)?;
    Ok(ExitCode::SUCCESS)
}

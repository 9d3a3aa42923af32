//! The commands, one file each. They wire; what they wire lives in the library.

mod account;
mod audit;
mod backup;
mod ceremony;
mod config_file;
mod deny;
mod dev;
mod doctor;
mod explain;
mod feed;
mod generation;
mod generation_life;
mod handout;
mod issuer;
mod key;
mod log;
mod output;
mod restored;
mod rotate;
mod serve;
mod token;
mod worker;
mod worker_files;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rederive::audit::Event;
use rederive::site::{Failure, Site};
use rederive_hsm::dumps;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A derived-secret authority: issues AWS-style access keys and verifies AWS-signed requests, and stores no secret.
#[derive(Parser)]
#[command(name = "rederive", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine, with a SoftHSM token of its own and no configuration
    Dev(dev::Dev),
    /// Run a node: the IAM and STS endpoint, and the verification RPC
    Serve(serve::Serve),
    /// Look at access key ids, and make keys for users
    Key(key::Key),
    /// Make and list the generations of master keys
    Generation(generation::Generation),
    /// Put a new master in the place of one that makes keys, step by step; run again, it goes on where it was
    Rotate(rotate::Rotate),
    /// Make a master that two tokens hold, with a plan, a proof and a transcript
    Ceremony(ceremony::Ceremony),
    /// Make accounts
    Account(account::Account),
    /// Refuse a key, a user or an account, whatever its owner has set
    Deny(deny::Deny),
    /// The deny feed that verifiers follow
    Feed(feed::Feed),
    /// Check the audit log
    Audit(audit::Audit),
    /// The PKCS#11 tokens and the latch of a refused PIN
    Token(token::Token),
    /// Say why a signed request is accepted or refused, offline
    Explain(explain::Explain),
    /// Check module, token, PIN, key attributes, check values, registry and clock
    Doctor(doctor::Doctor),
    /// Write a consistent copy of the registry while it is in use
    Backup(backup::Backup),
    /// Say that the registry is a restored copy, and go on from it
    Restored(restored::Restored),
    /// Run a worker of its own: what holds the token, under another user than `serve`
    HsmWorker(worker::Worker),
}

/// Runs a command.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Dev(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Serve(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Key(command) => command.run(),
        Command::Generation(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Rotate(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Ceremony(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Account(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Deny(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Feed(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Audit(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Token(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Explain(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Restored(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Backup(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::HsmWorker(command) => command.run(),
    };
    log::end();
    outcome.unwrap_or_else(|failure| {
        eprintln!("rederive: {failure}");
        ExitCode::FAILURE
    })
}

/// Runs a command's asynchronous part, out of core dumps, with as many open files as the system lets it have: both doors and the worker share
/// them.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    dumps::forbid();
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Writes what an operator did to the audit log of a node, which may run meanwhile.
async fn record(site: &Site, event: Event) -> Result<(), Failure> {
    let recorded = site.audit()?.record(event).await;
    recorded.map_err(|error| format!("it is done, and not recorded: {error}").into())
}

/// Refuses to begin what could not be recorded.
fn can_be_recorded(site: &Site) -> Result<(), Failure> {
    Ok(site.audit().map(drop)?)
}

/// A time on the command line, as seconds since 1970.
fn unix_time(text: &str) -> Result<i64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339);
    time.map(OffsetDateTime::unix_timestamp).map_err(|_| "takes a time such as 2026-01-02T03:04:05Z".into())
}

/// Seconds since 1970, for rows that a command writes.
fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

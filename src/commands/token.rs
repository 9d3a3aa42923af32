//! `rederive token`: what an operator has to say about tokens.

use std::path::Path;

use clap::{Args, Subcommand};
use rederive::site::Site;

use super::config_file::ConfigFile;
use super::{Failure, output};

#[derive(Args)]
pub struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// List the tokens of the configuration, and whether they have refused the PIN
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say that the PIN of a token is mended: it is tried again, once, when `serve` is restarted
    Unlatch {
        #[command(flatten)]
        config: ConfigFile,
        /// The token's name in the configuration
        name: String,
    },
}

impl Token {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            TokenCommand::List { config } => list(&config.load()?),
            TokenCommand::Unlatch { config, name } => unlatch(&config.load()?, &name),
        }
    }
}

fn list(site: &Site) -> Result<(), Failure> {
    for token in site.tokens() {
        let state = match std::fs::read_to_string(site.latch(token)) {
            _ if token.socket.is_some() => "has a worker of its own, which keeps the latch".into(),
            Ok(text) => format!("latched: it refused the PIN ({})", text.lines().next().unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "not latched".into(),
            Err(error) => format!("latched, because nobody can tell: {error}"),
        };
        output::line(&format!("{:<20}  {state}", token.name))?;
    }
    Ok(())
}

fn unlatch(site: &Site, name: &str) -> Result<(), Failure> {
    let token = site.token(Some(name))?;
    if token.socket.is_some() {
        return Err(
            format!("{name} has a worker of its own: 'rederive hsm-worker --unlatch' with its configuration").into()
        );
    }
    unlatch_file(name, &site.latch(token))
}

pub(super) fn unlatch_file(name: &str, latch: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(latch) {
        Ok(()) => Ok(output::line(&format!("{name} unlatched: the PIN is tried again at the next start"))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(output::line(&format!("{name} was not latched"))?)
        }
        Err(error) => Err(error.into()),
    }
}

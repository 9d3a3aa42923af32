//! `rederive feed`: the deny feed and the key that signs it.

use clap::{Args, Subcommand};
use rederive::site::Site;
use rederive_hsm::worker::{AdminAnswer, AdminRequest};

use super::config_file::ConfigFile;
use super::{Failure, output};

#[derive(Args)]
pub struct Feed {
    #[command(subcommand)]
    command: FeedCommand,
}

#[derive(Subcommand)]
enum FeedCommand {
    /// Print the public half of this issuer's control key, for verifiers to pin; made now if the token has none
    Key {
        #[command(flatten)]
        config: ConfigFile,
    },
}

impl Feed {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            FeedCommand::Key { config } => Ok(output::line(&control_key(&config.load()?)?)?),
        }
    }
}

/// The control key on the token of a site, made if there is none: its public half in hexadecimal.
pub(super) fn control_key(site: &Site) -> Result<String, Failure> {
    match site.administrate(&AdminRequest::ControlKey { token: site.token_config()? })? {
        AdminAnswer::ControlKey { public_key } => Ok(public_key),
        _ => Err("the admin worker gave an answer of another kind".into()),
    }
}

//! `rederive feed`: the deny feed and the key that signs it.

use clap::{Args, Subcommand};
use rederive::config::Token;
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
        /// The token it is on, by its name in the configuration [default: the first]
        #[arg(long, value_name = "NAME")]
        token: Option<String>,
    },
}

impl Feed {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            FeedCommand::Key { config, token } => {
                let site = config.load()?;
                Ok(output::line(&control_key(&site, site.token(token.as_deref())?)?)?)
            }
        }
    }
}

/// The control key on a token, made if there is none: its public half in hexadecimal.
pub(super) fn control_key(site: &Site, token: &Token) -> Result<String, Failure> {
    match site.administrate(token, &AdminRequest::ControlKey { token: site.token_config(token)? })? {
        AdminAnswer::ControlKey { public_key } => Ok(public_key),
        _ => Err("the admin worker gave an answer of another kind".into()),
    }
}

//! `--config`, for the commands that work on a node.

use std::path::PathBuf;

use clap::Args;
use rederive::config::Config;
use rederive::site::Site;

use super::{Failure, log};

/// The node's configuration.
#[derive(Args)]
pub struct ConfigFile {
    /// The node's configuration (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    /// Reads it, and starts the log as it says.
    pub fn load(&self) -> Result<Site, Failure> {
        Ok(site(Config::load(&self.config)?))
    }
}

/// The node of a configuration, logging as it says.
pub fn site(config: Config) -> Site {
    log::start(config.log);
    Site { environment: log::environment(), ..Site::new(config) }
}

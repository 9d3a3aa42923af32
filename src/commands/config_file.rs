//! `--config`, for the commands that work on a node.

use std::path::PathBuf;

use clap::Args;
use rederive::config::{Config, Role};
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
        self.load_with(None)
    }

    /// The same, with a role that goes before the file's.
    pub fn load_with(&self, role: Option<Role>) -> Result<Site, Failure> {
        Ok(site(Config::load_with(&self.config, role)?))
    }
}

/// The node of a configuration, logging as it says.
pub fn site(config: Config) -> Site {
    log::start(config.log);
    Site { environment: log::environment(), ..Site::new(config) }
}

//! `rederive backup`: a consistent copy of the registry, while it is in use.

use std::path::PathBuf;

use clap::Args;
use rederive::registry::Registry;

use super::config_file::ConfigFile;
use super::{Failure, block_on, output};

#[derive(Args)]
pub struct Backup {
    #[command(flatten)]
    config: ConfigFile,
    /// The file to write; must not be there yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Backup {
    pub fn run(self) -> Result<(), Failure> {
        let site = self.config.load()?;
        block_on(async {
            let location = site.registry()?;
            Registry::open_to_copy(&location).await?.backup(&self.to).await?;
            output::line(&format!("copied {location} to {}", self.to.display()))?;
            Ok(())
        })
    }
}

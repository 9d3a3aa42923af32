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
            Registry::open_to_copy(&site.registry_path()).await?.backup(&self.to).await?;
            output::line(&format!("copied {} to {}", site.registry_path().display(), self.to.display()))?;
            Ok(())
        })
    }
}

//! `rederive serve`: a node, from its configuration to SIGTERM.

use clap::Args;
use rederive::config::Role;

use super::config_file::ConfigFile;
use super::{Failure, block_on};

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// What this node does, instead of what the configuration says
    #[arg(long, value_enum)]
    role: Option<Role>,
}

impl Serve {
    pub fn run(self) -> Result<(), Failure> {
        let site = self.config.load_with(self.role)?;
        block_on(async {
            let node = site.node().await?;
            tracing::info!(endpoint = node.endpoint(), rpc_endpoint = node.rpc_endpoint(), "serving");
            node.run().await;
            Ok(())
        })
    }
}

//! `rederive serve`: a node, from its configuration to SIGTERM.

use clap::Args;
use rederive::authority::Authority;
use rederive::node::Node;

use super::site::{ConfigFile, Site};
use super::{Failure, block_on};

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    config: ConfigFile,
}

impl Serve {
    pub fn run(self) -> Result<(), Failure> {
        let site = self.config.load()?;
        block_on(async {
            let node = start(&site).await?;
            tracing::info!(endpoint = node.endpoint(), rpc_endpoint = node.rpc_endpoint(), "serving");
            node.run().await;
            Ok(())
        })
    }
}

/// A node with its doors bound and its worker starting.
pub(super) async fn start(site: &Site) -> Result<Node, Failure> {
    let (registry, settings) = site.open_registry().await?;
    let launch = site.launch(&registry, &settings).await?;
    let (authority, supervisor) = Authority::start(registry, settings, site.policy()?, launch).await?;
    Ok(Node::bind(&site.config, authority, supervisor).await?)
}

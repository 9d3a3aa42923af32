//! `rederive restored`: an operator says that the registry is a restored copy, and goes on from it.

use std::path::PathBuf;

use clap::Args;
use rederive::follower::{WITNESS, all_seen};
use rederive::registry::{Registry, Resumed};

use super::config_file::ConfigFile;
use super::{Failure, block_on, now, output};

#[derive(Args)]
pub struct Restored {
    #[command(flatten)]
    config: ConfigFile,
    /// The state that was restored, as 'serve' names it when it refuses to start
    #[arg(long, value_name = "NUMBER-HASH")]
    head: String,
    /// A verifier's state directory, or a copy of it, with what was denied since [default: what this node has seen itself]
    #[arg(long, value_name = "DIR")]
    seen: Option<PathBuf>,
}

impl Restored {
    pub fn run(self) -> Result<(), Failure> {
        let site = self.config.load()?;
        let directory = self.seen.unwrap_or_else(|| site.config.state_dir.join(WITNESS));
        let (epoch, seen) = all_seen(&directory)?.ok_or_else(|| {
            format!(
                "{} holds no copy of the deny feed, so nobody knows what was denied since: name a verifier's state_dir with \
                 --seen",
                directory.display()
            )
        })?;
        let resumed = block_on(async {
            let registry = Registry::open(&site.registry()?).await?;
            Ok(registry.resume(&self.head, &epoch, &seen, now()).await?)
        })?;
        Ok(output::line(&describe(&resumed))?)
    }
}

fn describe(Resumed { put_back, ended }: &Resumed) -> String {
    let ended = ended.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "{put_back} entries of the deny feed put back\n\
         no more keys are made in generations: {ended}\n\
         next: 'rederive generation create', start the issuers, and let each verifier begin anew (remove its feed.log and feed.head)"
    )
}

//! `rederive hsm-worker`: the only process that loads a PKCS#11 module.

use std::io::Read;
use std::process::ExitCode;

use clap::Args;
use rederive_hsm::config::WorkerConfig;
use rederive_hsm::worker::{AdminRequest, run, run_admin};

use super::{Failure, log, output};

#[derive(Args)]
pub struct Worker {
    /// Its own configuration, as JSON; holds no secret
    #[arg(long, required_unless_present = "admin")]
    settings: Option<String>,
    /// Carry out one administrative request from standard input, and end
    #[arg(long, conflicts_with = "settings")]
    admin: bool,
}

impl Worker {
    pub fn run(self) -> Result<ExitCode, Failure> {
        log::for_worker();
        let Some(settings) = self.settings else { return administrate() };
        let config: WorkerConfig = serde_json::from_str(&settings).map_err(|error| format!("--settings: {error}"))?;
        Ok(ExitCode::from(run(config)))
    }
}

fn administrate() -> Result<ExitCode, Failure> {
    let mut request = String::new();
    std::io::stdin().read_to_string(&mut request)?;
    let request: AdminRequest = serde_json::from_str(&request)?;
    output::line(&serde_json::to_string(&run_admin(request))?)?;
    Ok(ExitCode::SUCCESS)
}

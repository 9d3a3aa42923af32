//! `rederive doctor`: what an operator would check by hand, in the order in which it can fail.

use std::process::ExitCode;

use clap::Args;
use rederive::authority::worker_view;
use rederive::registry::{GenerationState, Registry};
use rederive::site::Site;
use rederive_hsm::worker::AdminRequest;

use super::config_file::ConfigFile;
use super::{Failure, block_on, now, output};

/// 1 January 2025: a clock that shows less was never set.
const EARLIEST: i64 = 1_735_689_600;

#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    config: ConfigFile,
}

impl Doctor {
    pub fn run(self) -> Result<ExitCode, Failure> {
        let site = self.config.load()?;
        output::line("ok    configuration: read and consistent")?;
        let mut healthy = report("clock", clock())?;
        let generations = block_on(async { Ok(registry(&site).await) })?;
        healthy &= report("registry", generations.as_ref().map(|rows| rows.1.clone()).map_err(Clone::clone))?;
        let rows = generations.map(|rows| rows.0).unwrap_or_default();
        healthy &= report("token", token(&site, rows))?;
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn report(what: &str, outcome: Result<String, String>) -> Result<bool, Failure> {
    match outcome {
        Ok(text) => output::line(&format!("ok    {what}: {text}")).map(|()| true).map_err(Failure::from),
        Err(text) => output::line(&format!("FAIL  {what}: {text}")).map(|()| false).map_err(Failure::from),
    }
}

fn clock() -> Result<String, String> {
    if now() < EARLIEST {
        return Err(format!("shows {} seconds since 1970, which is before 2025: set it", now()));
    }
    Ok("set (compare it with another machine's: signatures allow 15 minutes)".into())
}

type Rows = Vec<rederive_hsm::config::GenerationConfig>;

async fn registry(site: &Site) -> Result<(Rows, String), String> {
    let registry = {
        let location = site.registry().map_err(|error| error.to_string())?;
        Registry::open_to_read(&location).await.map_err(|error| error.to_string())?
    };
    let rows = registry.generations().await.map_err(|error| error.to_string())?;
    let accounts = registry.accounts().await.map_err(|error| error.to_string())?;
    if rows.is_empty() {
        return Err("it opens, but holds no generation: run 'rederive generation create'".into());
    }
    let open: Rows = rows.iter().filter(|row| row.state != GenerationState::Closed).map(worker_view).collect();
    let told = format!("opens; {} generations, {} of them live, {} accounts", rows.len(), open.len(), accounts.len());
    Ok((open, told))
}

fn token(site: &Site, generations: Rows) -> Result<String, String> {
    let token = site.token_config().map_err(|error| error.to_string())?;
    let count = generations.len();
    site.administrate(&AdminRequest::Examine { token, generations }).map_err(|error| error.to_string())?;
    Ok(format!(
        "module loads, token is there, PIN accepted, attributes and check values of {count} generations are right"
    ))
}

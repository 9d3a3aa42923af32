//! `rederive doctor`: what an operator would check by hand, in the order in which it can fail.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use rederive::authority::worker_view;
use rederive::config::Token;
use rederive::registry::{GenerationState, Registry};
use rederive::site::Site;
use rederive_hsm::client::greet;
use rederive_hsm::config::GenerationConfig;
use rederive_hsm::worker::{AdminAnswer, AdminRequest};

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
        for one in site.tokens() {
            let outcome = match &one.socket {
                None => token(&site, one, rows.clone()),
                Some(socket) => block_on(async { Ok(worker(socket, &rows).await) })?,
            };
            healthy &= report(&format!("token '{}'", one.name), outcome)?;
        }
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

type Rows = Vec<GenerationConfig>;

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

/// A worker of its own checks its token itself, whenever it starts.
async fn worker(socket: &Path, generations: &Rows) -> Result<String, String> {
    let held =
        greet(socket).await.map_err(|error| format!("its worker does not answer at {}: {error}", socket.display()))?;
    let is_missing = |one: &&GenerationConfig| one.generation().is_none_or(|number| !held.contains(&number));
    let missing: Vec<u8> = generations.iter().filter(is_missing).map(|one| one.number).collect();
    match missing.as_slice() {
        [] => Ok(format!("its worker answers at {}, for all {} live generations", socket.display(), generations.len())),
        _ => Err(format!("its worker does not answer for generations {missing:?}: are they in its configuration?")),
    }
}

fn token(site: &Site, token: &Token, generations: Rows) -> Result<String, String> {
    let (config, count) = (site.token_config(token).map_err(|error| error.to_string())?, generations.len());
    let request = AdminRequest::Examine { token: config, generations };
    let AdminAnswer::Examined { missing } = site.administrate(token, &request).map_err(|error| error.to_string())?
    else {
        return Err("the admin worker gave an answer of another kind".into());
    };
    if !missing.is_empty() && site.tokens().len() == 1 {
        return Err(format!("it does not hold the masters of generations {missing:?}, and there is no other token"));
    }
    let held = count - missing.len();
    let without = if missing.is_empty() { String::new() } else { format!("; it does not hold {missing:?}") };
    Ok(format!(
        "module loads, token is there, PIN accepted, attributes and check values of {held} generations are right{without}"
    ))
}

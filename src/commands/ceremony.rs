//! `rederive ceremony`: a master on two tokens, under the eyes of witnesses.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use rederive::ceremony::{self, PLAN, Transcript, sha256};
use rederive::registry::GenerationRow;
use rederive::site::Site;
use rederive_hsm::config::{KeyClass, PinSource};
use serde_json::json;

use super::config_file::ConfigFile;
use super::generation::{self, Wanted};
use super::{Failure, block_on, can_be_recorded, output, record};

#[derive(Args)]
pub struct Ceremony {
    #[command(flatten)]
    config: ConfigFile,
    /// The token that makes the master, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    from: String,
    /// The token that it is moved to
    #[arg(long, value_name = "NAME")]
    to: String,
    #[command(flatten)]
    officer: Officer,
    /// Somebody who looks on, as the transcript is to name them; once for each
    #[arg(long = "witness", value_name = "NAME")]
    witnesses: Vec<String>,
    /// Where the transcript is written to, a file that is not there yet. It holds no secret
    #[arg(long, value_name = "FILE")]
    transcript: PathBuf,
    /// Announce the new generation only: 'rotate --to', or 'generation promote', has keys made in it later
    #[arg(long)]
    pending: bool,
    /// The shares of accounts that it is good for, for ever: first and last, in hexadecimal
    #[arg(long, value_name = "FIRST-LAST", default_value = "0000-ffff")]
    shares: String,
    /// Don't ask before beginning
    #[arg(long)]
    yes: bool,
}

/// Where the PIN of the security officer of the first token comes from. It is used once.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Officer {
    /// The file with the PIN of the origin's security officer
    #[arg(long, value_name = "FILE")]
    officer_pin_file: Option<PathBuf>,
    /// The environment variable with that PIN
    #[arg(long, value_name = "NAME")]
    officer_pin_env: Option<String>,
    /// Ask for that PIN at the terminal
    #[arg(long)]
    officer_pin_prompt: bool,
}

impl Officer {
    fn pin(self) -> Result<PinSource, Failure> {
        match (self.officer_pin_file, self.officer_pin_env) {
            (Some(file), _) => Ok(PinSource::File(file)),
            (None, Some(variable)) => Ok(PinSource::Env(variable)),
            (None, None) if self.officer_pin_prompt => Ok(PinSource::Prompt),
            (None, None) => Err("say where the officer's PIN comes from".into()),
        }
    }
}

impl Ceremony {
    pub fn run(self) -> Result<(), Failure> {
        let site = self.config.load()?;
        if self.from == self.to {
            return Err("--from and --to name the same token".into());
        }
        let (origin, receiver) = (site.token(Some(&self.from))?, site.token(Some(&self.to))?);
        let wanted = Wanted::new(KeyClass::Replica, self.pending, &self.shares)?;
        let ceremony = ceremony::Ceremony {
            site: &site,
            origin,
            receiver,
            officer: self.officer.pin()?,
            witnesses: self.witnesses,
        };
        show_plan(&self.from, &self.to);
        if !self.yes && !output::confirmed()? {
            return Err("nothing was done".into());
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(&self.transcript).map_err(|error| {
            format!("cannot make {}: {error}: name a file that is not there yet", self.transcript.display())
        })?;
        let (row, transcript) = match block_on(carry_out(&site, &ceremony, wanted)) {
            Ok(done) => done,
            Err(failure) => {
                std::fs::remove_file(&self.transcript)?;
                return Err(failure);
            }
        };
        let text = serde_json::to_vec_pretty(&transcript)?;
        file.write_all(&text)?;
        file.sync_all()?;
        output::line(&generation::describe(&row))?;
        output::line(&format!("transcript {}  sha256 {}", self.transcript.display(), sha256(&text)))?;
        eprintln!("The witnesses sign this hash. Both tokens now hold the master: 'rederive doctor' compares them.");
        Ok(())
    }
}

fn show_plan(from: &str, to: &str) {
    eprintln!("A master for a new generation, made on '{from}' and moved to '{to}':");
    for (number, step) in PLAN.iter().enumerate() {
        eprintln!("  {}. {step}", number + 1);
    }
    eprintln!("If a step fails, what was made is destroyed, and no generation is recorded.");
}

async fn carry_out(
    site: &Site,
    ceremony: &ceremony::Ceremony<'_>,
    wanted: Wanted,
) -> Result<(GenerationRow, Transcript), Failure> {
    let (registry, _) = site.open_registry().await?;
    can_be_recorded(site)?;
    let _only = generation::only_one(site)?;
    registry.check_writable().await?;
    let next = generation::next(&registry).await?;
    let transcript = ceremony.carry_out(next, &mut |step| eprintln!("done: {step}"))?;
    let row = generation::row(next, transcript.generation, &transcript.check_value, wanted)?;
    registry.insert_generation(&row).await?;
    let tokens = json!([ceremony.origin.name, ceremony.receiver.name]);
    let event = generation::event(&row).with_parameters(json!({ "ceremony": { "tokens": tokens } }));
    record(site, event).await?;
    Ok((row, transcript))
}

//! `rederive generation`: the master keys, one a generation.

use std::fs::File;
use std::ops::RangeInclusive;

use clap::{Args, Subcommand, ValueEnum};
use rederive::audit::Event;
use rederive::config::Token;
use rederive::registry::{GenerationRow, GenerationState, Registry};
use rederive::site::Site;
use rederive_hsm::access_key_id::Generation as Number;
use rederive_hsm::config::KeyClass;
use rederive_hsm::pkcs11::{hex, unhex};
use rederive_hsm::worker::{AdminAnswer, AdminRequest};
use serde_json::json;

use super::config_file::ConfigFile;
use super::generation_life::Life;
use super::{Failure, block_on, can_be_recorded, feed, now, output, record};

#[derive(Args)]
pub struct Generation {
    #[command(subcommand)]
    command: GenerationCommand,
}

#[derive(Subcommand)]
enum GenerationCommand {
    /// Generate a master key on the token and record its check value; a running `serve` notices
    Create {
        #[command(flatten)]
        config: ConfigFile,
        /// What may ever be done with the key; a strict one can never be moved to another token
        #[arg(long, value_enum, default_value_t = Class::Strict)]
        class: Class,
        /// The token it is made on, by its name in the configuration [default: the first]
        #[arg(long, value_name = "NAME")]
        token: Option<String>,
        /// Announce it only: keys are made in it from 'generation promote' on
        #[arg(long)]
        pending: bool,
        /// The shares of accounts that it is good for, for ever: first and last, in hexadecimal
        #[arg(long, value_name = "FIRST-LAST", default_value = "0000-ffff")]
        shares: String,
    },
    #[command(flatten)]
    Life(Life),
    /// List generations with their states, classes, shares and check values
    List {
        #[command(flatten)]
        config: ConfigFile,
        /// As tables for the configuration of a worker of its own; closed ones are left out
        #[arg(long)]
        toml: bool,
    },
}

/// What is to be made.
pub(super) struct Wanted {
    pub class: KeyClass,
    pub state: GenerationState,
    pub shares: RangeInclusive<u16>,
}

impl Wanted {
    /// As the options of a command say.
    pub(super) fn new(class: KeyClass, pending: bool, shares: &str) -> Result<Self, Failure> {
        let state = if pending { GenerationState::Pending } else { GenerationState::Issuing };
        Ok(Self { class, state, shares: parse_shares(shares)? })
    }

    /// One that issues for everybody.
    pub(super) fn for_all(class: KeyClass) -> Self {
        Self { class, state: GenerationState::Issuing, shares: 0..=u16::MAX }
    }
}

/// The classes that a key can be made with.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Class {
    Strict,
    Copyable,
    Replicable,
}

impl From<Class> for KeyClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Strict => Self::Strict,
            Class::Copyable => Self::Copyable,
            Class::Replicable => Self::Replicable,
        }
    }
}

impl Generation {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            GenerationCommand::Create { config, class, token, pending, shares } => {
                create(&config.load()?, token.as_deref(), Wanted::new(class.into(), pending, &shares)?)
            }
            GenerationCommand::Life(life) => life.run(),
            GenerationCommand::List { config, toml } => list(&config.load()?, toml),
        }
    }
}

fn create(site: &Site, token: Option<&str>, wanted: Wanted) -> Result<(), Failure> {
    let (token, class) = (site.token(token)?, wanted.class);
    let row = block_on(async {
        let (registry, _) = site.open_registry().await?;
        can_be_recorded(site)?;
        let row = make(site, token, &registry, wanted).await?;
        record(site, event(&row)).await?;
        Ok(row)
    })?;
    output::line(&describe(&row))?;
    if class == KeyClass::Strict {
        eprintln!(
            "Note: a strict key can never be moved to another token. Use --class replicable for one that has to be."
        );
    }
    if site.tokens().len() > 1 {
        eprintln!(
            "Note: the key is on token '{}' alone. Workers of the other tokens go on without it; 'doctor' tells who has it.",
            token.name
        );
    }
    Ok(())
}

pub(super) fn event(row: &GenerationRow) -> Event {
    Event::command("CreateGeneration", now()).with_response(json!({ "generation": {
        "number": row.number.number(),
        "class": row.class.name(),
        "checkValue": &hex(&row.check_value)[..16],
    }}))
}

/// Makes the next generation: the key on the token first, then its row.
pub(super) async fn make(
    site: &Site,
    token: &Token,
    registry: &Registry,
    wanted: Wanted,
) -> Result<GenerationRow, Failure> {
    let _only = only_one(site)?;
    let row = new_master(site, token, registry, wanted).await?;
    registry.insert_generation(&row).await?;
    // With the first generation comes the key that signs the deny feed. Nodes without verifiers do without.
    if let Err(failure) = feed::control_key(site, token) {
        eprintln!("Note: the token has no control key, so verifiers cannot follow this issuer: {failure}");
    }
    Ok(row)
}

/// Makes the master of the next generation on a token. Its row is still to be registered.
pub(super) async fn new_master(
    site: &Site,
    token: &Token,
    registry: &Registry,
    wanted: Wanted,
) -> Result<GenerationRow, Failure> {
    // A key that is made and then not registered costs its number.
    registry.check_writable().await?;
    let next = next(registry).await?;
    let request = AdminRequest::Generate { token: site.token_config(token)?, generation: next, class: wanted.class };
    let AdminAnswer::Generated { generation, check_value } = site.administrate(token, &request)? else {
        return Err("the admin worker gave an answer of another kind".into());
    };
    row(next, generation, &check_value, wanted)
}

/// The number after those of the registry.
pub(super) async fn next(registry: &Registry) -> Result<u8, Failure> {
    let taken = registry.generations().await?;
    let next = taken.iter().map(|row| row.number.number() + 1).max().unwrap_or(0);
    Number::new(next).ok_or("all 128 generations are used; numbers are never used again")?;
    Ok(next)
}

/// The row of a master that was just made. Where it is not of the number that was next, tells why.
pub(super) fn row(next: u8, generation: u8, check_value: &str, wanted: Wanted) -> Result<GenerationRow, Failure> {
    let Wanted { class, state, shares } = wanted;
    for skipped in next..generation {
        eprintln!(
            "Note: generation {skipped} is skipped: the token holds a key of it that this registry does not know, and \
             that may have made secrets. Was 'generation create' interrupted, or an old copy of the registry restored?"
        );
    }
    Ok(GenerationRow {
        number: Number::new(generation).ok_or("the admin worker gave no generation")?,
        state,
        check_value: unhex(check_value)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or("the admin worker gave no check value")?,
        class,
        shares,
        created_at: now(),
    })
}

/// Held while a generation is made: two at once would make two keys with one CKA_ID, and strict ones are there to stay.
pub(super) fn only_one(site: &Site) -> Result<File, Failure> {
    let directory = File::open(&site.config.state_dir)?;
    directory.try_lock().map_err(|_| "another command that makes a generation is running")?;
    Ok(directory)
}

fn list(site: &Site, toml: bool) -> Result<(), Failure> {
    let rows = block_on(async { Ok(Registry::open_to_read(&site.registry()?).await?.generations().await?) })?;
    if toml {
        let live = rows.iter().filter(|row| row.state != GenerationState::Closed);
        let mut tables = live.map(|row| table(row, row.state == GenerationState::Issuing));
        return Ok(tables.try_for_each(|table| output::line(&table))?);
    }
    if rows.is_empty() {
        return Ok(output::line("no generation yet: make one with 'rederive generation create'")?);
    }
    rows.iter().try_for_each(|row| output::line(&describe(row))).map_err(Failure::from)
}

/// As `rederive hsm-worker` is told of it.
pub(super) fn table(row: &GenerationRow, issuing: bool) -> String {
    format!(
        "[[generation]]\nnumber = {}\nissuing = {issuing}\nclass = \"{}\"\nshares = \"{:04x}-{:04x}\"\ncheck_value = \"{}\"\n",
        row.number.number(),
        row.class.name(),
        row.shares.start(),
        row.shares.end(),
        hex(&row.check_value),
    )
}

pub(super) fn describe(row: &GenerationRow) -> String {
    format!(
        "generation {:>3}  {:<9}  class {:<10}  shares {:04x}-{:04x}  check value {}",
        row.number.number(),
        row.state,
        row.class.name(),
        row.shares.start(),
        row.shares.end(),
        &hex(&row.check_value)[..16],
    )
}

/// `0000-7fff`.
fn parse_shares(text: &str) -> Result<RangeInclusive<u16>, Failure> {
    let share = |text: &str| (text.len() == 4).then(|| u16::from_str_radix(text, 16).ok()).flatten();
    let range = text.split_once('-').and_then(|(first, last)| Some(share(first)?..=share(last)?));
    let range = range.filter(|range| !range.is_empty());
    range.ok_or_else(|| format!("'{text}' is no range of shares, such as 0000-7fff").into())
}

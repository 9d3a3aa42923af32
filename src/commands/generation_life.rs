//! The life of a generation after it was made: `promote`, `retire`, `close`, `progress`.

use clap::{Args, Subcommand};
use rederive::audit::Event;
use rederive::iam::timestamp;
use rederive::registry::{Dependents, GenerationState, MadeSince, Registry};
use rederive::site::Site;
use rederive_hsm::access_key_id::{AccessKeyId, Generation as Number};
use serde_json::json;

use super::config_file::ConfigFile;
use super::{Failure, block_on, can_be_recorded, now, output, record, unix_time};

#[derive(Args)]
pub struct Which {
    #[command(flatten)]
    config: ConfigFile,
    /// Its number, 0 to 127
    number: u8,
}

#[derive(Subcommand)]
pub enum Life {
    /// Make new keys in a pending generation from now on
    Promote(Which),
    /// Make no new keys in a generation any more; those that it has go on
    Retire(Which),
    /// Refuse every key of a generation, for good and on every node; there is no way back
    Close {
        #[command(flatten)]
        which: Which,
        /// How many active keys it breaks, as 'generation progress' counts them: needed unless there is none
        #[arg(long, value_name = "COUNT", default_value_t = 0)]
        breaks: i64,
        /// Also switch off what was made with its keys under other generations since a time (RFC 3339), as when its master was stolen
        #[arg(long, value_name = "TIME", value_parser = unix_time)]
        since: Option<i64>,
        /// How many keys of other generations that switches off, as 'generation made-with' lists them: needed unless there is none
        #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "since")]
        switches_off: usize,
    },
    /// List the active keys of other generations that were made with keys of this one, or with keys so made
    MadeWith {
        #[command(flatten)]
        which: Which,
        /// From when on (RFC 3339, such as 2026-01-02T03:04:05Z): since its master may have been stolen
        #[arg(long, value_name = "TIME", value_parser = unix_time)]
        since: i64,
    },
    /// Show how many active keys still depend on each generation, by account and last use
    Progress {
        #[command(flatten)]
        config: ConfigFile,
    },
}

impl Life {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Promote(which) => which.become_state(GenerationState::Issuing),
            Self::Retire(which) => which.become_state(GenerationState::Verifying),
            Self::Close { which, breaks, since, switches_off } => {
                which.close(breaks, since.map(|since| MadeSince { since, count: switches_off }))
            }
            Self::MadeWith { which, since } => which.made_with(since),
            Self::Progress { config } => {
                let site = config.load()?;
                block_on(async { progress(&Registry::open_to_read(&site.registry()?).await?).await })
            }
        }
    }
}

impl Which {
    fn number(&self) -> Result<Number, Failure> {
        Number::new(self.number)
            .ok_or_else(|| format!("{} is no generation: they go from 0 to 127", self.number).into())
    }

    fn become_state(&self, state: GenerationState) -> Result<(), Failure> {
        let (site, number) = (self.config.load()?, self.number()?);
        block_on(async {
            let (registry, _) = site.open_registry().await?;
            set_state(&site, &registry, number, state).await?;
            warn_where_nobody_issues(&registry).await
        })?;
        Ok(output::line(&format!("generation {number} is {state}"))?)
    }

    fn made_with(&self, since: i64) -> Result<(), Failure> {
        let (site, number) = (self.config.load()?, self.number()?);
        let made = block_on(async {
            Ok::<_, Failure>(Registry::open_to_read(&site.registry()?).await?.made_with(number, since).await?)
        })?;
        for row in &made {
            let by = row.created_by.as_ref().map_or("-", AccessKeyId::as_str);
            let (id, arn, at) = (row.id, row.arn(), timestamp(row.created_at));
            output::line(&format!("{id}  {arn}  created {at}  with {by}"))?;
        }
        Ok(output::line(&format!("{} active keys", made.len()))?)
    }

    fn close(&self, breaks: i64, made: Option<MadeSince>) -> Result<(), Failure> {
        let (site, number) = (self.config.load()?, self.number()?);
        block_on(async {
            let (registry, _) = site.open_registry().await?;
            close(&site, &registry, number, breaks, made).await?;
            warn_where_nobody_issues(&registry).await
        })
    }
}

/// Moves a generation forward in its life, and records it.
pub(super) async fn set_state(
    site: &Site,
    registry: &Registry,
    number: Number,
    state: GenerationState,
) -> Result<(), Failure> {
    can_be_recorded(site)?;
    registry.set_generation_state(number, state, now()).await?;
    record(site, event(json!({ "generation": number.number(), "state": state.as_str() }))).await
}

/// Closes a generation, which breaks so many active keys.
pub(super) async fn close(
    site: &Site,
    registry: &Registry,
    number: Number,
    breaks: i64,
    made: Option<MadeSince>,
) -> Result<(), Failure> {
    let switched_off = registry.close_generation(number, breaks, made, now()).await?;
    // What takes away is never held up by the log.
    record(site, closed(number, breaks, &switched_off)).await?;
    output::line(&format!("generation {number} is closed: its keys are refused everywhere"))?;
    for id in &switched_off {
        output::line(&format!("{id} is switched off"))?;
    }
    Ok(())
}

fn event(parameters: serde_json::Value) -> Event {
    Event::command("SetGenerationState", now()).with_parameters(parameters)
}

fn closed(number: Number, breaks: i64, switched_off: &[AccessKeyId]) -> Event {
    let ids: Vec<&str> = switched_off.iter().map(AccessKeyId::as_str).collect();
    let state = GenerationState::Closed.as_str();
    event(json!({ "generation": number.number(), "state": state, "activeKeys": breaks, "switchedOff": ids }))
}

/// No key can be made for accounts whose shares no issuing generation covers.
async fn warn_where_nobody_issues(registry: &Registry) -> Result<(), Failure> {
    let rows = registry.generations().await?;
    let issuing = || rows.iter().filter(|row| row.state == GenerationState::Issuing);
    let uncovered = (0..=u16::MAX).filter(|share| !issuing().any(|row| row.shares.contains(share))).count();
    if uncovered > 0 {
        eprintln!(
            "Note: no generation issues for {uncovered} of the 65536 shares of accounts: 'generation create' makes one"
        );
    }
    Ok(())
}

/// Shows who still depends on each generation.
pub(super) async fn progress(registry: &Registry) -> Result<(), Failure> {
    let (rows, dependents) = (registry.generations().await?, registry.dependents().await?);
    for row in rows {
        let of_it: Vec<&Dependents> = dependents.iter().filter(|one| one.generation == row.number).collect();
        let active: i64 = of_it.iter().map(|one| one.active).sum();
        output::line(&format!("generation {:>3}  {:<9}  {active} active keys", row.number.number(), row.state))?;
        for one in of_it {
            let used = one.last_used_at.map_or("never used".to_owned(), |at| format!("last used {}", age(now() - at)));
            output::line(&format!("    account {}  {} active keys  {used}", one.account, one.active))?;
        }
    }
    Ok(())
}

/// How long ago, in the largest unit that says something.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

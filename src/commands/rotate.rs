//! `rederive rotate`: a new master takes the place of one that makes keys.
//!
//! What is to be done stands in the registry from the beginning, and how far it has come is told by the states of the two
//! generations; so whoever is killed between two steps, or within one, runs the command again.

use std::time::Duration;

use clap::Args;
use rederive::authority::worker_view;
use rederive::registry::{GenerationRow, GenerationState, Registry, Rotation};
use rederive::site::Site;
use rederive_hsm::access_key_id::Generation as Number;
use rederive_hsm::config::KeyClass;
use rederive_hsm::worker::{AdminAnswer, AdminRequest};

use super::config_file::ConfigFile;
use super::generation::{self, Class, Wanted};
use super::worker_files::WorkerFiles;
use super::{Failure, block_on, can_be_recorded, generation_life, now, output, record};

#[derive(Args)]
pub struct Rotate {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    workers: WorkerFiles,
    /// Show what is to be done, and do nothing
    #[arg(long)]
    plan: bool,
    /// Don't ask before beginning
    #[arg(long)]
    yes: bool,
    /// Forget a rotation that was begun; its generations stay as they are
    #[arg(long, conflicts_with_all = ["from", "to", "token", "class", "plan", "close"])]
    abandon: bool,
    /// When that is done, or by itself: refuse every key of this generation, for good and on every node
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["from", "to", "token", "class", "plan"])]
    close: Option<u8>,
    /// How many active keys the closing breaks, as they are counted at the end of a rotation
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "close")]
    breaks: i64,
}

/// What is rotated, and how.
#[derive(Args)]
struct Choice {
    /// The generation that is retired [default: the one that makes keys, if there is one only]
    #[arg(long, value_name = "NUMBER")]
    from: Option<u8>,
    /// The generation that takes its place: a pending one for the same shares, made by a ceremony, say [default: a new one]
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["token", "class"])]
    to: Option<u8>,
    /// The token that the new master is made on, by its name in the configuration [default: the first]
    #[arg(long, value_name = "NAME")]
    token: Option<String>,
    /// What may ever be done with the new master [default: strict]
    #[arg(long, value_enum)]
    class: Option<Class>,
}

/// What comes next.
enum Step {
    Create,
    Promote(GenerationRow),
    Retire,
    Done,
}

impl Rotate {
    pub fn run(self) -> Result<(), Failure> {
        let site = self.config.load()?;
        block_on(async {
            if self.plan {
                let registry = Registry::open_to_read(&site.registry()?).await?;
                let (rotation, _) = self.choice.settle(&site, &registry).await?;
                return show_plan(&site, &registry, &rotation, &self.workers).await;
            }
            let (registry, _) = site.open_registry().await?;
            if self.abandon {
                registry.end_rotation().await?;
                return Ok(output::line("no rotation is under way")?);
            }
            if self.close.is_none() || registry.rotation().await?.is_some() {
                self.rotate(&site, &registry).await?;
            }
            match self.close {
                Some(old) => {
                    generation_life::close(&site, &registry, number(old)?, self.breaks, None).await?;
                    self.workers.remind_of_closed(old)
                }
                None => Ok(()),
            }
        })
    }

    async fn rotate(&self, site: &Site, registry: &Registry) -> Result<(), Failure> {
        let (rotation, is_begun) = self.choice.settle(site, registry).await?;
        show_plan(site, registry, &rotation, &self.workers).await?;
        if !is_begun {
            can_be_recorded(site)?;
            if !self.yes && !output::confirmed()? {
                return Err("nothing was done".into());
            }
            registry.begin_rotation(&rotation).await?;
        }
        let rotation = carry_out(site, registry, &self.workers).await?;
        generation_life::progress(registry).await?;
        self.workers.remind_of_retired(rotation.from)?;
        eprintln!("When nobody depends on generation {0} any more: rederive rotate --close {0}", rotation.from);
        Ok(())
    }
}

impl Choice {
    /// The rotation that was begun, if this is not another one; else a new one. Says whether it was begun.
    async fn settle(&self, site: &Site, registry: &Registry) -> Result<(Rotation, bool), Failure> {
        let rows = registry.generations().await?;
        let Some(begun) = registry.rotation().await? else { return Ok((self.begin(site, &rows)?, false)) };
        let class = self.class.map(KeyClass::from);
        let is_it = self.from.is_none_or(|from| from == begun.from)
            && self.to.is_none_or(|to| Some(to) == begun.to)
            && self.token.as_ref().is_none_or(|token| *token == begun.token)
            && class.is_none_or(|class| class == begun.class);
        if !is_it {
            return Err(format!(
                "a rotation of generation {} was begun, on token '{}' with class {}: run 'rederive rotate' without other \
                 wishes to go on with it, or with --abandon to forget it",
                begun.from,
                begun.token,
                begun.class.name()
            )
            .into());
        }
        Ok((begun, true))
    }

    fn begin(&self, site: &Site, rows: &[GenerationRow]) -> Result<Rotation, Failure> {
        let from = the_issuing_one(rows, self.from)?;
        if let Some(to) = self.to {
            let follows = |row: &GenerationRow| row.state == GenerationState::Pending && row.shares == from.shares;
            if to == from.number.number() || !row(rows, to).is_ok_and(follows) {
                return Err(format!("generation {to} is none that can follow: pending, for the same shares").into());
            }
        }
        let class = self.class.map_or(KeyClass::Strict, KeyClass::from);
        let token = site.token(self.token.as_deref())?.name.clone();
        Ok(Rotation { from: from.number.number(), to: self.to, token, class })
    }
}

fn the_issuing_one(rows: &[GenerationRow], wanted: Option<u8>) -> Result<&GenerationRow, Failure> {
    let issuing: Vec<&GenerationRow> = rows.iter().filter(|row| row.state == GenerationState::Issuing).collect();
    match (wanted, issuing.as_slice()) {
        (None, [only]) => Ok(only),
        (None, []) => Err("no generation makes keys: 'rederive generation create' makes one that does".into()),
        (None, several) => {
            let numbers: Vec<u8> = several.iter().map(|row| row.number.number()).collect();
            Err(format!("generations {numbers:?} make keys: say which one is to be retired with --from").into())
        }
        (Some(wanted), issuing) => {
            let found = issuing.iter().find(|row| row.number.number() == wanted);
            found.copied().ok_or_else(|| format!("generation {wanted} does not make keys").into())
        }
    }
}

async fn carry_out(site: &Site, registry: &Registry, workers: &WorkerFiles) -> Result<Rotation, Failure> {
    loop {
        let rotation = registry.rotation().await?.ok_or("the rotation was ended by somebody else")?;
        match step(&rotation, &registry.generations().await?)? {
            Step::Create => create(site, registry, &rotation).await?,
            Step::Promote(next) => {
                workers.must_know(&next)?;
                promote(site, registry, &next).await?;
            }
            Step::Retire => {
                eprintln!("3. retire generation {}", rotation.from);
                let from = number(rotation.from)?;
                generation_life::set_state(site, registry, from, GenerationState::Verifying).await?;
            }
            Step::Done => {
                registry.end_rotation().await?;
                eprintln!("done: new keys are made in another generation than {}", rotation.from);
                return Ok(rotation);
            }
        }
    }
}

/// What comes next, by the states of the two generations.
fn step(rotation: &Rotation, rows: &[GenerationRow]) -> Result<Step, Failure> {
    let Some(to) = rotation.to else { return Ok(Step::Create) };
    let (from, to) = (row(rows, rotation.from)?, row(rows, to)?);
    match (from.state, to.state) {
        (_, GenerationState::Pending) => Ok(Step::Promote(to.clone())),
        (GenerationState::Pending | GenerationState::Issuing, GenerationState::Issuing) => Ok(Step::Retire),
        (_, GenerationState::Issuing) => Ok(Step::Done),
        (_, state) => Err(format!(
            "generation {}, which was to follow, is {state} meanwhile: 'rederive rotate --abandon' forgets this rotation",
            to.number
        )
        .into()),
    }
}

async fn create(site: &Site, registry: &Registry, rotation: &Rotation) -> Result<(), Failure> {
    eprintln!("1. make the next master on token '{}'", rotation.token);
    let _only = generation::only_one(site)?;
    let shares = row(&registry.generations().await?, rotation.from)?.shares.clone();
    let wanted = Wanted { class: rotation.class, state: GenerationState::Pending, shares };
    let row = generation::new_master(site, site.token(Some(&rotation.token))?, registry, wanted).await?;
    registry.insert_next_generation(&row).await?;
    output::line(&generation::describe(&row))?;
    record(site, generation::event(&row)).await
}

/// Waits until everybody who decides has heard of the generation, looks whether enough tokens hold it, and lets it make keys.
async fn promote(site: &Site, registry: &Registry, next: &GenerationRow) -> Result<(), Failure> {
    let heard_at = next.created_at + site.policy().announce;
    eprintln!("2. promote generation {}, announced for {} s", next.number, site.policy().announce);
    while now() < heard_at {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (held, wanted) = (holders(site, next), site.policy().min_replicas);
    if held.len() < wanted {
        return Err(format!(
            "generation {} was seen on {} tokens ({}), and keys are made from {wanted} on: bring its master to another \
             token, then run 'rederive rotate' again",
            next.number,
            held.len(),
            held.join(", ")
        )
        .into());
    }
    eprintln!("   its check value was computed by {}", held.join(", "));
    generation_life::set_state(site, registry, next.number, GenerationState::Issuing).await
}

/// The names of the tokens that compute the check value of a generation.
fn holders(site: &Site, row: &GenerationRow) -> Vec<String> {
    let mut names = Vec::new();
    for token in site.tokens() {
        let examined = site.token_config(token).and_then(|config| {
            site.administrate(token, &AdminRequest::Examine { token: config, generations: vec![worker_view(row)] })
        });
        match examined {
            Ok(AdminAnswer::Examined { missing }) if missing.is_empty() => names.push(token.name.clone()),
            Ok(_) => eprintln!("   token '{}' does not hold it", token.name),
            Err(failure) => eprintln!("   token '{}' was not seen to hold it: {failure}", token.name),
        }
    }
    names
}

async fn show_plan(
    site: &Site,
    registry: &Registry,
    rotation: &Rotation,
    workers: &WorkerFiles,
) -> Result<(), Failure> {
    let rows = registry.generations().await?;
    let (from, next) = (row(&rows, rotation.from)?, rotation.to.map(|to| row(&rows, to)).transpose()?);
    let is = |done: bool| if done { "done" } else { "    " };
    let policy = site.policy();
    let issues = next.is_some_and(|next| next.state >= GenerationState::Issuing);
    let name = next.map_or("the next generation".into(), |next| format!("generation {}", next.number));
    let (first, last) = (from.shares.start(), from.shares.end());
    let (token, class) = (&rotation.token, rotation.class.name());
    let mut lines = vec![
        format!("A rotation: {name} takes the place of generation {}, shares {first:04x}-{last:04x}", from.number),
        match next {
            Some(next) => format!("  done  1. {}", generation::describe(next)),
            None => format!("        1. make its master on token '{token}', class {class}; it is pending"),
        },
        format!(
            "  {}  2. promote it, when it was announced for {} s and seen on {} tokens: new keys are made in it",
            is(issues),
            policy.announce,
            policy.min_replicas
        ),
        format!(
            "  {}  3. retire generation {}: its keys go on, no new ones are made in it",
            is(from.state > GenerationState::Issuing),
            from.number
        ),
        "        4. show who still depends on which generation; nothing is closed".into(),
    ];
    if let Some(line) = workers.plan() {
        lines.insert(3, line);
    }
    lines.iter().try_for_each(|line| output::line(line)).map_err(Failure::from)
}

fn row(rows: &[GenerationRow], number: u8) -> Result<&GenerationRow, Failure> {
    rows.iter()
        .find(|row| row.number.number() == number)
        .ok_or_else(|| format!("there is no generation {number}").into())
}

fn number(number: u8) -> Result<Number, Failure> {
    Number::new(number).ok_or_else(|| format!("{number} is no generation: they go from 0 to 127").into())
}

//! `rederive deny`: what an operator refuses, whatever its owner has set.

use clap::{Args, Subcommand};
use rederive::audit::Event;
use rederive::registry::{Registry, Subject};
use rederive::site::Site;
use rederive_hsm::access_key_id::{AccessKeyId, Account};
use serde_json::json;

use super::config_file::ConfigFile;
use super::{Failure, block_on, can_be_recorded, now, output, record};

#[derive(Args)]
pub struct Deny {
    #[command(subcommand)]
    command: DenyCommand,
}

#[derive(Subcommand)]
enum DenyCommand {
    /// Deny a key, issued or not
    Key {
        /// Its access key id
        id: String,
        #[command(flatten)]
        how: How,
    },
    /// Deny a user: every key that it has, and it gets no new one
    User {
        /// Its account, twelve digits
        #[arg(long, value_name = "NUMBER")]
        account: String,
        /// Its name
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Deny an account with everybody in it
    Account {
        /// Its number, twelve digits
        number: String,
        #[command(flatten)]
        how: How,
    },
    /// List what is denied
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Args)]
struct How {
    #[command(flatten)]
    config: ConfigFile,
    /// Lift the denial; what is inactive or deleted stays so
    #[arg(long)]
    lift: bool,
}

impl Deny {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            DenyCommand::Key { id, how } => {
                let id = AccessKeyId::parse(id.as_bytes()).ok_or_else(|| format!("'{id}' is no access key id"))?;
                how.carry_out(&id, async |_| Ok(Subject::Key(id)))
            }
            DenyCommand::User { account, name, how } => {
                let account = parse(&account)?;
                how.carry_out(&name, async |registry| {
                    Ok(Subject::User(account, registry.user_by_name(account, &name).await?.user_id))
                })
            }
            DenyCommand::Account { number, how } => {
                let account = parse(&number)?;
                how.carry_out(&account, async |_| Ok(Subject::Account(account)))
            }
            DenyCommand::List { config } => list(&config.load()?),
        }
    }
}

impl How {
    fn carry_out(
        &self,
        what: &dyn std::fmt::Display,
        find: impl AsyncFnOnce(&Registry) -> Result<Subject, Failure>,
    ) -> Result<(), Failure> {
        let site = self.config.load()?;
        let (done, subject, told) = block_on(async {
            let (registry, _) = site.open_registry().await?;
            let subject = find(&registry).await?;
            let (done, told) = match self.lift {
                true => {
                    can_be_recorded(&site)?;
                    (registry.lift(&subject, now()).await?, ["lifted", "was not denied"])
                }
                false => (registry.deny(&subject, now()).await?, ["denied", "is denied already"]),
            };
            Ok((done, named(&subject), told))
        })?;
        // What takes away is never held up by the log.
        let name = if self.lift { "LiftDenial" } else { "Deny" };
        let event = Event::command(name, now()).with_parameters(json!({ "subject": subject, "changed": done }));
        block_on(record(&site, event))?;
        Ok(output::line(&format!("{what} {}", told[usize::from(!done)]))?)
    }
}

/// As `deny list` shows it.
fn named(subject: &Subject) -> String {
    match subject {
        Subject::Key(id) => format!("key:{id}"),
        Subject::User(_, user_id) => format!("user:{user_id}"),
        Subject::Account(account) => format!("account:{account}"),
    }
}

fn parse(text: &str) -> Result<Account, Failure> {
    Account::parse(text).ok_or_else(|| format!("'{text}' is no account: it takes twelve digits").into())
}

fn list(site: &Site) -> Result<(), Failure> {
    block_on(async {
        for (subject, at) in Registry::open_to_read(&site.registry()?).await?.denials().await? {
            output::line(&format!("{subject}  since {at}"))?;
        }
        Ok(())
    })
}

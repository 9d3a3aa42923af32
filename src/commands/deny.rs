//! `rederive deny`: what an operator refuses, whatever its owner has set.

use clap::{Args, Subcommand};
use rederive::audit::Event;
use rederive::iam::timestamp as time;
use rederive::registry::{Registry, Subject};
use rederive::site::Site;
use rederive_hsm::access_key_id::{AccessKeyId, Account};
use serde_json::json;

use super::config_file::ConfigFile;
use super::{Failure, block_on, can_be_recorded, now, output, record, unix_time};

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
    /// Deny the sessions of a key, a user or an account by when they were issued; keys stay as they are
    Sessions(Sessions),
    /// List what is denied
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Args)]
struct Sessions {
    /// Of everybody in this account, twelve digits; with --user, of that user
    #[arg(long, value_name = "NUMBER")]
    account: Option<String>,
    /// The user's name
    #[arg(long, value_name = "NAME", requires = "account")]
    user: Option<String>,
    /// Of what this key has asked for, or began, through whatever roles
    #[arg(long, value_name = "ID", conflicts_with = "account", required_unless_present = "account")]
    key: Option<String>,
    /// Those issued before this time; by default everything up to now
    #[arg(long, value_name = "TIME", value_parser = unix_time, conflicts_with = "lift")]
    issued_before: Option<i64>,
    #[command(flatten)]
    how: How,
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
                let id = parse_id(&id)?;
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
            DenyCommand::Sessions(sessions) => sessions.run(),
            DenyCommand::List { config } => list(&config.load()?),
        }
    }
}

/// How far ahead of the clock here another issuer's may be.
const CLOCKS_DIFFER: i64 = 15 * 60;

impl Sessions {
    fn run(self) -> Result<(), Failure> {
        // A session bears the second in which it was issued.
        let issued_before = self.issued_before.unwrap_or_else(|| now() + 1);
        if issued_before > now() + CLOCKS_DIFFER {
            let text =
                "--issued-before lies ahead: to keep somebody from new sessions, deny the key, the user or the account";
            return Err(text.into());
        }
        let key = self.key.as_deref().map(parse_id).transpose()?;
        let account = self.account.as_deref().map(parse).transpose()?;
        let done = self.how.change(
            async |registry| match (key, account, &self.user) {
                (_, Some(account), Some(name)) => {
                    Ok(Subject::User(account, registry.user_by_name(account, name).await?.user_id))
                }
                (_, Some(account), None) => Ok(Subject::Account(account)),
                (Some(id), ..) => Ok(Subject::Key(id)),
                (None, None, _) => Err("takes --key or --account".into()),
            },
            async |registry, subject| match self.how.lift {
                true => registry.lift_sessions(subject, now()).await,
                false => registry.deny_sessions(subject, issued_before, now()).await,
            },
            |subject, done| {
                let name = if self.how.lift { "LiftSessionDenial" } else { "DenySessions" };
                let told = json!({ "subject": subject, "issuedBefore": issued_before, "changed": done });
                Event::command(name, now()).with_parameters(told)
            },
        )?;
        let (subject, done) = done;
        let what = match (self.how.lift, done) {
            (true, true) => "lifted".to_owned(),
            (true, false) => "was not denied".to_owned(),
            (false, true) => format!("issued before {} denied", time(issued_before)),
            (false, false) => "denied up to then, or later, already".to_owned(),
        };
        Ok(output::line(&format!("sessions of {subject} {what}"))?)
    }
}

impl How {
    fn carry_out(
        &self,
        what: &dyn std::fmt::Display,
        find: impl AsyncFnOnce(&Registry) -> Result<Subject, Failure>,
    ) -> Result<(), Failure> {
        let (_, done) = self.change(
            find,
            async |registry, subject| match self.lift {
                true => registry.lift(subject, now()).await,
                false => registry.deny(subject, now()).await,
            },
            |subject, done| {
                let name = if self.lift { "LiftDenial" } else { "Deny" };
                Event::command(name, now()).with_parameters(json!({ "subject": subject, "changed": done }))
            },
        )?;
        let told = match (self.lift, done) {
            (true, true) => "lifted",
            (true, false) => "was not denied",
            (false, true) => "denied",
            (false, false) => "is denied already",
        };
        Ok(output::line(&format!("{what} {told}"))?)
    }

    /// Finds a subject, changes what holds of it, and records that; gives the subject's name and whether anything changed.
    fn change(
        &self,
        find: impl AsyncFnOnce(&Registry) -> Result<Subject, Failure>,
        change: impl AsyncFnOnce(&Registry, &Subject) -> rederive::registry::Result<bool>,
        event: impl FnOnce(&str, bool) -> Event,
    ) -> Result<(String, bool), Failure> {
        let site = self.config.load()?;
        let (subject, done) = block_on(async {
            let (registry, _) = site.open_registry().await?;
            let subject = find(&registry).await?;
            // What takes away is never held up by the log.
            if self.lift {
                can_be_recorded(&site)?;
            }
            let done = change(&registry, &subject).await?;
            Ok((subject.name(), done))
        })?;
        block_on(record(&site, event(&subject, done)))?;
        Ok((subject, done))
    }
}

fn parse_id(text: &str) -> Result<AccessKeyId, Failure> {
    AccessKeyId::parse(text.as_bytes()).ok_or_else(|| format!("'{text}' is no access key id").into())
}

fn parse(text: &str) -> Result<Account, Failure> {
    Account::parse(text).ok_or_else(|| format!("'{text}' is no account: it takes twelve digits").into())
}

fn list(site: &Site) -> Result<(), Failure> {
    block_on(async {
        let registry = Registry::open_to_read(&site.registry()?).await?;
        for (subject, at) in registry.denials().await? {
            output::line(&format!("{subject}  since {at}"))?;
        }
        for one in registry.session_denials().await? {
            let before = time(one.issued_before);
            output::line(&format!("sessions of {}  issued before {before}  since {}", one.subject, one.at))?;
        }
        Ok(())
    })
}

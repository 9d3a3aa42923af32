//! `rederive key`: what an access key id says, and keys for users.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use rederive::authority::NewKeySpec;
use rederive::iam::{is_description, timestamp};
use rederive::key_terms::{KeyScope, KeyTerms, ServiceSet};
use rederive::operator::{Operator, Wanted};
use rederive::registry::{KeyRow, Registry};
use rederive::site::Site;
use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields};
use rederive_hsm::derivation::share;
use rederive_hsm::region_set::RegionSet;

use super::config_file::ConfigFile;
use super::handout::{self, Form};
use super::issuer::Issuer;
use super::{Failure, block_on, now, output};

#[derive(Args)]
pub struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Tell what the bits of an access key id say; asks no HSM and no registry, so it does not say whether the key exists
    Decode {
        /// The 20 characters of the id
        id: String,
    },
    /// Make a key for a user and print it, this once
    Create(Create),
    /// List the keys of an account, with their ends and scopes
    List {
        #[command(flatten)]
        config: ConfigFile,
        /// The account, twelve digits
        #[arg(long, value_name = "NUMBER")]
        account: String,
        /// Only those of the user of that name
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
}

#[derive(Args)]
struct Create {
    #[command(flatten)]
    config: ConfigFile,
    /// The user's account, twelve digits
    #[arg(long, value_name = "NUMBER")]
    account: String,
    /// The user's name
    #[arg(long, value_name = "NAME")]
    user: String,
    /// For how long it is good, in hours [default: until it is deleted]
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..))]
    expires_in_hours: Option<u32>,
    /// The services that it is good for, as 's3,sqs' [default: all that its user may use]
    #[arg(long, value_name = "NAMES", value_parser = services)]
    services: Option<ServiceSet>,
    /// The regions that it is good for, as 'eu-*,us-1' [default: all]
    #[arg(long, value_name = "PATTERNS", value_parser = regions)]
    regions: Option<RegionSet>,
    /// A description; it becomes a tag of the user, named by the key's id, as AWS's console has it
    #[arg(long, value_name = "TEXT", value_parser = description)]
    description: Option<String>,
    /// In which form it is printed
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

impl Key {
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            KeyCommand::Decode { id } => decode(&id)?,
            KeyCommand::Create(wanted) => create(&wanted.config.load()?, wanted)?,
            KeyCommand::List { config, account, user } => list(&config.load()?, parse(&account)?, user.as_deref())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn decode(id: &str) -> Result<(), Failure> {
    let Some(parsed) = AccessKeyId::parse(id.as_bytes()) else {
        return Err(format!(
            "'{id}' is no access key id of ours: it takes four letters A to Z and 16 characters A to Z or 2 to 7, in one of \
             the two layouts of docs/derivation.md"
        )
        .into());
    };
    Ok(output::text(&describe(&parsed))?)
}

fn parse(account: &str) -> Result<Account, Failure> {
    Account::parse(account).ok_or_else(|| "--account takes twelve digits".into())
}

fn services(text: &str) -> Result<ServiceSet, &'static str> {
    ServiceSet::parse(text).ok_or("names of services with commas between them, such as s3,sqs")
}

fn regions(text: &str) -> Result<RegionSet, &'static str> {
    RegionSet::parse(text.as_bytes()).ok_or("regions or patterns with commas between them, such as eu-*,us-1")
}

fn description(text: &str) -> Result<String, &'static str> {
    is_description(text).then(|| text.to_owned()).ok_or("at most 256 letters, digits, blanks and any of _.:/=+-@")
}

fn create(site: &Site, wanted: Create) -> Result<(), Failure> {
    let account = parse(&wanted.account)?;
    let scope = KeyScope { services: wanted.services, regions: wanted.regions };
    let terms = KeyTerms { expires_at: wanted.expires_in_hours.map(|hours| now() + i64::from(hours) * 3600), scope };
    block_on(async {
        let issuer = Issuer::start(site).await?;
        let operator = Operator::of_command(site.audit()?);
        issuer.ready().await?;
        let authority = &issuer.authority;
        let key = NewKeySpec { terms, description: wanted.description };
        let asked = Wanted { account, user: wanted.user, key };
        let (user, issued) = operator.create_key(authority, &asked, now()).await?;
        output::text(&handout::write(wanted.format, &user.name, &issued.row.id, &issued.secret))?;
        issuer.stop().await
    })
}

fn list(site: &Site, account: Account, user: Option<&str>) -> Result<(), Failure> {
    block_on(async {
        let registry = Registry::open_to_read(&site.registry()?).await?;
        for row in registry.keys_of_account(account).await? {
            let name = row.user.as_ref().map(|user| user.name.as_str());
            if user.is_some() && name != user {
                continue;
            }
            let described = match name {
                Some(name) => registry.user_by_name(account, name).await?.tags,
                None => Vec::new(),
            };
            let described = described.into_iter().find(|tag| tag.key == row.id.as_str());
            let described = described.map_or(String::new(), |tag| format!("  {:?}", tag.value));
            output::line(&(listed(&row, name.unwrap_or("(root)")) + &described))?;
        }
        Ok(())
    })
}

fn listed(row: &KeyRow, user: &str) -> String {
    let mut line = format!("{}  {user}  {:8}  created {}", row.id, row.status_word(now()), timestamp(row.created_at));
    let used = row.last_used.as_ref().map_or("never".into(), |used| timestamp(used.at));
    let scope = &row.terms.scope;
    line += &format!("  last used {used}");
    let soon = if row.ends_soon(now()).is_some() { " (soon)" } else { "" };
    line += &row.ends_at().map_or(String::new(), |at| format!("  expires {}{soon}", timestamp(at)));
    line += &scope.services.as_ref().map_or(String::new(), |services| format!("  services {services}"));
    line + &scope.regions.as_ref().map_or(String::new(), |regions| format!("  regions {regions}"))
}

fn describe(id: &AccessKeyId) -> String {
    let prefix = id.prefix();
    match id.fields() {
        Fields::Account { account, generation, needs_row, serial } => format!(
            "prefix      {}\nlayout      account\naccount     {account}\ngeneration  {generation}\nneeds row   {}\n\
             serial      {serial:#07x}\nshare       {:#06x}\n",
            prefix.as_str(),
            yes(needs_row),
            share(account),
        ),
        Fields::Opaque { generation, needs_row, serial } => format!(
            "prefix      {}\nlayout      opaque\ngeneration  {generation}\nneeds row   {}\nserial      {serial:#013x}\n",
            prefix.as_str(),
            yes(needs_row),
        ),
    }
}

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

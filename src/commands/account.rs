//! `rederive account`: accounts are made by an operator, never by a tenant.

use clap::{Args, Subcommand};
use rederive::operator::{Operator, random_account};
use rederive::registry::{KeyAge, Registry};
use rederive::site::Site;
use rederive_hsm::access_key_id::Account as Number;
use zeroize::Zeroizing;

use super::config_file::ConfigFile;
use super::issuer::Issuer;
use super::{Failure, block_on, now, output};

#[derive(Args)]
pub struct Account {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand)]
enum AccountCommand {
    /// Make an account and print its root key, this once; a running `serve` notices
    Create {
        #[command(flatten)]
        config: ConfigFile,
        /// Its number, twelve digits [default: a random one]
        #[arg(long, value_name = "NUMBER")]
        number: Option<String>,
    },
    /// Make a further root key of an account and print it, this once: where one was lost, or never seen
    RootKey {
        #[command(flatten)]
        config: ConfigFile,
        /// The account's number, twelve digits
        #[arg(long, value_name = "NUMBER")]
        number: String,
    },
    /// Set how many keys each user of an account may have; keys that are there stay
    SetQuota {
        #[command(flatten)]
        config: ConfigFile,
        /// The account's number, twelve digits
        #[arg(long, value_name = "NUMBER")]
        number: String,
        /// 1 to 1000 [default: what a node has for its default, 2]
        #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u32).range(1..=1000))]
        keys_per_user: Option<u32>,
    },
    /// Set how old the keys of an account may become, root keys included; older ones are switched off for good
    SetKeyAge {
        #[command(flatten)]
        config: ConfigFile,
        /// The account's number, twelve digits
        #[arg(long, value_name = "NUMBER")]
        number: String,
        /// 1 to 3650 [default: as old as one likes]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        max_days: Option<u32>,
        /// How long before the end of a key its users are warned
        #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(0..=3650))]
        warn_days: u32,
        /// How many active keys may end by it at once; it is refused while there are others
        #[arg(long, value_name = "KEYS", default_value_t = 0)]
        ends: i64,
    },
    /// List accounts
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
}

impl Account {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            AccountCommand::Create { config, number } => {
                let account = number.as_deref().map_or_else(|| Ok(random_account()?), parse)?;
                print_root_key(&config.load()?, account, Which::First)
            }
            AccountCommand::RootKey { config, number } => {
                print_root_key(&config.load()?, parse(&number)?, Which::Further)
            }
            AccountCommand::SetQuota { config, number, keys_per_user } => {
                set_quota(&config.load()?, parse(&number)?, keys_per_user)
            }
            AccountCommand::SetKeyAge { config, number, max_days, warn_days, ends } => {
                let days = |days| i64::from(days) * 86_400;
                let age = KeyAge { max: max_days.map(days), warning: days(warn_days) };
                set_key_age(&config.load()?, parse(&number)?, age, ends)
            }
            AccountCommand::List { config } => list(&config.load()?),
        }
    }
}

/// Which root key of an account.
#[derive(Clone, Copy)]
enum Which {
    /// The first, made with the account.
    First,
    /// One more, of an account that is there.
    Further,
}

/// Makes a root key and prints it. What goes wrong before the print leaves nothing behind but, at worst, a key that
/// nobody has seen.
fn print_root_key(site: &Site, account: Number, which: Which) -> Result<(), Failure> {
    block_on(async {
        let issuer = Issuer::start(site).await?;
        let authority = &issuer.authority;
        check_account(authority.registry()?, account, which).await?;
        let operator = Operator::of_command(site.audit()?);
        issuer.ready().await?;
        let root = match which {
            Which::First => operator.create_account(authority, account, now()).await?,
            Which::Further => operator.create_root_key(authority, account, now()).await?,
        };
        let text = Zeroizing::new(format!(
            "account            {account}\naccess key id      {}\nsecret access key  {}\n",
            root.id,
            root.secret.expose()
        ));
        output::text(&text)?;
        issuer.stop().await
    })
}

/// Says what to do where the registry would only say no.
async fn check_account(registry: &Registry, account: Number, which: Which) -> Result<(), Failure> {
    match (which, registry.account_exists(account).await?) {
        (Which::First, true) => Err(format!(
            "account {account} exists already. If its root key was lost or never seen, 'rederive account root-key \
             --number {account} --config …' makes another"
        )
        .into()),
        (Which::Further, false) => {
            Err(format!("there is no account {account}: 'rederive account create' makes one").into())
        }
        _ => Ok(()),
    }
}

fn parse(text: &str) -> Result<Number, Failure> {
    Number::parse(text).ok_or_else(|| format!("'{text}' is no account: it takes twelve digits").into())
}

fn set_quota(site: &Site, account: Number, keys_per_user: Option<u32>) -> Result<(), Failure> {
    block_on(async {
        let operator = Operator::of_command(site.audit()?);
        let (registry, _) = site.open_registry().await?;
        operator.set_quota(&registry, account, keys_per_user, now()).await?;
        let keys = keys_per_user.map_or("the default".into(), |keys| keys.to_string());
        Ok(output::line(&format!("account {account}: keys per user {keys}"))?)
    })
}

fn set_key_age(site: &Site, account: Number, age: KeyAge, ends: i64) -> Result<(), Failure> {
    block_on(async {
        let operator = Operator::of_command(site.audit()?);
        let (registry, _) = site.open_registry().await?;
        operator.set_key_age(&registry, account, age, ends, now()).await?;
        Ok(output::line(&format!("account {account}:{}", key_age(&age).unwrap_or("  keys may be of any age".into())))?)
    })
}

fn key_age(age: &KeyAge) -> Option<String> {
    let days = |seconds: i64| seconds / 86_400;
    age.max.map(|max| format!("  keys end after {} days, warning {} days before", days(max), days(age.warning)))
}

fn list(site: &Site) -> Result<(), Failure> {
    block_on(async {
        for row in Registry::open_to_read(&site.registry()?).await?.accounts().await? {
            let quota = row.keys_per_user.map_or(String::new(), |keys| format!("  keys per user {keys}"));
            let age = key_age(&row.key_age).unwrap_or_default();
            output::line(&format!("{}{quota}{age}", row.number))?;
        }
        Ok(())
    })
}

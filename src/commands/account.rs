//! `rederive account`: accounts are made by an operator, never by a tenant.

use clap::{Args, Subcommand};
use rederive::registry::{Owner, Registry};
use rederive::site::Site;
use rederive_hsm::access_key_id::{Account as Number, MAX_ACCOUNT};

use super::config_file::ConfigFile;
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
    /// List accounts
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
}

impl Account {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            AccountCommand::Create { config, number } => create(&config.load()?, number.as_deref()),
            AccountCommand::List { config } => list(&config.load()?),
        }
    }
}

fn create(site: &Site, number: Option<&str>) -> Result<(), Failure> {
    let account = match number {
        Some(text) => Number::parse(text).ok_or_else(|| format!("'{text}' is no account: it takes twelve digits"))?,
        None => random_account()?,
    };
    block_on(async {
        let (authority, supervisor) = site.authority().await?;
        authority.hsm().settled().await;
        let registry = authority.registry();
        if !registry.account_exists(account).await? {
            registry.create_account(account, now()).await?;
        } else if !registry.keys(&Owner { account, user_id: None }, None, 1).await?.items.is_empty() {
            return Err(format!("account {account} exists already, and its root key was shown").into());
        }
        let root = authority.new_root_key(account, now()).await?;
        let text = zeroize::Zeroizing::new(format!(
            "account            {account}\naccess key id      {}\nsecret access key  {}\n",
            root.id,
            root.secret.expose()
        ));
        output::text(&text)?;
        authority.hsm().stop().await;
        supervisor.await?;
        Ok(())
    })
}

fn list(site: &Site) -> Result<(), Failure> {
    block_on(async {
        for row in Registry::open(&site.registry_path()).await?.accounts().await? {
            output::line(&row.number.to_string())?;
        }
        Ok(())
    })
}

/// A random account number, drawn evenly.
fn random_account() -> Result<Number, Failure> {
    loop {
        let bits = getrandom::u64().map_err(|error| format!("the system gives no random numbers: {error}"))?;
        // 40 bits hold the numbers; those above are drawn again.
        if let Some(account) = Number::new(bits >> 24).filter(|account| account.number() <= MAX_ACCOUNT) {
            return Ok(account);
        }
    }
}

//! `rederive key`: what an access key id says, and keys for users.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use rederive::audit::Event;
use rederive::authority::Issued;
use rederive::registry::{KeyStatus, Owner};
use rederive::site::Site;
use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields};
use rederive_hsm::derivation::share;
use serde_json::json;

use super::config_file::ConfigFile;
use super::handout::{self, Form};
use super::issuer::Issuer;
use super::{Failure, block_on, can_be_recorded, now, output, record};

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
    Create {
        #[command(flatten)]
        config: ConfigFile,
        /// The user's account, twelve digits
        #[arg(long, value_name = "NUMBER")]
        account: String,
        /// The user's name
        #[arg(long, value_name = "NAME")]
        user: String,
        /// For how long it is good, in hours [default: until it is deleted]. Verifiers without a registry cannot decide about such a key
        #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..))]
        expires_in_hours: Option<u32>,
        /// In which form it is printed
        #[arg(long, value_enum, default_value_t = Form::Text)]
        format: Form,
    },
}

impl Key {
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            KeyCommand::Decode { id } => decode(&id)?,
            KeyCommand::Create { config, account, user, expires_in_hours, format } => {
                let account = Account::parse(&account);
                let account = account.ok_or("--account takes twelve digits")?;
                let expires_at = expires_in_hours.map(|hours| now() + i64::from(hours) * 3600);
                create(&config.load()?, account, &user, expires_at, format)?;
            }
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

fn create(site: &Site, account: Account, user: &str, expires_at: Option<i64>, form: Form) -> Result<(), Failure> {
    block_on(async {
        let issuer = Issuer::start(site).await?;
        let registry = issuer.authority.registry()?;
        let row = registry.user_by_name(account, user).await?;
        can_be_recorded(site)?;
        issuer.ready().await?;
        let owner = Owner { account, user_id: Some(row.user_id) };
        let Issued { row: key, secret, .. } = issuer.authority.issue_until(&owner, expires_at, now()).await?;
        let event = Event::command("CreateAccessKey", now())
            .about(account, None)
            .with_parameters(json!({ "userName": row.name, "expiresAt": expires_at }))
            .with_response(
                json!({ "accessKey": { "accessKeyId": key.id.as_str(), "status": "Active", "userName": row.name } }),
            );
        if let Err(failure) = record(site, event).await {
            registry.set_key_status(&key.id, &owner, KeyStatus::Deleted, now()).await?;
            return Err(format!("the new key was deleted again, for it could not be recorded: {failure}").into());
        }
        output::text(&handout::write(form, &row.name, &key.id, &secret))?;
        issuer.stop().await
    })
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

//! `rederive key`: what an access key id says.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use rederive_hsm::access_key_id::{AccessKeyId, Fields};
use rederive_hsm::derivation::share;

use super::{Failure, output};

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
}

impl Key {
    pub fn run(self) -> Result<ExitCode, Failure> {
        let KeyCommand::Decode { id } = self.command;
        let Some(parsed) = AccessKeyId::parse(id.as_bytes()) else {
            return Err(format!(
                "'{id}' is no access key id of ours: it takes four letters A to Z and 16 characters A to Z or 2 to 7, in one of \
                 the two layouts of docs/derivation.md"
            )
            .into());
        };
        output::text(&describe(&parsed))?;
        Ok(ExitCode::SUCCESS)
    }
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

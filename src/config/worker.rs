//! The configuration of a worker of its own: `rederive hsm-worker --config FILE`.
//!
//! What is not allowed in it is not had, whatever `serve` asks for. So it names everything that a worker answers, and takes nothing
//! from the registry or the environment.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rederive_hsm::access_key_id::Layout;
use rederive_hsm::config::{GenerationConfig, KeyClass, LayoutName, Listen, PrefixConfig, Rights, WorkerConfig};
use serde::Deserialize;

use super::check::{Outcome, ensure, of_module};
use super::{ConfigError, Issuing, Log, Names, Token};

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerFile {
    /// The Unix socket that it listens on; with several workers, the others' end in `.1`, `.2`, ….
    pub listen: PathBuf,
    /// The users whose processes it answers.
    pub peers: Vec<Peer>,
    /// Where it says that the token refused the PIN.
    pub state_dir: PathBuf,
    /// Where all that the workers count is written, for Prometheus' textfile collector.
    pub metrics_file: Option<PathBuf>,
    /// The token, as `[[token]]` of a node names it.
    pub token: Token,
    /// The generations that it answers for.
    pub generation: Vec<Generation>,
    /// What it answers.
    pub rights: RightsTable,
    /// What new keys look like.
    #[serde(default)]
    pub issuing: Issuing,
    /// What is written to standard error.
    #[serde(default)]
    pub log: Log,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Peer {
    /// By number.
    Number(u32),
    /// By name.
    Name(String),
}

/// `[[generation]]`: as `rederive generation list --toml` prints it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// 0 to 127.
    pub number: u8,
    /// Whether new keys may be made in it.
    #[serde(default)]
    pub issuing: bool,
    /// The recorded check value: 64 hexadecimal digits.
    pub check_value: String,
    /// The attributes its key must have.
    pub class: KeyClass,
    /// The shares of accounts that it is good for.
    #[serde(default = "every_share")]
    pub shares: String,
}

/// `[rights]`: what the worker answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RightsTable {
    /// Whether it makes new keys, and with that answers for iam and sts.
    pub issue: bool,
    /// Services it gives signing keys for.
    pub services: Names,
    /// Regions it gives signing keys for.
    pub regions: Names,
    /// Services that allow presigned URLs, for which signing keys of the last 7 days are given; by default all of them.
    pub presigned: Option<Names>,
    /// Services for which it tells whether a Signature V2 is right.
    pub signature_v2: Names,
    /// Signing keys a second at the most.
    pub signing_keys_per_second: u32,
    /// Signatures V2 compared a second at the most.
    pub signatures_v2_per_second: u32,
    /// New keys a second at the most.
    pub issues_per_second: u32,
    /// New keys a day at the most for one account.
    pub issues_per_account_a_day: u32,
}

impl Default for RightsTable {
    fn default() -> Self {
        let caps = Rights::default();
        Self {
            issue: false,
            services: Names::default(),
            regions: Names::default(),
            presigned: None,
            signature_v2: Names::default(),
            signing_keys_per_second: caps.signing_keys_per_second,
            signatures_v2_per_second: caps.signatures_v2_per_second,
            issues_per_second: caps.issues_per_second,
            issues_per_account_a_day: caps.issues_per_account_a_day,
        }
    }
}

impl WorkerFile {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Parses TOML and checks the outcome.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: Self = toml::from_str(text)?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Outcome {
        ensure(!self.peers.is_empty(), "peers", || "missing: name the user that `serve` runs as".into())?;
        let token = &self.token;
        ensure(token.module.is_some() && token.socket.is_none(), "[token] module", || {
            "missing: name the PKCS#11 library".into()
        })?;
        ensure(token.weight == 1, "[token] weight", || "stands in the configuration of `serve`".into())?;
        ensure((1..=64).contains(&token.workers), "[token] workers", || "takes 1 to 64".into())?;
        ensure((1..=60_000).contains(&self.deadline_ms()), "[token] deadline_ms", || {
            "takes 1 to 60000 milliseconds".into()
        })?;
        of_module(token, "[token]")?;
        ensure(!self.generation.is_empty(), "[[generation]]", || {
            "missing: 'rederive generation list --toml' prints what stands there".into()
        })?;
        self.generation.iter().try_for_each(|one| self.check_generation(one))?;
        self.rights.check()?;
        self.rights.check_parts(token.workers)
    }

    fn check_generation(&self, one: &Generation) -> Outcome {
        let at = |key: &str| format!("[[generation]] {} {key}", one.number);
        ensure(one.number < 128, at("number"), || "takes 0 to 127".into())?;
        let same = self.generation.iter().filter(|other| other.number == one.number).count();
        ensure(same == 1, at("number"), || "stands twice".into())?;
        let is_hex = one.check_value.len() == 64
            && one.check_value.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
        ensure(is_hex, at("check_value"), || "takes 64 hexadecimal digits, all of them".into())?;
        ensure(one.range().is_some(), at("shares"), || "takes a range such as \"0000-7fff\"".into())
    }

    /// How long a call to the token may last, in milliseconds.
    pub fn deadline_ms(&self) -> u64 {
        self.token.deadline_ms.unwrap_or(500)
    }

    /// The worker's own configuration, once it is known which users its peers are.
    pub fn to_worker(&self, peers: Vec<u32>) -> Result<WorkerConfig, ConfigError> {
        let token = self.token.to_worker(&self.state_dir);
        let prefixes = &self.issuing.prefixes;
        Ok(WorkerConfig {
            token: token.map_err(|problem| ConfigError::Check { at: "[token]".into(), problem })?,
            generations: self.generation.iter().filter_map(Generation::to_worker).collect(),
            rights: self.rights.to_worker(),
            prefixes: PrefixConfig {
                long_term: vec![prefixes.long_term.as_str().to_owned()],
                temporary: vec![prefixes.temporary.as_str().to_owned()],
            },
            layout: match self.issuing.layout {
                Layout::Account => LayoutName::Account,
                Layout::Opaque => LayoutName::Opaque,
            },
            listen: Some(Listen { socket: self.listen.clone(), peers }),
        })
    }
}

impl Peer {
    /// Its number, by the lines of `/etc/passwd`.
    pub fn uid(&self, passwd: &str) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
            }),
        }
    }
}

impl Generation {
    fn range(&self) -> Option<RangeInclusive<u16>> {
        let share = |text: &str| (text.len() == 4).then(|| u16::from_str_radix(text, 16).ok()).flatten();
        let (first, last) = self.shares.split_once('-')?;
        Some(share(first)?..=share(last)?).filter(|range| !range.is_empty())
    }

    fn to_worker(&self) -> Option<GenerationConfig> {
        let range = self.range()?;
        Some(GenerationConfig {
            number: self.number,
            issuing: self.issuing,
            check_value: self.check_value.clone(),
            class: self.class,
            share_first: *range.start(),
            share_last: *range.end(),
        })
    }
}

fn every_share() -> String {
    "0000-ffff".into()
}

impl RightsTable {
    fn check(&self) -> Outcome {
        ensure(self.issue || !self.services.is_empty(), "[rights] services", || {
            "missing: a worker that makes no keys and answers for no service has nothing to do".into()
        })?;
        ensure(self.services.is_empty() || !self.regions.is_empty(), "[rights] regions", || {
            "missing: name those of the services, or [\"*\"]".into()
        })?;
        let Names::Only(services) = &self.services else { return Ok(()) };
        let strange = services.iter().find(|service| matches!(service.as_str(), "iam" | "sts"));
        ensure(strange.is_none(), "[rights] services", || {
            "iam and sts come with issue = true, and with nothing else".into()
        })
    }

    /// Each worker has its part of a cap. One without would refuse what another grants.
    fn check_parts(&self, workers: u16) -> Outcome {
        let caps = [
            ("signing_keys_per_second", self.signing_keys_per_second),
            ("signatures_v2_per_second", self.signatures_v2_per_second),
            ("issues_per_second", self.issues_per_second),
            ("issues_per_account_a_day", self.issues_per_account_a_day),
        ];
        caps.into_iter().try_for_each(|(key, cap)| {
            ensure(cap == 0 || cap >= u32::from(workers), format!("[rights] {key}"), || {
                format!("{cap} cannot be shared by {workers} workers")
            })
        })
    }

    fn to_worker(&self) -> Rights {
        let mut services = self.services.to_list();
        let mut presigned = self.presigned.as_ref().unwrap_or(&self.services).to_list();
        if self.issue {
            let own = ["iam".to_owned(), "sts".to_owned()];
            services.extend(own.clone());
            presigned.extend(own);
        }
        Rights {
            issue: self.issue,
            services,
            regions: self.regions.to_list(),
            presigned,
            signature_v2: self.signature_v2.to_list(),
            signing_keys_per_second: self.signing_keys_per_second,
            signatures_v2_per_second: self.signatures_v2_per_second,
            issues_per_second: self.issues_per_second,
            issues_per_account_a_day: self.issues_per_account_a_day,
        }
    }
}

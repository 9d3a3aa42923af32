//! The worker's own configuration: which token, which generations, and what it may answer.
//!
//! It stands apart from the authority's configuration because the worker does not trust the authority: rights that
//! are not written here are not had, whatever comes over the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access_key_id::{Account, Generation, Prefix, Prefixes};
use crate::derivation;

/// How long a person may take to type a PIN.
const PERSON: Duration = Duration::from_secs(120);

/// Everything a worker is told when it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// The token that holds the masters.
    pub token: TokenConfig,
    /// The generations it answers for.
    pub generations: Vec<GenerationConfig>,
    /// What it answers.
    pub rights: Rights,
    /// The prefixes of ids.
    pub prefixes: PrefixConfig,
    /// The layout of new ids.
    pub layout: LayoutName,
    /// Where it listens; without it, it answers the process that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<Listen>,
}

/// Where a worker of its own listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The path of its Unix socket.
    pub socket: PathBuf,
    /// The numbers of the users whose processes it answers.
    pub peers: Vec<u32>,
}

impl Listen {
    /// The path for one of several workers: the first has the path itself, the others' end in `.1`, `.2`, ….
    pub fn path_of(socket: &Path, at: usize) -> PathBuf {
        if at == 0 { socket.to_owned() } else { Self::beside(socket, &at.to_string()) }
    }

    /// The same path with a dot and `ending` behind it.
    pub(crate) fn beside(socket: &Path, ending: &str) -> PathBuf {
        let mut path = socket.to_owned().into_os_string();
        path.push(".");
        path.push(ending);
        path.into()
    }
}

/// Where the token is and how to log in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// What logs and errors call it.
    pub name: String,
    /// Path of the PKCS#11 module.
    pub module: PathBuf,
    /// Finds the slot by the token's label…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// …or by its serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Where the user PIN comes from.
    pub pin: PinSource,
    /// How many threads, with two sessions each, ask the token at the same time.
    #[serde(default = "one")]
    pub sessions: u16,
    /// The classes of masters that are another here than where they were made: of replicas.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<u8, KeyClass>,
    /// The generations whose masters each session uses by a copy of its own, a session object.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub session_copies: BTreeSet<u8>,
    /// What the module cannot tell of a key: neither set nor demanded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub cannot_tell: BTreeSet<Untold>,
    /// The file that says that this token refused the PIN. While it is there, nobody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<PathBuf>,
}

impl TokenConfig {
    /// The attributes that the key of a generation has on this token.
    pub fn class_of(&self, generation: &GenerationConfig) -> KeyClass {
        self.classes.get(&generation.number).copied().unwrap_or(generation.class)
    }
}

fn one() -> u16 {
    1
}

/// An attribute that some modules do not know, or keep no account of. There are no others: a module that cannot tell whether
/// a key may leave it holds no master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Untold {
    /// For which mechanisms a key is good.
    #[serde(rename = "CKA_ALLOWED_MECHANISMS")]
    AllowedMechanisms,
    /// Whether it can be copied.
    #[serde(rename = "CKA_COPYABLE")]
    Copyable,
    /// Whether it can be destroyed.
    #[serde(rename = "CKA_DESTROYABLE")]
    Destroyable,
    /// Whether it was made on this token.
    #[serde(rename = "CKA_LOCAL")]
    Local,
}

/// Where a PIN comes from; never the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinSource {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A credential of the systemd unit, by its name: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A person at the terminal, each time.
    Prompt,
}

impl PinSource {
    /// How long whoever logs in may take, where so long is usual: a person has to look the PIN up.
    pub fn patience(&self, usual: Duration) -> Duration {
        if *self == Self::Prompt { usual + PERSON } else { usual }
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Env(variable) => write!(f, "the environment variable {variable}"),
            Self::Credential(name) => write!(f, "the systemd credential {name}"),
            Self::Prompt => f.write_str("the terminal"),
        }
    }
}

/// One generation as the worker needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationConfig {
    /// 0 to 127.
    pub number: u8,
    /// Whether new keys may be made in it.
    pub issuing: bool,
    /// The check value recorded at creation: 64 hexadecimal digits.
    pub check_value: String,
    /// The attributes its key must have.
    pub class: KeyClass,
    /// The first account share it is good for.
    pub share_first: u16,
    /// The last account share it is good for.
    pub share_last: u16,
}

impl GenerationConfig {
    /// Its number, if it is one.
    pub fn generation(&self) -> Option<Generation> {
        Generation::new(self.number)
    }

    /// Whether an account lies in its range of shares.
    pub fn covers(&self, account: Account) -> bool {
        (self.share_first..=self.share_last).contains(&derivation::share(account))
    }
}

/// The attribute class of a master key, chosen when a generation is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyClass {
    /// Can never be moved, copied or changed.
    Strict,
    /// May be copied within the token, for quicker session objects.
    Copyable,
    /// May be wrapped once under a trusted key, to be moved to another token.
    Replicable,
    /// Came from another token; pinned by its check value.
    Replica,
}

impl KeyClass {
    /// The name in configuration, registry and commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Copyable => "copyable",
            Self::Replicable => "replicable",
            Self::Replica => "replica",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Strict, Self::Copyable, Self::Replicable, Self::Replica].into_iter().find(|class| class.name() == name)
    }
}

/// What a worker answers, enforced by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// Whether it makes new keys.
    pub issue: bool,
    /// Services it gives signing keys for; `*` for any.
    pub services: Vec<String>,
    /// Regions it gives signing keys for; `*` for any. IAM and STS take any region.
    pub regions: Vec<String>,
    /// Services that allow presigned URLs, so that signing keys of the last seven days are given; `*` for any.
    pub presigned: Vec<String>,
    /// Services, of those above, for which it tells whether a Signature V2 is right; `*` for any but iam and sts. None
    /// unless an operator wants it: such a signature is narrowed to no date and no region.
    pub signature_v2: Vec<String>,
    /// Signing keys, and public keys of Signature V4A, a second at the most.
    pub signing_keys_per_second: u32,
    /// Signatures V2 compared a second at the most: each costs the token an answer.
    pub signatures_v2_per_second: u32,
    /// New keys a second at the most.
    pub issues_per_second: u32,
    /// New keys a day at the most for one account. It bounds how soon somebody who asks for keys over and over is given the
    /// secret of an id that exists: in the layout `account` an account has 2^20 ids in a generation.
    pub issues_per_account_a_day: u32,
}

impl Rights {
    /// What one of so many workers may do, `at` being its number from 0 on: everything, and its part of each cap, so that all of them
    /// together have the cap.
    #[must_use]
    pub fn part(&self, at: u16, workers: u16) -> Self {
        let part = |cap: u32| cap / u32::from(workers) + u32::from(u32::from(at) < cap % u32::from(workers));
        Self {
            signing_keys_per_second: part(self.signing_keys_per_second),
            signatures_v2_per_second: part(self.signatures_v2_per_second),
            issues_per_second: part(self.issues_per_second),
            issues_per_account_a_day: part(self.issues_per_account_a_day),
            ..self.clone()
        }
    }
}

/// Nothing, with caps that are above what a token of today gives, or what people do.
impl Default for Rights {
    fn default() -> Self {
        Self {
            issue: false,
            services: Vec::new(),
            regions: Vec::new(),
            presigned: Vec::new(),
            signature_v2: Vec::new(),
            signing_keys_per_second: 200_000,
            signatures_v2_per_second: 20_000,
            issues_per_second: 5_000,
            // Far below the 2^20 ids that an account has.
            issues_per_account_a_day: 20_000,
        }
    }
}

/// Whether a list of names, `*` meaning any, holds a name.
pub fn lists(names: &[String], name: &str) -> bool {
    names.iter().any(|listed| listed == "*" || listed == name)
}

/// The prefixes, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixConfig {
    /// Of long-term keys, the issuing one first.
    pub long_term: Vec<String>,
    /// Of temporary keys, the issuing one first.
    pub temporary: Vec<String>,
}

impl PrefixConfig {
    /// The parsed prefixes; `None` unless all are four letters and the kinds are distinct.
    pub fn parse(&self) -> Option<Prefixes> {
        let parse = |list: &[String]| list.iter().map(|text| Prefix::parse(text)).collect::<Option<Vec<_>>>();
        Prefixes::new(parse(&self.long_term)?, parse(&self.temporary)?)
    }
}

impl Default for PrefixConfig {
    fn default() -> Self {
        Self { long_term: vec!["AKIA".into()], temporary: vec!["ASIA".into()] }
    }
}

/// The layout of new ids, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayoutName {
    /// The account shows in the id.
    #[default]
    Account,
    /// Nothing but the generation shows.
    Opaque,
}

impl From<LayoutName> for crate::access_key_id::Layout {
    fn from(name: LayoutName) -> Self {
        match name {
            LayoutName::Account => Self::Account,
            LayoutName::Opaque => Self::Opaque,
        }
    }
}

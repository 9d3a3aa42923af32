//! The configuration: one TOML file with environment overrides, checked at start, unknown keys refused.
//!
//! Reading it touches no other file: whether certificates, PIN and token files are there is found out by whoever opens them.

mod check;
mod environment;
mod names;
mod token;
mod words;
mod worker;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rederive_hsm::access_key_id::{Layout, Prefix};
use serde::Deserialize;

use crate::feed::PublicKey;
use crate::registry::Location;

pub use names::Names;
pub use token::{Hsm, Token};
pub use worker::{Peer, WorkerFile};

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the registry and other files of this node live.
    pub state_dir: PathBuf,
    /// What this node does.
    pub role: Role,
    /// Where accounts, users and the rows of keys are.
    pub registry: Registry,
    /// The door for users: IAM and STS.
    pub api: Api,
    /// The door for services that want requests verified.
    pub rpc: Rpc,
    /// The door for operators' automation.
    pub operator: OperatorSocket,
    /// What holds for all tokens together.
    pub hsm: Hsm,
    /// The PKCS#11 tokens that hold the master keys.
    pub token: Vec<Token>,
    /// What new keys look like.
    pub issuing: Issuing,
    /// What this node verifies.
    pub verify: Verify,
    /// The deny feed, as a verifier follows it.
    pub feed: Feed,
    /// The issuers whose deny feed a verifier follows.
    pub issuer: Vec<Issuer>,
    /// Who may use the door for services.
    pub caller: Vec<Caller>,
    /// Bounds on connections and time.
    pub limits: Limits,
    /// The audit log.
    pub audit: Audit,
    /// What is written to standard error.
    pub log: Log,
}

/// `role`: what a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Issues and verifies, for verifiers beside itself or for none.
    #[default]
    All,
    /// Issues, and verifies too; verifiers follow its deny feed.
    Issuer,
    /// Verifies, without a registry, by the deny feed of issuers.
    Verifier,
}

impl Role {
    /// Its word in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Issuer => "issuer",
            Self::Verifier => "verifier",
        }
    }
}

/// `[registry]`: where accounts, users and the rows of keys are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// `postgres://USER@HOST:PORT/DATABASE` or `sqlite:PATH`; without one, the file `registry.sqlite` in `state_dir`.
    #[serde(deserialize_with = "words::location")]
    pub url: Option<Location>,
    /// The file with the password for PostgreSQL.
    pub password_file: Option<PathBuf>,
    /// Reaches PostgreSQL on another machine without knowing for certain that it is the right one.
    pub allow_plaintext: bool,
}

/// `[feed]`: the deny feed, as a verifier follows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    /// The control keys that may sign its head.
    #[serde(deserialize_with = "words::public_keys")]
    pub public_keys: Vec<PublicKey>,
    /// Nothing is decided by denials older than this, in seconds.
    pub max_staleness_s: u32,
}

/// `[[issuer]]`: an issuer whose deny feed a verifier follows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its RPC listener, such as `https://issuer.internal:9181`.
    pub url: String,
    /// The authorities that sign its certificate, PEM. Needed with `https`.
    pub ca: Option<PathBuf>,
    /// The verifier's certificate chain, PEM (this or `token_file`, where the issuer knows its callers).
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// The file with the verifier's bearer token.
    pub token_file: Option<PathBuf>,
}

/// `[api]`: the door for users.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Address and port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Certificate chain, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Listens beyond loopback without TLS.
    pub allow_plaintext: bool,
}

/// `[operator]`: the door for operators' automation, on this machine alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperatorSocket {
    /// The path of its Unix socket; none is the default.
    pub socket: Option<PathBuf>,
    /// The users whose processes it answers.
    pub users: Vec<Peer>,
}

/// `[rpc]`: the door for services.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rpc {
    /// Address and port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Certificate chain, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// The authorities that sign client certificates, PEM.
    pub client_ca: Option<PathBuf>,
    /// Listens beyond loopback without TLS.
    pub allow_plaintext: bool,
    /// What whoever reaches the listener is granted, where there is no `[[caller]]`.
    pub anyone: Anyone,
}

/// `[rpc] anyone`: a listener without callers is on loopback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Anyone {
    /// Whether they may be given signing keys.
    pub want_signing_key: bool,
    /// Whether refusals are explained to them.
    pub explain: bool,
}

/// `[issuing]`: what new access keys look like.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Issuing {
    /// `account` or `opaque`.
    #[serde(deserialize_with = "words::layout")]
    pub layout: Layout,
    /// The four letters in front of an id.
    pub prefixes: IssuingPrefixes,
}

/// `[issuing] prefixes`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuingPrefixes {
    /// Of keys that last until they are deleted.
    #[serde(deserialize_with = "words::prefix")]
    pub long_term: Prefix,
    /// Of keys that come with a session token.
    #[serde(deserialize_with = "words::prefix")]
    pub temporary: Prefix,
}

/// `[verify]`: what this node verifies.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// Service names of credential scopes.
    pub services: Names,
    /// Region names of credential scopes.
    pub regions: Names,
    /// What to do with a well-formed key that the registry does not know.
    pub unknown_keys: UnknownKeys,
    /// Services whose requests may also be signed with Signature V2, which is legacy; each by its name.
    pub signature_v2: Names,
    /// Names by which S3 is known, for Signature V2 alone: it does not cover the host, in which a bucket may stand.
    #[serde(deserialize_with = "words::hosts")]
    pub s3_hosts: Vec<String>,
}

/// `[verify] unknown_keys`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownKeys {
    /// A key that is not in the registry is refused.
    #[default]
    Refuse,
    /// It is accepted as somebody's of its account: for a verifier, which has no registry.
    Accept,
}

/// `[[caller]]`: a service that may ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// Our name for it, in logs.
    pub name: String,
    /// The DNS name or IP address in its client certificate (this or `token_file`).
    pub mtls_san: Option<String>,
    /// The file with its bearer token (this or `mtls_san`).
    pub token_file: Option<PathBuf>,
    /// The services it may have verified.
    #[serde(default)]
    pub services: Names,
    /// The regions it may have verified.
    #[serde(default)]
    pub regions: Names,
    /// Whether it may be given signing keys.
    #[serde(default)]
    pub want_signing_key: bool,
    /// Whether it may follow the deny feed: for verifiers.
    #[serde(default)]
    pub deny_feed: bool,
    /// Whether refusals are explained to it.
    #[serde(default)]
    pub explain: bool,
    /// Answers of the HSM that are in no cache, a second at the most; else `[hsm] per_caller`.
    pub hsm_per_second: Option<u32>,
}

/// `[limits]`: bounds on connections and time, the same for both doors.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at a time on each door; more wait.
    pub connections: usize,
    /// A connection is closed when the next request head takes longer, in milliseconds.
    pub head_timeout_ms: u64,
    /// A request is answered 408 when its body takes longer, in milliseconds.
    pub body_timeout_ms: u64,
    /// How long open requests may go on after SIGTERM, in milliseconds.
    pub drain_ms: u64,
}

/// `[audit]`: who did what, for auditors.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Where it goes; `None` is the file for issuers and nowhere for verifiers, which keep nothing on disk but their copy.
    pub sink: Option<AuditSink>,
    /// The file; `None` for `audit.log` in the state directory.
    pub file: Option<PathBuf>,
    /// The socket of syslog; `None` for the usual ones.
    pub syslog_socket: Option<PathBuf>,
    /// Questions to the HSM about keys that are in no cache: so many are written a minute for each caller.
    pub derivations: u32,
    /// Entries after which a checkpoint is written.
    pub checkpoint_every: u32,
    /// Seconds after which one is written, if there are entries.
    pub checkpoint_s: u32,
}

/// `[audit] sink`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditSink {
    /// A file that only ever grows.
    File,
    /// Standard output.
    Stdout,
    /// The local syslog, or journald.
    Syslog,
    /// Nowhere.
    Off,
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// From which level on.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

/// `[log] level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need one soon.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// One line a request.
    Debug,
    /// Everything.
    Trace,
}

/// `[log] format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration was refused: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not TOML, or a key is unknown, missing or of the wrong type.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// An override in the environment cannot be used.
    #[error("environment variable {name}: {problem}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The settings do not fit together.
    #[error("{at}: {problem}")]
    Check {
        /// Section and key.
        at: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Config {
    /// Reads a file, applies the `REDERIVE_…` variables of this process's environment, and checks the outcome.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, None)
    }

    /// The same, with a role that goes before those of file and environment.
    pub fn load_with(path: &Path, role: Option<Role>) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config = Self::read(&text, environment::of_this_process()?)?;
        config.role = role.unwrap_or(config.role);
        check::check(&config)?;
        Ok(config)
    }

    /// Parses TOML, applies overrides given as (variable, value), and checks the outcome.
    pub fn parse(text: &str, overrides: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let config = Self::read(text, overrides)?;
        check::check(&config)?;
        Ok(config)
    }

    fn read(text: &str, overrides: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text)?;
        for (name, value) in overrides {
            environment::apply(&mut config, &name, &value)?;
        }
        Ok(config)
    }
}

impl Audit {
    /// Where it goes, for a node of that role.
    pub fn sink_of(&self, role: Role) -> AuditSink {
        match (self.sink, role) {
            (Some(sink), _) => sink,
            (None, Role::All | Role::Issuer) => AuditSink::File,
            (None, Role::Verifier) => AuditSink::Off,
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: loopback(9180), tls_cert: None, tls_key: None, allow_plaintext: false }
    }
}

impl Default for Rpc {
    fn default() -> Self {
        Self {
            listen: loopback(9181),
            tls_cert: None,
            tls_key: None,
            client_ca: None,
            allow_plaintext: false,
            anyone: Anyone::default(),
        }
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self { public_keys: Vec::new(), max_staleness_s: 60 }
    }
}

impl Default for Issuing {
    fn default() -> Self {
        Self { layout: Layout::Account, prefixes: IssuingPrefixes::default() }
    }
}

impl Default for IssuingPrefixes {
    fn default() -> Self {
        let prefix = |text| Prefix::parse(text).expect("four letters");
        Self { long_term: prefix("AKIA"), temporary: prefix("ASIA") }
    }
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            services: Names::Any,
            regions: Names::Any,
            unknown_keys: UnknownKeys::Refuse,
            signature_v2: Names::default(),
            s3_hosts: Vec::new(),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            sink: None,
            file: None,
            syslog_socket: None,
            derivations: 60,
            checkpoint_every: 1000,
            checkpoint_s: 3600,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, head_timeout_ms: 30_000, body_timeout_ms: 30_000, drain_ms: 8_000 }
    }
}

//! `[hsm]` and `[[token]]`: the tokens that hold the masters, and the workers that ask them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rederive_hsm::config::{KeyClass, PinSource, TokenConfig, Untold};
use rederive_hsm::pkcs11::LATCH_PREFIX;
use serde::Deserialize;

use super::Config;

/// How long a caller waits for the HSM where nothing is said, in milliseconds.
const DEADLINE_MS: u64 = 250;

/// `[hsm]`: what holds for all tokens together.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hsm {
    /// After how long a caller is told that the HSM cannot answer, in milliseconds. 250, or that of the only token.
    pub deadline_ms: Option<u64>,
    /// Callers that may wait in each lane (verification, issuing); more are told at once.
    pub queue: usize,
    /// Answers that are in no cache, a second at the most, for one account.
    pub per_account: u32,
    /// The same for one caller of the door for services, where its own table does not say.
    pub per_caller: u32,
    /// On how many tokens a generation's check value must have been computed before keys are made in it.
    pub min_replicas: usize,
}

impl Default for Hsm {
    fn default() -> Self {
        Self { deadline_ms: None, queue: 4096, per_account: 10_000, per_caller: 20_000, min_replicas: 1 }
    }
}

/// `[[token]]`: a PKCS#11 token, by its module or by the socket of a worker of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Our name for it, in logs and metrics.
    pub name: String,
    /// The PKCS#11 library (this or `socket`).
    pub module: Option<PathBuf>,
    /// The socket of a worker of its own, which has all else in a configuration of its own (this or `module`).
    pub socket: Option<PathBuf>,
    /// Finds the token by its label (this or `serial`).
    pub label: Option<String>,
    /// Finds the token by its serial number (this or `label`).
    pub serial: Option<String>,
    /// The file with the user PIN (one of these four).
    pub pin_file: Option<PathBuf>,
    /// The environment variable with it.
    pub pin_env: Option<String>,
    /// The credential of the systemd unit with it, by its name.
    pub pin_credential: Option<String>,
    /// Whether a person is asked for it at the terminal, each time that a worker starts.
    #[serde(default)]
    pub pin_prompt: bool,
    /// Threads of a worker that ask the token, with two sessions each.
    #[serde(default = "one")]
    pub sessions: u16,
    /// Worker processes. Each loads the module and logs in.
    #[serde(default = "one")]
    pub workers: u16,
    /// Its share of the requests, compared with the other tokens'.
    #[serde(default = "one")]
    pub weight: u16,
    /// The generations whose masters came here from another token.
    #[serde(default)]
    pub replicas: Vec<u8>,
    /// The generations whose masters each session of a worker uses by a copy of its own, a session object.
    #[serde(default)]
    pub session_copies: BTreeSet<u8>,
    /// Whether other nodes use the worker behind the socket as well, whose requests are no alarm then.
    #[serde(default)]
    pub shared: bool,
    /// Attributes of keys that its module does not know, or keeps no account of: neither set nor demanded.
    #[serde(default)]
    pub cannot_tell: BTreeSet<Untold>,
    /// Variables set for the worker that loads the module, such as `SOFTHSM2_CONF`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// A call that takes longer ends the worker, and another one is asked, in milliseconds.
    pub deadline_ms: Option<u64>,
}

/// More sessions only add queueing on SoftHSM; a network HSM takes more.
const fn one() -> u16 {
    1
}

impl Token {
    /// The token as a worker is told of it, which keeps the latch of a refused PIN in `state_dir`.
    pub fn to_worker(&self, state_dir: &Path) -> Result<TokenConfig, String> {
        let Some(module) = &self.module else {
            return Err(format!(
                "[[token]] {}: its worker has a user of its own. Run this as somebody who may use the token, with a configuration \
                 that names its module and PIN",
                self.name
            ));
        };
        let [pin] = <[PinSource; 1]>::try_from(self.pin_sources())
            .map_err(|_| format!("[[token]] {}: the PIN must have one source", self.name))?;
        Ok(TokenConfig {
            name: self.name.clone(),
            module: module.clone(),
            label: self.label.clone(),
            serial: self.serial.clone(),
            pin,
            sessions: self.sessions,
            classes: self.replicas.iter().map(|generation| (*generation, KeyClass::Replica)).collect(),
            session_copies: self.session_copies.clone(),
            cannot_tell: self.cannot_tell.clone(),
            latch: Some(self.latch(state_dir)),
        })
    }

    /// Where its PIN comes from. There must be one place.
    pub fn pin_sources(&self) -> Vec<PinSource> {
        let file = self.pin_file.clone().map(PinSource::File);
        let variable = self.pin_env.clone().map(PinSource::Env);
        let credential = self.pin_credential.clone().map(PinSource::Credential);
        let prompt = self.pin_prompt.then_some(PinSource::Prompt);
        [file, variable, credential, prompt].into_iter().flatten().collect()
    }

    /// The file that says that this token refused the PIN.
    pub fn latch(&self, state_dir: &Path) -> PathBuf {
        let plain =
            |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_string() } else { format!("%{:x}", c as u32) };
        let name: String = self.name.chars().map(plain).collect();
        state_dir.join(format!("{LATCH_PREFIX}{name}"))
    }
}

impl Config {
    /// After how long a caller is told that the HSM cannot answer, in milliseconds.
    pub fn hsm_deadline_ms(&self) -> u64 {
        let of_the_only_token = match self.token.as_slice() {
            [token] => token.deadline_ms,
            _ => None,
        };
        self.hsm.deadline_ms.or(of_the_only_token).unwrap_or(DEADLINE_MS)
    }

    /// After how long a worker of a token is given up, in milliseconds: where there is another worker, soon enough for that
    /// one to answer within the deadline of the caller.
    pub fn token_deadline_ms(&self, token: &Token) -> u64 {
        let whole = self.hsm_deadline_ms();
        let workers: u32 = self.token.iter().map(|token| u32::from(token.workers)).sum();
        let share = if workers > 1 { (whole * 2 / 5).max(1) } else { whole };
        token.deadline_ms.unwrap_or(share)
    }
}

//! Administration: a separate, short-lived worker that an operator's command starts, never `serve`.

use serde::{Deserialize, Serialize};

use super::harden;
use crate::access_key_id::Generation;
use crate::config::{GenerationConfig, KeyClass, TokenConfig};
use crate::pkcs11::{Token, TokenError, TokenSession, ceremony, control_key, generate, hex, initialise};

/// What an operator asks of a token. (Tagged from outside: the form with the tag within cannot hold maps of numbers.)
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum AdminRequest {
    /// Initialise an empty slot as a token with this label and PIN: for SoftHSM, in `dev` and in tests.
    Initialise {
        /// The token it becomes.
        token: TokenConfig,
    },
    /// Generate the master of the first generation from this one on of which the token holds no key.
    Generate {
        /// The token.
        token: TokenConfig,
        /// 0 to 127.
        generation: u8,
        /// The attributes it gets.
        class: KeyClass,
    },
    /// Tell the public half of the control key, made now if the token has none.
    ControlKey {
        /// The token.
        token: TokenConfig,
    },
    /// Load, log in, and check every attribute and check value.
    Examine {
        /// The token.
        token: TokenConfig,
        /// What was recorded of its masters.
        generations: Vec<GenerationConfig>,
    },
    /// One step of a ceremony.
    Ceremony {
        /// The token.
        token: TokenConfig,
        /// The step.
        step: ceremony::Step,
    },
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "outcome")]
pub enum AdminAnswer {
    /// The key is there; its check value in hexadecimal.
    Generated {
        /// 0 to 127.
        generation: u8,
        /// 64 digits.
        check_value: String,
    },
    /// The control key is there.
    ControlKey {
        /// Its public half: 64 hexadecimal digits.
        public_key: String,
    },
    /// The token is there.
    Initialised,
    /// What is there is as recorded.
    Examined {
        /// Generations whose masters it does not hold.
        missing: Vec<u8>,
    },
    /// The step is done.
    Ceremony {
        /// What it has given.
        done: ceremony::Done,
    },
    /// It did not work; nothing was left half-done.
    Failed {
        /// For the operator.
        reason: String,
        /// Whether the token refused the PIN.
        pin_refused: bool,
    },
}

/// Carries out one request.
pub fn run_admin(request: AdminRequest) -> AdminAnswer {
    harden::harden();
    carry_out(request)
        .unwrap_or_else(|error| AdminAnswer::Failed { pin_refused: error.pin_refused(), reason: error.to_string() })
}

fn carry_out(request: AdminRequest) -> Result<AdminAnswer, TokenError> {
    match request {
        AdminRequest::Initialise { token } => initialise(&token).map(|()| AdminAnswer::Initialised),
        AdminRequest::Generate { token: config, generation, class } => {
            let Some(generation) = Generation::new(generation) else {
                return Ok(AdminAnswer::Failed {
                    reason: format!("{generation} is not a generation: they go from 0 to 127"),
                    pin_refused: false,
                });
            };
            let token = Token::open(&config)?;
            let (generation, check_value) = generate(&token, generation, class)?;
            token.finalize()?;
            Ok(AdminAnswer::Generated { generation: generation.number(), check_value: hex(&check_value) })
        }
        AdminRequest::ControlKey { token: config } => {
            let token = Token::open(&config)?;
            let public_key = hex(&control_key(&token)?);
            token.finalize()?;
            Ok(AdminAnswer::ControlKey { public_key })
        }
        AdminRequest::Examine { token: config, generations } => {
            let token = std::sync::Arc::new(Token::open(&config)?);
            let held = TokenSession::open(token.clone(), generations.clone())?.holds();
            let is_missing = |one: &&GenerationConfig| one.generation().is_none_or(|number| !held.contains(&number));
            let missing = generations.iter().filter(is_missing).map(|one| one.number).collect();
            if let Ok(token) = std::sync::Arc::try_unwrap(token) {
                token.finalize()?;
            }
            Ok(AdminAnswer::Examined { missing })
        }
        AdminRequest::Ceremony { token, step } => {
            ceremony::carry_out(&token, step).map(|done| AdminAnswer::Ceremony { done })
        }
    }
}

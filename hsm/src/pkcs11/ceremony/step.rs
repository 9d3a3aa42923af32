//! The steps of a ceremony as an operator's command asks for them, each of a process of its own.

use serde::{Deserialize, Serialize};

use super::super::{Token, TokenError, hex, unhex};
use super::{
    Attempt, TokenDescription, WrappingKey, abandon, accept, attack, clear, problem, receive, seal, send, trust,
};
use crate::access_key_id::Generation;
use crate::config::{PinSource, TokenConfig};

/// One step on one token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// On the token that receives: make the wrapping key.
    Receive,
    /// On the origin, by its security officer: let that key wrap.
    Trust {
        /// Where the PIN of the security officer comes from.
        officer: PinSource,
        /// The public half.
        key: WrappingKey,
    },
    /// On the origin: generate the master and wrap it.
    Send {
        /// The first generation that is free.
        from: u8,
    },
    /// On the token that receives: unwrap the master and seal it.
    Accept(Master),
    /// On the origin: seal the master.
    Seal(Master),
    /// On either: try what somebody with the PIN would.
    Attack {
        /// The generation.
        generation: u8,
    },
    /// On either, at the end: destroy the wrapping key.
    Clear,
    /// On either, when it was broken off: destroy the master that nothing depends on yet, and the wrapping key.
    Abandon {
        /// The generation, if it came so far.
        generation: Option<u8>,
    },
}

/// A master that travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Master {
    /// 0 to 127.
    pub generation: u8,
    /// 64 hexadecimal digits.
    pub check_value: String,
    /// Wrapped, in hexadecimal: only the token that receives can open it.
    pub wrapped: String,
}

/// What a step has given.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "did")]
pub enum Done {
    /// The wrapping key is there.
    Received {
        /// The token that receives.
        token: TokenDescription,
        /// The public half.
        key: WrappingKey,
    },
    /// The master is made, and on its way.
    Sent {
        /// The origin.
        token: TokenDescription,
        /// What is on its way.
        master: Master,
    },
    /// What was tried, and how it went.
    Attacked {
        /// In their order.
        attempts: Vec<Attempt>,
    },
    /// There is nothing to tell.
    Done,
}

/// Carries out one step.
pub fn carry_out(config: &TokenConfig, step: Step) -> Result<Done, TokenError> {
    if let Step::Trust { officer, key } = &step {
        return trust(config, officer, key).map(|()| Done::Done);
    }
    let token = Token::open(config)?;
    let done = with_user(&token, step)?;
    token.finalize()?;
    Ok(done)
}

fn with_user(token: &Token, step: Step) -> Result<Done, TokenError> {
    let generation = |number| Generation::new(number).ok_or_else(|| problem(token.name(), "no such generation"));
    let bytes = |text: &str| unhex(text).ok_or_else(|| problem(token.name(), "not hexadecimal"));
    let check_value = |master: &Master| {
        let value = bytes(&master.check_value)?;
        value.try_into().map_err(|_| problem(token.name(), "a check value has 32 bytes"))
    };
    match step {
        Step::Receive => Ok(Done::Received { token: token.describe()?, key: receive(token)? }),
        Step::Send { from } => {
            let (generation, check_value, wrapped) = send(token, generation(from)?)?;
            let (check_value, wrapped) = (hex(&check_value), hex(&wrapped));
            let master = Master { generation: generation.number(), check_value, wrapped };
            Ok(Done::Sent { token: token.describe()?, master })
        }
        Step::Accept(master) => {
            accept(token, generation(master.generation)?, &bytes(&master.wrapped)?, &check_value(&master)?)?;
            Ok(Done::Done)
        }
        Step::Seal(master) => {
            seal(token, generation(master.generation)?, &check_value(&master)?)?;
            Ok(Done::Done)
        }
        Step::Attack { generation: number } => Ok(Done::Attacked { attempts: attack(token, generation(number)?)? }),
        Step::Clear => clear(token).map(|()| Done::Done),
        Step::Abandon { generation: number } => {
            abandon(token, number.map(generation).transpose()?)?;
            Ok(Done::Done)
        }
        Step::Trust { .. } => Err(problem(token.name(), "this step is the security officer's")),
    }
}

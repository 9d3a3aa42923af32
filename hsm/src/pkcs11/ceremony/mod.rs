//! A master that lives on several tokens: made on one, moved to another under a key that only the other can open, and sealed
//! on both. Its plaintext is on no host at any time.
//!
//! 1. `receive`, on the token that receives: an RSA pair, made there, whose private half never leaves it;
//! 2. `trust`, on the origin: the security officer says that the public half may wrap keys. Nobody else can, so the user
//!    alone cannot let the master out (`CKA_WRAP_WITH_TRUSTED`);
//! 3. `send`, on the origin: the master is generated, and wrapped under that half with RSA-OAEP;
//! 4. `accept`, on the token that receives: unwrapped, its check value compared, and sealed;
//! 5. `seal`, on the origin: no longer extractable, and sealed;
//! 6. `attack`, on both: what somebody with the PIN would try, all of which must be refused;
//! 7. `clear`, on both: the wrapping keys are destroyed.
//!
//! *Sealed* means: a copy that cannot be modified stands in the place of the key, which is destroyed. A key that is merely no
//! longer extractable can still be given `CKA_DERIVE`, and then be derived from, byte by byte.

mod attacks;
mod moving;
mod step;
mod wrapping_key;

use cryptoki::error::Error;
use cryptoki::session::UserType;

pub use attacks::Attempt;
pub use step::{Done, Master, Step, carry_out};
pub use wrapping_key::WrappingKey;

use attacks::attack;
use moving::{abandon, accept, seal, send};
use wrapping_key::{clear, receive, trust};

use super::{Token, TokenError, call, pin};
use crate::config::{PinSource, TokenConfig};

/// What a token says of itself, for the transcript.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenDescription {
    /// `CK_TOKEN_INFO.label`.
    pub label: String,
    /// `CK_TOKEN_INFO.serialNumber`.
    pub serial: String,
    /// `CK_TOKEN_INFO.manufacturerID`.
    pub manufacturer: String,
    /// `CK_TOKEN_INFO.model`.
    pub model: String,
    /// `CK_TOKEN_INFO.firmwareVersion`.
    pub firmware: String,
}

impl Token {
    /// What it says of itself.
    pub fn describe(&self) -> Result<TokenDescription, TokenError> {
        let info = self.module.get_token_info(self.slot).map_err(|error| call(&self.name, error))?;
        let text = |field: &str| field.trim_end().to_owned();
        Ok(TokenDescription {
            label: text(info.label()),
            serial: text(info.serial_number()),
            manufacturer: text(info.manufacturer_id()),
            model: text(info.model()),
            firmware: info.firmware_version().to_string(),
        })
    }
}

/// Something that a ceremony must not go on with.
fn problem(token: &str, problem: impl Into<String>) -> TokenError {
    TokenError::Ceremony { token: token.to_owned(), problem: problem.into() }
}

/// Logs the security officer in, by one try: officers are locked out as well.
fn log_in_officer(
    config: &TokenConfig,
    session: &cryptoki::session::Session,
    officer: &PinSource,
) -> Result<(), TokenError> {
    let pin = pin::read(officer, &config.name, "the security officer of token")?;
    match session.login(UserType::So, Some(&pin)) {
        Ok(()) => Ok(()),
        Err(Error::Pkcs11(rv, _)) => {
            Err(problem(&config.name, format!("it does not take the PIN of the security officer ({rv:?})")))
        }
        Err(error) => Err(call(&config.name, error)),
    }
}

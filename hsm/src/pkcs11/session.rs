//! HMAC on a session of the token, with every generation's key found, checked and known to be the right one.

use std::collections::HashMap;
use std::sync::Arc;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::control::ControlKey;
use super::{Reaction, Token, TokenError, call, hex};
use crate::access_key_id::Generation;
use crate::config::GenerationConfig;
use crate::derivation::{Purpose, subkey_message};
use crate::secret::Secret32;
use crate::worker::{MasterKeys, PublicKey, Signature};

/// One session. It replaces itself when it is lost; what it cannot mend is an error.
pub struct TokenSession {
    token: Arc<Token>,
    generations: Vec<GenerationConfig>,
    open: Option<Open>,
}

struct Open {
    session: Session,
    keys: HashMap<Generation, ObjectHandle>,
    /// Found when it is first asked for: a verifier's worker never is.
    control: Option<ControlKey>,
}

impl TokenSession {
    /// Opens a session, finds the master of each generation, checks its attributes and its check value; copies it first, where it
    /// is to be used by a copy.
    pub fn open(token: Arc<Token>, generations: Vec<GenerationConfig>) -> Result<Self, TokenError> {
        let mut session = Self { token, generations, open: None };
        session.reopen()?;
        Ok(session)
    }

    /// The generations whose masters the token holds.
    pub fn holds(&self) -> Vec<Generation> {
        self.open.as_ref().map(|open| open.keys.keys().copied().collect()).unwrap_or_default()
    }

    fn reopen(&mut self) -> Result<&Open, TokenError> {
        self.open = None;
        let session = self.token.open_session()?;
        let mut keys = HashMap::new();
        let mut missing = None;
        for config in &self.generations {
            let Some(generation) = config.generation() else { continue };
            let key = match self.token.key_to_sign_with(&session, generation, config) {
                Err(error @ TokenError::Master { found: 0, .. }) => {
                    missing = Some(error);
                    continue;
                }
                found => found?,
            };
            self.token.uses().count(generation, &subkey_message(Purpose::CheckValue));
            let check_value = sign(self.token.name(), &session, key, &subkey_message(Purpose::CheckValue))?;
            let found = hex(check_value.expose());
            if found != config.check_value {
                return Err(TokenError::check_value(self.token.name(), generation, &found, &config.check_value));
            }
            keys.insert(generation, key);
        }
        // A token may lack a generation that was made on another. One that has none of them is not ours.
        if let Some(missing) = missing.filter(|_| keys.is_empty()) {
            return Err(missing);
        }
        Ok(self.open.insert(Open { session, keys, control: None }))
    }

    fn try_sign_head(&mut self, message: &[u8]) -> Result<(PublicKey, Signature), TokenError> {
        let name = self.token.name().to_owned();
        if self.open.is_none() {
            self.reopen()?;
        }
        let open = self.open.as_mut().expect("opened above");
        let control = match open.control {
            Some(control) => Ok(control),
            None => ControlKey::find(&name, &open.session),
        };
        let answer = control.and_then(|control| {
            open.control = Some(control);
            control.sign(&name, &open.session, message)
        });
        if answer.as_ref().is_err_and(|error| !matches!(error, TokenError::NoControlKey { .. })) {
            // The operation may still be active on it.
            self.open = None;
        }
        answer
    }

    fn try_hmac(&mut self, generation: Generation, message: &[u8]) -> Result<Secret32, TokenError> {
        let (name, uses) = (self.token.name().to_owned(), self.token.uses().clone());
        let open = match &self.open {
            Some(open) => open,
            None => self.reopen()?,
        };
        let key = open.keys.get(&generation).copied().ok_or_else(|| TokenError::Master {
            token: name.clone(),
            found: 0,
            id: hex(&super::cka_id(generation)),
            generation,
        })?;
        // Counted before: a call that fails may have had its effect.
        uses.count(generation, message);
        let answer = sign(&name, &open.session, key, message);
        if answer.is_err() {
            // The operation may still be active on it.
            self.open = None;
        }
        answer
    }
}

impl MasterKeys for TokenSession {
    /// Tries once more on a new session when only the session was lost: an HMAC has no effect, so repeating is safe.
    fn hmac(&mut self, generation: Generation, message: &[u8]) -> Result<Secret32, TokenError> {
        match self.try_hmac(generation, message) {
            Err(error) if error.reaction() == Reaction::NewSession => self.try_hmac(generation, message),
            other => other,
        }
    }

    fn sign_head(&mut self, message: &[u8]) -> Result<(PublicKey, Signature), TokenError> {
        self.try_sign_head(message)
    }
}

/// `CKM_SHA256_HMAC`, the output moved into a secret at once.
pub(super) fn sign(token: &str, session: &Session, key: ObjectHandle, message: &[u8]) -> Result<Secret32, TokenError> {
    let mut output = session.sign(&Mechanism::Sha256Hmac, key, message).map_err(|error| call(token, error))?;
    let length = output.len();
    // The buffer was made of zeros: a call that says it succeeded and has written nothing.
    if output.iter().all(|byte| *byte == 0) {
        return Err(TokenError::Length { token: token.to_owned(), length: 0 });
    }
    Secret32::take_slice(&mut output).ok_or_else(|| TokenError::Length { token: token.to_owned(), length })
}

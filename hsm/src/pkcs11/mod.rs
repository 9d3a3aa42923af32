//! The token: opening the module, logging in, finding masters, and HMAC on a session. The only code that calls PKCS#11.
//!
//! Two rules of the standard shape it. A session on which a call failed is closed, never used again: the operation may
//! still be active on it. And nobody logs out: that ends the login of every session of the process.

mod attributes;
pub mod ceremony;
mod control;
mod generate;
mod initialise;
mod latch;
mod pin;
mod session;

pub use control::control_key;
pub use generate::generate;
pub use initialise::initialise;
pub use latch::LATCH_PREFIX;
pub use session::TokenSession;

use std::sync::Arc;

use attributes::Stands;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;

use crate::access_key_id::Generation;
use crate::config::{GenerationConfig, KeyClass, TokenConfig};
use crate::tally::Uses;

/// Whose PIN logs in.
const USER: &str = "token";

/// What is wrong with the token, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module could not be loaded or initialised.
    #[error(
        "token '{token}': cannot load the PKCS#11 module {module}: {reason}. Check the path ('module') and that the package that ships it is installed"
    )]
    Module {
        /// Name in the configuration.
        token: String,
        /// Path of the module.
        module: String,
        /// What the loader said.
        reason: String,
    },
    /// No slot, or more than one, holds the token that was named.
    #[error("token '{token}': {found} initialised tokens match {wanted}; the module shows: {seen}")]
    Slot {
        /// Name in the configuration.
        token: String,
        /// How many match.
        found: usize,
        /// What was looked for.
        wanted: String,
        /// Labels and serials that are there.
        seen: String,
    },
    /// The PIN could not be read.
    #[error("token '{token}': cannot read the PIN from {place}: {reason}")]
    PinSource {
        /// Name in the configuration.
        token: String,
        /// File or variable.
        place: String,
        /// Why not.
        reason: String,
    },
    /// The token refused the PIN. Not tried again: most tokens lock after three tries.
    #[error(
        "token '{token}' refused the PIN ({reason}); it is not tried again, because tokens lock after a few tries: mend the PIN, then run 'rederive token unlatch' and restart"
    )]
    PinRefused {
        /// Name in the configuration.
        token: String,
        /// The return value.
        reason: String,
    },
    /// Nobody can tell whether the PIN was refused before.
    #[error("cannot read {path}, which would tell that the PIN was refused before: {reason}")]
    Latch {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The master of a generation is not there, or is there twice.
    #[error("token '{token}': {found} keys with CKA_ID {id} (generation {generation}); exactly one must be there")]
    Master {
        /// Name in the configuration.
        token: String,
        /// How many there are.
        found: usize,
        /// The CKA_ID in hexadecimal.
        id: String,
        /// The generation.
        generation: Generation,
    },
    /// Every number is used.
    #[error("token '{token}': it holds a key of every generation from {from} to 127; numbers are never used again")]
    NoFreeGeneration {
        /// Name in the configuration.
        token: String,
        /// The first that was looked at.
        from: Generation,
    },
    /// An attribute of a master is not what its class demands.
    #[error(
        "token '{token}': the key of generation {generation} has {attribute} = {found}, but class '{class}' demands {demanded}"
    )]
    Attribute {
        /// Name in the configuration.
        token: String,
        /// The generation.
        generation: Generation,
        /// `CKA_…`
        attribute: &'static str,
        /// What the token says.
        found: String,
        /// What it must be.
        demanded: String,
        /// The class recorded for the generation.
        class: &'static str,
    },
    /// The configuration wants a master copied to session objects, and it cannot be.
    #[error(
        "token '{token}': 'session_copies' names generation {generation}, whose key cannot be copied ({reason}): it is for keys of class 'copyable', made by 'rederive generation create --class copyable'"
    )]
    Copy {
        /// Name in the configuration.
        token: String,
        /// The generation.
        generation: Generation,
        /// Its class, or what the token said.
        reason: String,
    },
    /// The check value is not the recorded one: another key.
    #[error(
        "token '{token}': the check value of generation {generation} is {found}…, but {recorded}… was recorded when it was created: this is another key"
    )]
    CheckValue {
        /// Name in the configuration.
        token: String,
        /// The generation.
        generation: Generation,
        /// First 8 bytes of what the token computes, in hexadecimal.
        found: String,
        /// First 8 bytes of what was recorded.
        recorded: String,
    },
    /// The control key is not there.
    #[error("token '{token}' has no control key: 'rederive feed key' makes it")]
    NoControlKey {
        /// Name in the configuration.
        token: String,
    },
    /// The control key is not as it must be.
    #[error("token '{token}', control key: {problem}")]
    ControlKey {
        /// Name in the configuration.
        token: String,
        /// What is wrong.
        problem: String,
    },
    /// A ceremony must not go on.
    #[error("token '{token}': {problem}")]
    Ceremony {
        /// Name in the configuration.
        token: String,
        /// What is wrong.
        problem: String,
    },
    /// A call failed.
    #[error("token '{token}': {error}")]
    Call {
        /// Name in the configuration.
        token: String,
        /// Function and return value.
        error: Error,
    },
    /// An answer of the wrong length.
    #[error("token '{token}': an HMAC of {length} bytes instead of 32")]
    Length {
        /// Name in the configuration.
        token: String,
        /// What came.
        length: usize,
    },
}

/// How to react to an error of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The session is lost: open another one.
    NewSession,
    /// The connection to the token is lost, key handles with it: start a new process.
    NewProcess,
}

impl TokenError {
    /// Another check value than was recorded, both in hexadecimal; 8 bytes of each are shown.
    pub(crate) fn check_value(token: &str, generation: Generation, found: &str, recorded: &str) -> Self {
        let short = |text: &str| text.chars().take(16).collect();
        Self::CheckValue { token: token.to_owned(), generation, found: short(found), recorded: short(recorded) }
    }

    /// Whether the PIN was refused.
    pub fn pin_refused(&self) -> bool {
        matches!(self, Self::PinRefused { .. })
    }

    /// What an error during use calls for.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Length { .. }
            | Self::ControlKey { .. }
            | Self::NoControlKey { .. }
            | Self::Call {
                error:
                    Error::Pkcs11(
                        RvError::SessionHandleInvalid
                        | RvError::SessionClosed
                        | RvError::OperationActive
                        | RvError::OperationNotInitialized
                        | RvError::FunctionFailed
                        | RvError::FunctionCanceled
                        | RvError::BufferTooSmall,
                        _,
                    ),
                ..
            } => Reaction::NewSession,
            _ => Reaction::NewProcess,
        }
    }
}

/// A loaded module with its token found and the user logged in.
pub struct Token {
    name: String,
    config: TokenConfig,
    module: Pkcs11,
    slot: Slot,
    uses: Arc<Uses>,
    /// Never used for an operation: while it is open, the login stays.
    _login: std::sync::Mutex<Session>,
}

impl Token {
    /// Loads the module, finds the token, logs in once.
    pub fn open(config: &TokenConfig) -> Result<Self, TokenError> {
        latch::check(config)?;
        if !config.cannot_tell.is_empty() {
            tracing::warn!(token = config.name, cannot_tell = ?config.cannot_tell, "the module cannot tell all of its keys");
        }
        let module = load(config)?;
        let slot = find_slot(config, &module)?;
        let login = module.open_ro_session(slot).map_err(|error| call(&config.name, error))?;
        log_in(config, &login)?;
        let (name, config) = (config.name.clone(), config.clone());
        Ok(Self { name, config, module, slot, uses: Arc::default(), _login: std::sync::Mutex::new(login) })
    }

    /// What the configuration calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its masters were used for by this process.
    pub fn uses(&self) -> &Arc<Uses> {
        &self.uses
    }

    /// Finds the master of a generation by its CKA_ID and checks every attribute of the class that it has on this token.
    fn find_master(
        &self,
        session: &Session,
        generation: Generation,
        config: &GenerationConfig,
    ) -> Result<ObjectHandle, TokenError> {
        self.find_key(session, generation, self.config.class_of(config))
    }

    /// On the token: copies of it in sessions have its CKA_ID as well.
    fn find_key(&self, session: &Session, generation: Generation, class: KeyClass) -> Result<ObjectHandle, TokenError> {
        let on_token = Attribute::Token(true);
        let template = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Id(cka_id(generation)), on_token];
        let found = session.find_objects(&template).map_err(|error| call(&self.name, error))?;
        let &[key] = found.as_slice() else {
            return Err(TokenError::Master {
                token: self.name.clone(),
                found: found.len(),
                id: hex(&cka_id(generation)),
                generation,
            });
        };
        attributes::check(self, session, key, generation, class, Stands::OnToken)?;
        Ok(key)
    }

    /// The key that a session signs with: the master itself or, where the configuration says so, a copy of it that ends with the
    /// session.
    fn key_to_sign_with(
        &self,
        session: &Session,
        generation: Generation,
        config: &GenerationConfig,
    ) -> Result<ObjectHandle, TokenError> {
        let master = self.find_master(session, generation, config)?;
        if !self.config.session_copies.contains(&generation.number()) {
            return Ok(master);
        }
        let class = self.config.class_of(config);
        let cannot = |reason| TokenError::Copy { token: self.name.clone(), generation, reason };
        if matches!(class, KeyClass::Strict | KeyClass::Replicable) {
            return Err(cannot(format!("its class is '{}'", class.name())));
        }
        let copy = session.copy_object(master, &attributes::copied()).map_err(|error| match error {
            Error::Pkcs11(
                RvError::ActionProhibited
                | RvError::AttributeReadOnly
                | RvError::TemplateInconsistent
                | RvError::FunctionNotSupported,
                _,
            ) => cannot(error.to_string()),
            _ => call(&self.name, error),
        })?;
        attributes::check(self, session, copy, generation, class, Stands::InSession)?;
        Ok(copy)
    }

    /// Ends the use of the module, after every session was dropped and every thread joined.
    pub fn finalize(self) -> Result<(), TokenError> {
        let Self { name, module, _login, .. } = self;
        drop(_login);
        module.finalize().map_err(|error| call(&name, error))
    }

    fn open_session(&self) -> Result<Session, TokenError> {
        self.module.open_ro_session(self.slot).map_err(|error| call(&self.name, error))
    }
}

/// The CKA_ID of a generation's master: the 8 letters `rederive` and the number in one byte.
pub fn cka_id(generation: Generation) -> Vec<u8> {
    let mut id = b"rederive".to_vec();
    id.push(generation.number());
    id
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal in either case.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

fn call(token: &str, error: Error) -> TokenError {
    TokenError::Call { token: token.to_owned(), error }
}

fn load(config: &TokenConfig) -> Result<Pkcs11, TokenError> {
    let failed = |error: Error| TokenError::Module {
        token: config.name.clone(),
        module: config.module.display().to_string(),
        reason: error.to_string(),
    };
    let module = Pkcs11::new(&config.module).map_err(failed)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(failed)?;
    Ok(module)
}

fn find_slot(config: &TokenConfig, module: &Pkcs11) -> Result<Slot, TokenError> {
    let mut matching = Vec::new();
    let mut seen = Vec::new();
    for slot in module.get_slots_with_initialized_token().map_err(|error| call(&config.name, error))? {
        let info = module.get_token_info(slot).map_err(|error| call(&config.name, error))?;
        let (label, serial) = (info.label().trim_end(), info.serial_number().trim_end());
        let wanted = |wanted: &Option<String>, given: &str| wanted.as_ref().is_none_or(|wanted| wanted == given);
        if wanted(&config.label, label) && wanted(&config.serial, serial) {
            matching.push(slot);
        }
        seen.push(format!("label '{label}' serial '{serial}'"));
    }
    match matching.as_slice() {
        [slot] => Ok(*slot),
        others => Err(TokenError::Slot {
            token: config.name.clone(),
            found: others.len(),
            wanted: [("label", &config.label), ("serial", &config.serial)]
                .iter()
                .filter_map(|(kind, value)| value.as_ref().map(|value| format!("{kind} '{value}'")))
                .collect::<Vec<_>>()
                .join(" and "),
            seen: if seen.is_empty() { "none".into() } else { seen.join(", ") },
        }),
    }
}

fn log_in(config: &TokenConfig, session: &Session) -> Result<(), TokenError> {
    let pin = pin::read(&config.pin, &config.name, USER)?;
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) => Ok(()),
        Err(Error::Pkcs11(
            rv @ (RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked
            | RvError::UserPinNotInitialized),
            _,
        )) => {
            let reason = format!("{rv:?}");
            latch::set(config, &reason);
            Err(TokenError::PinRefused { token: config.name.clone(), reason })
        }
        Err(error) => Err(call(&config.name, error)),
    }
}

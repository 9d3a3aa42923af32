//! Making a token out of an empty slot, for SoftHSM. Real HSMs are initialised with their vendor's tools.

use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use super::{TokenError, USER, call, hex, load, pin};
use crate::config::TokenConfig;

/// Initialises the first empty slot with the label and the user PIN of the configuration.
///
/// The security officer's PIN is random and forgotten: nothing that `rederive` does needs it again.
pub fn initialise(config: &TokenConfig) -> Result<(), TokenError> {
    let failed = |error| call(&config.name, error);
    let pin = pin::read(&config.pin, &config.name, USER)?;
    let module = load(config)?;
    let label = config.label.clone().unwrap_or_else(|| config.name.clone());
    let initialised = module.get_slots_with_initialized_token().map_err(failed)?;
    let empty = module.get_slots_with_token().map_err(failed)?.into_iter().find(|slot| !initialised.contains(slot));
    let slot = empty.ok_or_else(|| TokenError::Slot {
        token: config.name.clone(),
        found: 0,
        wanted: "an empty slot".into(),
        seen: format!("{} initialised tokens and no empty slot", initialised.len()),
    })?;
    let officer = random_pin(config)?;
    module.init_token(slot, &officer, &label).map_err(failed)?;
    let session = module.open_rw_session(slot).map_err(failed)?;
    session.login(UserType::So, Some(&officer)).map_err(failed)?;
    session.init_pin(&pin).map_err(failed)?;
    drop(session);
    module.finalize().map_err(failed)
}

fn random_pin(config: &TokenConfig) -> Result<AuthPin, TokenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| TokenError::PinSource {
        token: config.name.clone(),
        place: "the system's random numbers".into(),
        reason: error.to_string(),
    })?;
    Ok(AuthPin::from(hex(&bytes)))
}

//! Making a master key on the token.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::Session;

use super::session::sign;
use super::{Token, TokenError, attributes, call, cka_id};
use crate::access_key_id::Generation;
use crate::config::KeyClass;
use crate::derivation::{Purpose, subkey_message};

/// Generates a master with the template of its class, checks what the token made of it, and gives its generation and its
/// check value. The generation is the first from `from` on of which the token holds no key: a key that is there already may
/// have made secrets for another registry, so it is neither taken nor put beside another.
pub fn generate(token: &Token, from: Generation, class: KeyClass) -> Result<(Generation, [u8; 32]), TokenError> {
    let failed = |error| call(&token.name, error);
    let session = token.module.open_rw_session(token.slot).map_err(failed)?;
    let generation = first_free(token, &session, from)?;
    let template = attributes::template(generation, class, &token.config.cannot_tell);
    session.generate_key(&Mechanism::GenericSecretKeyGen, &template).map_err(failed)?;
    let key = token.find_key(&session, generation, class)?;
    let check_value = sign(&token.name, &session, key, &subkey_message(Purpose::CheckValue))?;
    Ok((generation, *check_value.expose()))
}

fn first_free(token: &Token, session: &Session, from: Generation) -> Result<Generation, TokenError> {
    for generation in (from.number()..).map_while(Generation::new) {
        let held = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Id(cka_id(generation))];
        if session.find_objects(&held).map_err(|error| call(&token.name, error))?.is_empty() {
            return Ok(generation);
        }
    }
    Err(TokenError::NoFreeGeneration { token: token.name.clone(), from })
}

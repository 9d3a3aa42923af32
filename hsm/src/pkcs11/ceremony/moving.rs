//! The master on its way: made and wrapped on the origin, unwrapped where it goes, sealed on both.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::super::attributes;
use super::super::session::sign;
use super::super::{Token, TokenError, call, cka_id, generate, hex};
use super::problem;
use super::wrapping_key::{clear, find, oaep};
use crate::access_key_id::Generation;
use crate::config::KeyClass;
use crate::derivation::{Purpose, subkey_message};

/// Generates the master of the first free generation from `from` on, and wraps it: gives the generation, the check value,
/// and what only the receiving token can open.
pub(super) fn send(token: &Token, from: Generation) -> Result<(Generation, [u8; 32], Vec<u8>), TokenError> {
    let (generation, check_value) = generate(token, from, KeyClass::Replicable)?;
    let failed = |error| call(&token.name, error);
    let session = token.module.open_rw_session(token.slot).map_err(failed)?;
    let master = token.find_key(&session, generation, KeyClass::Replicable)?;
    let wrapping = find(&token.name, &session, ObjectClass::PUBLIC_KEY)?;
    match session.wrap_key(&oaep(), wrapping, master) {
        Ok(wrapped) => Ok((generation, check_value, wrapped)),
        Err(error) => {
            // A master that went nowhere is of no use, and can be let out until it is sealed.
            session.destroy_object(master).map_err(failed)?;
            Err(failed(error))
        }
    }
}

/// Unwraps the master, compares its check value with the origin's, and seals it.
pub(super) fn accept(
    token: &Token,
    generation: Generation,
    wrapped: &[u8],
    check_value: &[u8; 32],
) -> Result<(), TokenError> {
    let failed = |error| call(&token.name, error);
    let session = token.module.open_rw_session(token.slot).map_err(failed)?;
    let held = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Id(cka_id(generation))];
    if !session.find_objects(&held).map_err(failed)?.is_empty() {
        return Err(problem(&token.name, format!("it holds a key of generation {generation} already")));
    }
    let wrapping = find(&token.name, &session, ObjectClass::PRIVATE_KEY)?;
    let template = unwrapped(generation);
    let key = session.unwrap_key(&oaep(), wrapping, wrapped, &template).map_err(failed)?;
    finish(token, &session, key, generation, check_value)
}

/// Makes the master of the origin what it stays: never to be let out again, and unchangeable.
pub(super) fn seal(token: &Token, generation: Generation, check_value: &[u8; 32]) -> Result<(), TokenError> {
    let failed = |error| call(&token.name, error);
    let session = token.module.open_rw_session(token.slot).map_err(failed)?;
    let key = token.find_key(&session, generation, KeyClass::Replicable)?;
    session.update_attributes(key, &[Attribute::Extractable(false)]).map_err(failed)?;
    finish(token, &session, key, generation, check_value)
}

/// Puts a copy that cannot be modified in the place of a key of the right check value.
fn finish(
    token: &Token,
    session: &Session,
    key: ObjectHandle,
    generation: Generation,
    check_value: &[u8; 32],
) -> Result<(), TokenError> {
    let failed = |error| call(&token.name, error);
    let found = sign(&token.name, session, key, &subkey_message(Purpose::CheckValue))?;
    if found.expose() != check_value {
        session.destroy_object(key).map_err(failed)?;
        return Err(TokenError::check_value(&token.name, generation, &hex(found.expose()), &hex(check_value)));
    }
    // Nothing else can be changed in a copy, by SoftHSM.
    session.copy_object(key, &[Attribute::Modifiable(false)]).map_err(failed)?;
    session.destroy_object(key).map_err(failed)?;
    token.find_key(session, generation, KeyClass::Replica).map(drop)
}

/// Destroys a master that was on its way, wherever it stands, and the wrapping key.
pub(super) fn abandon(token: &Token, generation: Option<Generation>) -> Result<(), TokenError> {
    let failed = |error| call(&token.name, error);
    clear(token)?;
    let Some(generation) = generation else { return Ok(()) };
    let session = token.module.open_rw_session(token.slot).map_err(failed)?;
    let held = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Id(cka_id(generation))];
    let found = session.find_objects(&held).map_err(failed)?;
    found.into_iter().try_for_each(|key| session.destroy_object(key).map_err(failed))
}

/// What a master is unwrapped with. Modifiable, for SoftHSM unwraps nothing else; the sealed copy is not.
fn unwrapped(generation: Generation) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Id(cka_id(generation)),
        Attribute::Label(attributes::label(generation)),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::AllowedMechanisms(vec![MechanismType::SHA256_HMAC]),
    ]
}

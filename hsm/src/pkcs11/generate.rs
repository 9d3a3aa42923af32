//! Making a master key on the token.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};

use super::session::sign;
use super::{Token, TokenError, attributes, call, cka_id, hex};
use crate::access_key_id::Generation;
use crate::config::KeyClass;
use crate::derivation::{Purpose, subkey_message};

/// Generates the master of a generation with the template of its class, checks what the token made of it, and gives
/// its check value. Refuses if a key with its CKA_ID is there already.
pub fn generate(token: &Token, generation: Generation, class: KeyClass) -> Result<[u8; 32], TokenError> {
    let failed = |error| call(&token.name, error);
    let session = token.module.open_rw_session(token.slot).map_err(failed)?;
    let taken = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Id(cka_id(generation))];
    let found = session.find_objects(&taken).map_err(failed)?.len();
    if found > 0 {
        return Err(TokenError::Master {
            token: token.name.clone(),
            found: found + 1,
            id: hex(&cka_id(generation)),
            generation,
        });
    }
    session.generate_key(&Mechanism::GenericSecretKeyGen, &attributes::template(generation, class)).map_err(failed)?;
    let key = token.find_master(&session, generation, class)?;
    let check_value = sign(&token.name, &session, key, &subkey_message(Purpose::CheckValue))?;
    Ok(*check_value.expose())
}

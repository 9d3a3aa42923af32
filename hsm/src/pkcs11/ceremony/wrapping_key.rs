//! The pair of keys under which a master travels: RSA, made on the token that receives, and gone when the ceremony is over.

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use serde::{Deserialize, Serialize};

use super::super::{Token, TokenError, call, find_slot, load};
use super::{log_in_officer, problem};
use crate::config::{PinSource, TokenConfig};

/// The CKA_ID of both halves, on whichever token.
const ID: &[u8] = b"rederive-wrapping";
const MODULUS_BITS: u64 = 3072;
const EXPONENT: [u8; 3] = [1, 0, 1];

/// The public half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappingKey {
    /// Big-endian.
    pub modulus: Vec<u8>,
    /// Big-endian.
    pub exponent: Vec<u8>,
}

/// RSA-OAEP. With SHA-1, for that is all that SoftHSM and many HSMs take; OAEP needs of its hash what SHA-1 still has.
pub(super) fn oaep() -> Mechanism<'static> {
    let mgf = PkcsMgfType::MGF1_SHA1;
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(MechanismType::SHA1, mgf, PkcsOaepSource::empty()))
}

/// Makes the pair on the token that receives; one left over from a ceremony that was broken off is destroyed.
pub(super) fn receive(token: &Token) -> Result<WrappingKey, TokenError> {
    clear(token)?;
    let failed = |error| call(&token.name, error);
    let session = token.module.open_rw_session(token.slot).map_err(failed)?;
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Id(ID.to_vec()),
        Attribute::ModulusBits(MODULUS_BITS.into()),
        Attribute::PublicExponent(EXPONENT.to_vec()),
        Attribute::Wrap(true),
        Attribute::Encrypt(false),
        Attribute::Verify(false),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Id(ID.to_vec()),
        Attribute::Unwrap(true),
        // What it could decrypt would be the master's bytes, on the host.
        Attribute::Decrypt(false),
        Attribute::Sign(false),
        Attribute::Derive(false),
    ];
    let (public, _) = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private).map_err(failed)?;
    let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
    let mut key = WrappingKey { modulus: Vec::new(), exponent: Vec::new() };
    for attribute in session.get_attributes(public, &wanted).map_err(failed)? {
        match attribute {
            Attribute::Modulus(modulus) => key.modulus = modulus,
            Attribute::PublicExponent(exponent) => key.exponent = exponent,
            _ => {}
        }
    }
    if key.modulus.len() as u64 * 8 != MODULUS_BITS || key.exponent.is_empty() {
        return Err(problem(&token.name, "it does not tell the public half of the wrapping key that it has made"));
    }
    Ok(key)
}

/// Lets the public half wrap keys of the origin. Only the security officer can say so.
pub(super) fn trust(config: &TokenConfig, officer: &PinSource, key: &WrappingKey) -> Result<(), TokenError> {
    let failed = |error| call(&config.name, error);
    let module = load(config)?;
    let slot = find_slot(config, &module)?;
    {
        let session = module.open_rw_session(slot).map_err(failed)?;
        log_in_officer(config, &session, officer)?;
        destroy(&config.name, &session, ObjectClass::PUBLIC_KEY)?;
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Id(ID.to_vec()),
            Attribute::Modulus(key.modulus.clone()),
            Attribute::PublicExponent(key.exponent.clone()),
            Attribute::Wrap(true),
            Attribute::Encrypt(false),
            Attribute::Verify(false),
            Attribute::Trusted(true),
        ];
        session.create_object(&template).map_err(failed)?;
    }
    module.finalize().map_err(failed)
}

/// Destroys both halves, as far as they are here.
pub(super) fn clear(token: &Token) -> Result<(), TokenError> {
    let session = token.module.open_rw_session(token.slot).map_err(|error| call(&token.name, error))?;
    destroy(&token.name, &session, ObjectClass::PRIVATE_KEY)?;
    destroy(&token.name, &session, ObjectClass::PUBLIC_KEY)
}

fn destroy(token: &str, session: &Session, class: ObjectClass) -> Result<(), TokenError> {
    let failed = |error| call(token, error);
    let found = session.find_objects(&[Attribute::Class(class), Attribute::Id(ID.to_vec())]).map_err(failed)?;
    found.into_iter().try_for_each(|object| session.destroy_object(object).map_err(failed))
}

/// One half, of which there must be one.
pub(super) fn find(token: &str, session: &Session, class: ObjectClass) -> Result<ObjectHandle, TokenError> {
    let template = [Attribute::Class(class), Attribute::Id(ID.to_vec())];
    match session.find_objects(&template).map_err(|error| call(token, error))?.as_slice() {
        &[one] => Ok(one),
        found => Err(problem(token, format!("{} halves of the wrapping key are on it instead of one", found.len()))),
    }
}

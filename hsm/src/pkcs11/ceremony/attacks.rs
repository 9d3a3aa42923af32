//! What somebody with the user PIN would try to have a master, or more of it than its HMAC. Each attempt is also made on a decoy
//! that allows everything: an attempt that fails there, too, proves nothing, and the transcript says so.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::misc::{ExtractParams, KeyDerivationStringData};
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use serde::{Deserialize, Serialize};

use super::super::attributes::is_told;
use super::super::{Token, TokenError, call};
use super::wrapping_key::{find, oaep};
use crate::access_key_id::Generation;
use crate::config::KeyClass;

/// One attempt, and how it went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// What was tried.
    pub what: String,
    /// With what the token refused it; `None` if it worked, which nothing may.
    pub refused: Option<String>,
    /// With what the token refused the same on the decoy; `None` if it worked there, so that the refusal means something.
    pub decoy_refused: Option<String>,
}

type Try = fn(&Session, ObjectHandle) -> Result<(), String>;

const TRIES: [(&str, Try); 15] = [
    ("read CKA_VALUE", read_value),
    ("set CKA_EXTRACTABLE to true", |session, key| set(session, key, Attribute::Extractable(true))),
    ("set CKA_SENSITIVE to false", |session, key| set(session, key, Attribute::Sensitive(false))),
    ("set CKA_DERIVE to true", |session, key| set(session, key, Attribute::Derive(true))),
    ("set CKA_MODIFIABLE to true", |session, key| set(session, key, Attribute::Modifiable(true))),
    ("copy it with CKA_EXTRACTABLE true", |session, key| copy(session, key, Attribute::Extractable(true))),
    ("copy it with CKA_SENSITIVE false", |session, key| copy(session, key, Attribute::Sensitive(false))),
    ("copy it with CKA_DERIVE true", |session, key| copy(session, key, Attribute::Derive(true))),
    ("copy it with CKA_MODIFIABLE true", |session, key| copy(session, key, Attribute::Modifiable(true))),
    ("wrap it under the key of this ceremony", wrap_under_ours),
    ("wrap it under an AES key made for that", wrap_under_aes),
    ("wrap it under an RSA key made for that", wrap_under_rsa),
    ("take a part of it (CKM_EXTRACT_KEY_FROM_KEY)", extract),
    ("mix it with known bytes (CKM_XOR_BASE_AND_DATA)", mix),
    ("sign with another mechanism (CKM_SHA_1_HMAC)", |session, key| {
        told(session.sign(&Mechanism::Sha1Hmac, key, b"attack"))
    }),
];

/// Tries everything on the master of a generation, and on a decoy. What it means is for the caller to say.
pub(super) fn attack(token: &Token, generation: Generation) -> Result<Vec<Attempt>, TokenError> {
    let on = |attempt: Try, find: &dyn Fn(&Session) -> Result<ObjectHandle, TokenError>| {
        // A session each: an attempt may leave it in disorder, and what it makes is gone with it.
        let session = token.module.open_rw_session(token.slot).map_err(|error| call(&token.name, error))?;
        Ok(attempt(&session, find(&session)?).err())
    };
    let master = |session: &Session| token.find_key(session, generation, KeyClass::Replica);
    let decoy = |session: &Session| decoy(session, token).map_err(|error| call(&token.name, error));
    let attempts = TRIES.into_iter().map(|(what, attempt)| {
        let (refused, decoy_refused) = (on(attempt, &master)?, on(attempt, &decoy)?);
        Ok(Attempt { what: what.to_owned(), refused, decoy_refused })
    });
    attempts.collect()
}

/// A key of the size of a master with which everything is allowed.
fn decoy(session: &Session, token: &Token) -> Result<ObjectHandle, Error> {
    let mut template = generic_secret();
    template.extend([
        Attribute::ValueLen(32.into()),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Modifiable(true),
        Attribute::Copyable(true),
        Attribute::Derive(true),
        Attribute::Sign(true),
    ]);
    template.retain(|attribute| is_told(attribute, &token.config.cannot_tell));
    session.generate_key(&Mechanism::GenericSecretKeyGen, &template)
}

/// A session object.
fn generic_secret() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
    ]
}

fn told<T>(result: Result<T, Error>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(Error::Pkcs11(rv, function)) => Err(format!("{rv:?} from C_{function:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn read_value(session: &Session, key: ObjectHandle) -> Result<(), String> {
    let info = session.get_attribute_info(key, &[AttributeType::Value]).map_err(|error| error.to_string())?;
    match info.as_slice() {
        [AttributeInfo::Available(length)] if *length > 0 => Ok(()),
        [AttributeInfo::Sensitive] => Err("AttributeSensitive from C_GetAttributeValue".into()),
        _ => Err("it has none".into()),
    }
}

fn set(session: &Session, key: ObjectHandle, attribute: Attribute) -> Result<(), String> {
    told(session.update_attributes(key, &[attribute]))
}

fn copy(session: &Session, key: ObjectHandle, attribute: Attribute) -> Result<(), String> {
    told(session.copy_object(key, &[Attribute::Token(false), attribute]))
}

/// On the origin it is trusted, and has wrapped this master before.
fn wrap_under_ours(session: &Session, key: ObjectHandle) -> Result<(), String> {
    let ours = find("", session, ObjectClass::PUBLIC_KEY).map_err(|error| error.to_string())?;
    told(session.wrap_key(&oaep(), ours, key))
}

fn wrap_under_aes(session: &Session, key: ObjectHandle) -> Result<(), String> {
    let template = [
        Attribute::ValueLen(32.into()),
        Attribute::Token(false),
        Attribute::Wrap(true),
        Attribute::Decrypt(true),
        Attribute::Unwrap(true),
    ];
    let wrapping = session.generate_key(&Mechanism::AesKeyGen, &template);
    let wrapping = wrapping.map_err(|error| format!("no AES key: {error}"))?;
    let mechanisms = [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad, Mechanism::AesCbcPad([0; 16])];
    let refused: Result<Vec<String>, ()> =
        mechanisms.iter().map(|mechanism| told(session.wrap_key(mechanism, wrapping, key)).err().ok_or(())).collect();
    // One that works is one too many.
    refused.map_or(Ok(()), |refused| Err(refused.join(", ")))
}

fn wrap_under_rsa(session: &Session, key: ObjectHandle) -> Result<(), String> {
    let public = [Attribute::Token(false), Attribute::ModulusBits(2048.into()), Attribute::Wrap(true)];
    let private = [Attribute::Token(false), Attribute::Decrypt(true), Attribute::Unwrap(true)];
    let pair = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private);
    let (wrapping, _) = pair.map_err(|error| format!("no RSA key: {error}"))?;
    told(session.wrap_key(&oaep(), wrapping, key))
}

fn extract(session: &Session, key: ObjectHandle) -> Result<(), String> {
    derive(session, key, &Mechanism::ExtractKeyFromKey(ExtractParams::new(0)))
}

fn mix(session: &Session, key: ObjectHandle) -> Result<(), String> {
    derive(session, key, &Mechanism::XorBaseAndData(KeyDerivationStringData::new(&[0x36; 32])))
}

fn derive(session: &Session, key: ObjectHandle, mechanism: &Mechanism<'_>) -> Result<(), String> {
    let mut template = generic_secret();
    template.extend([Attribute::ValueLen(1.into()), Attribute::Sensitive(false), Attribute::Extractable(true)]);
    told(session.derive_key(mechanism, key, &template))
}

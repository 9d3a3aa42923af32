//! The control key: an Ed25519 key pair that signs heads of the deny feed and nothing else.
//!
//! It is found by its CKA_ID, `rederive-control`. Its public half is told with every signature: which keys count is for
//! verifiers to say, who pin them.

use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::{Token, TokenError, attributes, call};
use crate::feed_head::{PUBLIC_KEY_LEN, SIGNATURE_LEN};

const ID: &[u8] = b"rederive-control";
/// The curve: a DER PrintableString, as PKCS#11 3.0 has it.
const EDWARDS25519: &[u8] = b"\x13\x0cedwards25519";
/// A point of it: a DER OCTET STRING of 32 bytes.
const POINT: [u8; 2] = [0x04, 0x20];

/// The key pair, found on a session.
#[derive(Clone, Copy)]
pub(super) struct ControlKey {
    private: ObjectHandle,
    public: [u8; PUBLIC_KEY_LEN],
}

/// Makes the control key if the token has none, and gives its public half.
pub fn control_key(token: &Token) -> Result<[u8; PUBLIC_KEY_LEN], TokenError> {
    let failed = |error| call(&token.name, error);
    let session = token.module.open_rw_session(token.slot).map_err(failed)?;
    let held = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(ID.to_vec())];
    if session.find_objects(&held).map_err(failed)?.is_empty() {
        let mechanism = Mechanism::EccEdwardsKeyPairGen;
        session.generate_key_pair(&mechanism, &public_template(), &private_template()).map_err(failed)?;
    }
    Ok(ControlKey::find(&token.name, &session)?.public)
}

fn public_template() -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Modifiable(false),
        Attribute::EcParams(EDWARDS25519.to_vec()),
        Attribute::Id(ID.to_vec()),
        Attribute::Label(ID.to_vec()),
    ]
}

fn private_template() -> Vec<Attribute> {
    let mut template = settable();
    template.extend([Attribute::Id(ID.to_vec()), Attribute::Label(ID.to_vec())]);
    template
}

fn settable() -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Sign(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Derive(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::AllowedMechanisms(vec![MechanismType::EDDSA]),
    ]
}

/// What the token must say of the private half.
fn demanded() -> Vec<Attribute> {
    let mut demanded = settable();
    demanded.extend([
        Attribute::KeyType(KeyType::EC_EDWARDS),
        Attribute::Local(true),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
    ]);
    demanded
}

impl ControlKey {
    /// Finds exactly one private half with the right attributes, and its public half.
    pub(super) fn find(token: &str, session: &Session) -> Result<Self, TokenError> {
        let private = only(token, session, ObjectClass::PRIVATE_KEY)?;
        if let Some((wanted, found)) = attributes::first_wrong(token, session, private, demanded())? {
            return Err(wrong(token, format!("it has {found} where {wanted:?} is demanded")));
        }
        let point = only(token, session, ObjectClass::PUBLIC_KEY)?;
        let point = session.get_attributes(point, &[AttributeType::EcPoint]).map_err(|error| call(token, error))?;
        let public = match point.first() {
            Some(Attribute::EcPoint(der)) => der.strip_prefix(&POINT).and_then(|point| point.try_into().ok()),
            _ => None,
        };
        Ok(Self { private, public: public.ok_or_else(|| wrong(token, "its public half does not read".into()))? })
    }

    /// Signs, and gives the public half with the signature.
    pub(super) fn sign(
        &self,
        token: &str,
        session: &Session,
        message: &[u8],
    ) -> Result<([u8; PUBLIC_KEY_LEN], [u8; SIGNATURE_LEN]), TokenError> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
        let signature = session.sign(&mechanism, self.private, message).map_err(|error| call(token, error))?;
        let length = signature.len();
        let signature = signature.try_into().map_err(|_| wrong(token, format!("it signs with {length} bytes")))?;
        Ok((self.public, signature))
    }
}

fn only(token: &str, session: &Session, class: ObjectClass) -> Result<ObjectHandle, TokenError> {
    let template = [Attribute::Class(class), Attribute::Id(ID.to_vec())];
    match session.find_objects(&template).map_err(|error| call(token, error))?.as_slice() {
        &[one] => Ok(one),
        [] => Err(TokenError::NoControlKey { token: token.to_owned() }),
        many => Err(wrong(token, format!("{} {class} objects have its CKA_ID", many.len()))),
    }
}

fn wrong(token: &str, problem: String) -> TokenError {
    TokenError::ControlKey { token: token.to_owned(), problem }
}

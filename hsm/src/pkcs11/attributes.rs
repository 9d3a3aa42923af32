//! The attributes of a master key: the template it is generated with, and the check of what the token says it has.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use std::collections::BTreeSet;

use super::{Token, TokenError, call, cka_id};
use crate::access_key_id::Generation;
use crate::config::{KeyClass, Untold};

/// Bytes in a master key.
const MASTER_BYTES: u64 = 32;

/// What a key of a class is generated with, on a module that cannot tell everything.
pub(super) fn template(generation: Generation, class: KeyClass, cannot_tell: &BTreeSet<Untold>) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::ValueLen(MASTER_BYTES.into()),
        Attribute::Id(cka_id(generation)),
        Attribute::Label(label(generation)),
        Attribute::AllowedMechanisms(vec![MechanismType::SHA256_HMAC]),
    ];
    template.extend(settable(class));
    template.retain(|attribute| is_told(attribute, cannot_tell));
    template
}

pub(super) fn is_told(attribute: &Attribute, cannot_tell: &BTreeSet<Untold>) -> bool {
    let untold = match attribute.attribute_type() {
        AttributeType::AllowedMechanisms => Untold::AllowedMechanisms,
        AttributeType::Copyable => Untold::Copyable,
        AttributeType::Destroyable => Untold::Destroyable,
        AttributeType::Local => Untold::Local,
        _ => return true,
    };
    !cannot_tell.contains(&untold)
}

/// What tools show of a master.
pub(super) fn label(generation: Generation) -> Vec<u8> {
    format!("rederive generation {generation}").into_bytes()
}

/// The attributes that are set, at birth or by a ceremony; in every class the ones that keep the key from being used for
/// anything else.
fn settable(class: KeyClass) -> Vec<Attribute> {
    let changeable = matches!(class, KeyClass::Copyable | KeyClass::Replicable);
    let wrappable = class == KeyClass::Replicable;
    let mut attributes = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Sign(true),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Extractable(wrappable),
        Attribute::Modifiable(changeable),
    ];
    // A sealed copy is as its original was in these two: a copy of it cannot be modified either, and whoever destroys it lets
    // nothing out.
    if class != KeyClass::Replica {
        attributes.extend([Attribute::Copyable(changeable), Attribute::Destroyable(wrappable)]);
    }
    if wrappable {
        attributes.push(Attribute::WrapWithTrusted(true));
    }
    attributes
}

/// Where a key came from, as the token itself keeps account of it: by the standard nobody can set these attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Past {
    /// Made here, and here alone.
    MadeHere,
    /// Made here so that it can be moved; what is sealed afterwards shows that it could once.
    MadeToBeMoved,
    /// Unwrapped here.
    CameHere,
}

/// Where a key stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// On the token.
    OnToken,
    /// In a session, as a copy, with which it ends.
    InSession,
}

/// What a copy for a session is given; all else it has of the master. It cannot be modified even where the master can.
pub(super) fn copied() -> [Attribute; 2] {
    [Attribute::Token(false), Attribute::Modifiable(false)]
}

/// What the token must say of a key: all that was set, and where the key came from.
fn demanded(class: KeyClass, past: Past, stands: Stands) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::AllowedMechanisms(vec![MechanismType::SHA256_HMAC]),
    ];
    // SoftHSM says 0 of a key that it has unwrapped. Its check value tells that it is the whole one.
    if past != Past::CameHere {
        attributes.push(Attribute::ValueLen(MASTER_BYTES.into()));
    }
    attributes.extend(settable(class));
    attributes.push(Attribute::Local(past != Past::CameHere));
    // Of a key from elsewhere they say nothing: by the standard both are false, and opencryptoki says true.
    if past != Past::CameHere {
        attributes.push(Attribute::AlwaysSensitive(true));
        attributes.push(Attribute::NeverExtractable(past == Past::MadeHere));
    }
    if stands == Stands::InSession {
        let other = copied();
        attributes.retain(|one| other.iter().all(|other| other.attribute_type() != one.attribute_type()));
        attributes.extend(other);
    }
    attributes
}

/// Refuses a key whose attributes are not exactly those of its class, naming the first that differs.
///
/// A `replica` is what a ceremony leaves on either token: sealed, and from there or from here.
pub(super) fn check(
    token: &Token,
    session: &Session,
    key: ObjectHandle,
    generation: Generation,
    class: KeyClass,
    stands: Stands,
) -> Result<(), TokenError> {
    let is = |past| {
        let mut demanded = demanded(class, past, stands);
        demanded.retain(|attribute| is_told(attribute, &token.config.cannot_tell));
        first_wrong(&token.name, session, key, demanded)
    };
    let wrong = match class {
        KeyClass::Strict | KeyClass::Copyable => is(Past::MadeHere)?,
        KeyClass::Replicable => is(Past::MadeToBeMoved)?,
        KeyClass::Replica => match is(Past::MadeToBeMoved)? {
            Some(_) => is(Past::CameHere)?,
            None => None,
        },
    };
    match wrong {
        None => Ok(()),
        Some((wanted, found)) => Err(TokenError::Attribute {
            token: token.name.clone(),
            generation,
            attribute: name(wanted.attribute_type()),
            found,
            demanded: value(&wanted),
            class: class.name(),
        }),
    }
}

/// The first attribute of an object that is not as demanded, and what it is instead.
pub(super) fn first_wrong(
    token: &str,
    session: &Session,
    object: ObjectHandle,
    demanded: Vec<Attribute>,
) -> Result<Option<(Attribute, String)>, TokenError> {
    for wanted in demanded {
        let found = session.get_attributes(object, &[wanted.attribute_type()]).map_err(|error| call(token, error))?;
        if found.first() != Some(&wanted) {
            return Ok(Some((wanted, found.first().map_or_else(|| "(not told)".into(), value))));
        }
    }
    Ok(None)
}

fn value(attribute: &Attribute) -> String {
    let text = format!("{attribute:?}");
    // `Sensitive(true)` → `true`: the name is told beside it.
    text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).map_or(text.clone(), str::to_owned)
}

fn name(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::KeyType => "CKA_KEY_TYPE",
        AttributeType::ValueLen => "CKA_VALUE_LEN",
        AttributeType::AllowedMechanisms => "CKA_ALLOWED_MECHANISMS",
        AttributeType::Token => "CKA_TOKEN",
        AttributeType::Private => "CKA_PRIVATE",
        AttributeType::Sensitive => "CKA_SENSITIVE",
        AttributeType::Sign => "CKA_SIGN",
        AttributeType::Verify => "CKA_VERIFY",
        AttributeType::Derive => "CKA_DERIVE",
        AttributeType::Wrap => "CKA_WRAP",
        AttributeType::Unwrap => "CKA_UNWRAP",
        AttributeType::Encrypt => "CKA_ENCRYPT",
        AttributeType::Decrypt => "CKA_DECRYPT",
        AttributeType::Extractable => "CKA_EXTRACTABLE",
        AttributeType::Modifiable => "CKA_MODIFIABLE",
        AttributeType::Copyable => "CKA_COPYABLE",
        AttributeType::Destroyable => "CKA_DESTROYABLE",
        AttributeType::WrapWithTrusted => "CKA_WRAP_WITH_TRUSTED",
        AttributeType::Local => "CKA_LOCAL",
        AttributeType::AlwaysSensitive => "CKA_ALWAYS_SENSITIVE",
        AttributeType::NeverExtractable => "CKA_NEVER_EXTRACTABLE",
        _ => "an attribute",
    }
}

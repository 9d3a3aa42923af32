//! Puts the known master into a token. It runs in a process of its own, which `place` starts with the variables that it needs.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use rederive_hsm::access_key_id::Generation;
use rederive_hsm::pkcs11::cka_id;

use crate::place::master;

/// Without the variables there is nothing to plant; `place` looks for the word that it prints.
#[test]
fn a_known_master() {
    let (Some(module), Ok(pin)) = (std::env::var_os("PLANT_MODULE"), std::env::var("PLANT_PIN")) else { return };
    let module = Pkcs11::new(module).expect("loads");
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("initialises");
    let label = std::env::var("PLANT_LABEL").expect("a label");
    let is_it = |slot: &Slot| module.get_token_info(*slot).is_ok_and(|info| info.label().trim_end() == label);
    let slot = module.get_slots_with_initialized_token().expect("slots").into_iter().find(is_it).expect("the token");
    let session = module.open_rw_session(slot).expect("a session");
    session.login(UserType::User, Some(&AuthPin::from(pin))).expect("logs in");
    let cannot_tell = std::env::var("PLANT_CANNOT_TELL").unwrap_or_default();
    let mut template = template();
    template.retain(|attribute| match attribute {
        Attribute::AllowedMechanisms(_) => !cannot_tell.contains("CKA_ALLOWED_MECHANISMS"),
        Attribute::Copyable(_) => !cannot_tell.contains("CKA_COPYABLE"),
        Attribute::Destroyable(_) => !cannot_tell.contains("CKA_DESTROYABLE"),
        _ => true,
    });
    session.create_object(&template).expect("created");
    println!("planted");
}

/// A replica's attributes.
fn template() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Value(master().expose().to_vec()),
        Attribute::Id(cka_id(Generation::new(0).expect("in range"))),
        Attribute::AllowedMechanisms(vec![MechanismType::SHA256_HMAC]),
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
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::Destroyable(false),
    ]
}

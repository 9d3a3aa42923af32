//! Masters that each session uses by a copy of its own (`session_copies`): what a token must give for it. `C_CopyObject` fails in the
//! matrix.

use rederive_shim::{Call, Deed, Fault, How, When};

use crate::common;
use crate::modules::{key_of, refused};
use crate::opencryptoki;
use crate::oracle::ask_both;
use crate::place::{Module, Place};

/// A token whose generation 1 may be copied.
pub fn copyable(module: Module) -> Place {
    let place = Place::on(module, &["a"], 1);
    let made = place.run(&["generation", "create", "--class", "copyable"]);
    assert!(made.contains("generation   1  issuing  class copyable"), "{made}");
    copies_of(&place, "[1]");
    place
}

fn copies_of(place: &Place, generations: &str) {
    let config = std::fs::read_to_string(place.config()).expect("readable");
    let others = config.lines().filter(|line| !line.starts_with("session_copies"));
    let with = |line: &str| match line.starts_with("replicas") {
        true => format!("{line}\nsession_copies = {generations}\n"),
        false => format!("{line}\n"),
    };
    std::fs::write(place.config(), others.map(with).collect::<String>()).expect("writable");
}

fn contract(module: Module) {
    let place = copyable(module);
    let control = &place.tokens[0].control;
    let doctor = place.run(&["doctor"]);
    assert!(doctor.contains("check values of 2 generations are right"), "{doctor}");
    let before = control.calls(Call::CopyObject);
    let node = place.whole();
    let copies = || control.calls(Call::CopyObject) - before;
    assert_eq!(copies(), 2, "one for each of two sessions");
    let key = key_of(&place, &node, 1);
    let mut tally = ask_both(&node, &key, 3, "by copies");

    // A copy is gone with its session, and the next session makes another.
    let lost = Fault { call: Call::Sign, deed: Deed::LoseSessions, when: When::Before, how: How::Times(1) };
    control.arm(0, lost);
    common::wait_until("other copies", || {
        tally.add(ask_both(&node, &key, 1, "sessions lost"));
        copies() > 2
    });
    control.disarm_all();
    tally.add(ask_both(&node, &key, 3, "by other copies"));
    drop(node);
    tally.check();
    assert!(tally.unavailable < tally.compared);
    assert_eq!((control.forked(), control.raced()), (0, 0), "rules of the standard");
    // Had one become an object of the token, there would be two of this CKA_ID now.
    place.run(&["doctor"]);

    // Where the class forbids it, nothing is copied, and nothing is used without.
    place.run(&["generation", "create"]);
    copies_of(&place, "[1, 2]");
    let refused = refused(&place);
    assert!(refused.contains("names generation 2") && refused.contains("its class is 'strict'"), "{refused}");
}

#[test]
fn softhsm_signs_with_copies() {
    contract(Module::SoftHsm);
}

/// NSS forgets of a copy that it was always sensitive, so it is not used.
#[test]
fn nss_softokn_makes_no_copy_that_is_as_strict() {
    let place = copyable(Module::Nss);
    let refused = refused(&place);
    assert!(refused.contains("CKA_ALWAYS_SENSITIVE = false, but class 'copyable' demands true"), "{refused}");
    copies_of(&place, "[]");
    place.run(&["doctor"]);
}

#[test]
fn opencryptoki_signs_with_copies() {
    if opencryptoki::inside("copies::opencryptoki_signs_with_copies") {
        contract(Module::Opencryptoki);
    }
}

/// A replica that the token says cannot be copied.
#[test]
fn a_copy_that_the_token_forbids_is_named() {
    let place = Place::new(&["a"], 1);
    copies_of(&place, "[0]");
    let refused = refused(&place);
    assert!(refused.contains("names generation 0, whose key cannot be copied"), "{refused}");
    copies_of(&place, "[]");
    place.run(&["doctor"]);
}

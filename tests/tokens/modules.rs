//! The same contract on every PKCS#11 module: what a worker relies on holds, or is among what the module cannot do.

use std::path::Path;

use rederive::config::Config;
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::client::admin;
use rederive_hsm::pkcs11::ceremony::{Attempt, Done, Step};
use rederive_hsm::worker::{AdminAnswer, AdminRequest};
use rederive_shim::{Call, Deed, Fault, How, When};

use crate::common::{self, Pair};
use crate::opencryptoki;
use crate::oracle::{Tally, Truth, ask_both, cold};
use crate::place::{Module, Node, Place};

/// What a token with one worker has to do, on each module.
fn contract(module: Module) {
    let place = Place::on(module, &["a"], 1);
    let mut tally = Tally::default();
    assert_eq!(succeeds(&place), known_to_succeed(module));

    // The master, its attributes and its check value are taken, and its answers are software's.
    let node = place.whole();
    tally.add(ask_both(&node, &place.root, 3, "at first"));
    tally.judge_key(&key_of(&place, &node, 0), "a new key");

    // What is lost is found again: every session, and the process.
    let control = &place.tokens[0].control;
    let lost = Fault { call: Call::Sign, deed: Deed::LoseSessions, when: When::Before, how: How::Times(1) };
    control.arm(0, lost);
    common::wait_until("sessions again", || node.verdict(&cold(&place.root, Truth::Valid)) == "accept");
    control.disarm_all();
    assert!(control.injected(Call::Sign) == 1, "the control: sessions were lost");
    let old = node.worker_ids("a");
    old.iter().for_each(|id| common::kill(*id, "KILL"));
    common::wait_until("another worker", || {
        node.worker_ids("a").iter().all(|id| !old.contains(id)) && node.workers("a", "trusted") == 1.0
    });
    tally.add(ask_both(&node, &place.root, 3, "after a death"));

    // A master that the token makes itself is as its class demands, and makes keys.
    let made = place.run(&["generation", "create"]);
    assert!(made.contains("generation   1  issuing"), "{made}");
    let doctor = place.run(&["doctor"]);
    assert!(doctor.contains("check values of 2 generations are right"), "{doctor}");
    common::wait_until("keys of the new master", || node.workers("a", "trusted") == 1.0);
    tally.add(ask_both(&node, &key_of(&place, &node, 1), 3, "a key of the new master"));
    drop(node);
    tally.check();
    assert!(tally.unavailable < tally.compared, "{tally:?}");
    assert_eq!((control.forked(), control.raced()), (0, 0), "rules of the standard");

    // Two keys of one CKA_ID: nobody can tell which is meant. NSS has no two, for it puts the second in the first one's place.
    let said = place.tokens[0].plant(place.directory.path());
    assert!(said.contains("planted"), "{said}");
    if module != Module::Nss {
        let refused = refused(&place);
        assert!(refused.contains("2 keys with CKA_ID 726564657269766500"), "{refused}");
    } else {
        place.run(&["doctor"]);
    }

    // A wrong PIN is tried once.
    std::fs::write(place.directory.path().join("a/pin"), "wrong-pin\n").expect("writable");
    let before = control.calls(Call::Login);
    (0..3).for_each(|_| assert!(self::refused(&place).contains("refused the PIN")));
    assert_eq!(control.calls(Call::Login) - before, 1);
}

/// A new key under the master of a generation, as soon as one is made there.
pub fn key_of(place: &Place, node: &Node, generation: u8) -> Pair {
    let (mut made, mut key) = (0, None);
    common::wait_until("a key of the generation", || {
        made += 1;
        key = node.new_key(&place.root, &format!("user-{generation}-{made}")).ok();
        let id = key.as_ref().and_then(|key: &Pair| AccessKeyId::parse(key.access_key_id.as_bytes()));
        id.is_some_and(|id| id.fields().generation().number() == generation)
    });
    key.expect("made above")
}

/// What `doctor` says where it finds something wrong.
pub fn refused(place: &Place) -> String {
    let doctor = std::process::Command::new(common::REDERIVE).args(["doctor", "--config"]).arg(place.config()).output();
    let doctor = doctor.expect("runs");
    assert!(!doctor.status.success());
    String::from_utf8_lossy(&doctor.stdout).into_owned() + &String::from_utf8_lossy(&doctor.stderr)
}

/// Which of the attempts of a ceremony somebody with the PIN succeeds in.
fn succeeds(place: &Place) -> Vec<String> {
    let token = Config::load(&place.config()).expect("a configuration").token.remove(0);
    let token = token.to_worker(place.directory.path()).expect("a module");
    let request = AdminRequest::Ceremony { token, step: Step::Attack { generation: 0 } };
    let answer = admin(Path::new(common::REDERIVE), &place.tokens[0].environment, &request, common::LONG);
    let Ok(AdminAnswer::Ceremony { done: Done::Attacked { attempts } }) = answer else { panic!("{answer:?}") };
    // The control: what is refused on the master works where everything is allowed.
    let reads = |one: &Attempt| one.what == "read CKA_VALUE" && one.refused.is_some() && one.decoy_refused.is_none();
    assert!(attempts.iter().any(reads), "{attempts:?}");
    attempts.into_iter().filter(|one| one.refused.is_none()).map(|one| one.what).collect()
}

/// What is known to work, and stands in the table of modules in `docs/operations.md`.
fn known_to_succeed(module: Module) -> &'static [&'static str] {
    match module {
        Module::SoftHsm => &[],
        Module::Opencryptoki => &[
            "copy it with CKA_DERIVE true",
            "copy it with CKA_MODIFIABLE true",
            "sign with another mechanism (CKM_SHA_1_HMAC)",
        ],
        Module::Nss => &[
            "copy it with CKA_EXTRACTABLE true",
            "copy it with CKA_DERIVE true",
            "copy it with CKA_MODIFIABLE true",
            "wrap it under an AES key made for that",
            "sign with another mechanism (CKM_SHA_1_HMAC)",
        ],
    }
}

#[test]
fn softhsm_keeps_the_contract() {
    contract(Module::SoftHsm);
}

#[test]
fn nss_softokn_keeps_the_contract() {
    contract(Module::Nss);
}

#[test]
fn opencryptoki_keeps_the_contract() {
    if opencryptoki::inside("modules::opencryptoki_keeps_the_contract") {
        contract(Module::Opencryptoki);
    }
}

/// Without being told what it cannot tell, a key of such a module is refused: the control of the list.
fn has_to_be_said(module: Module) {
    let place = Place::on(module, &["a"], 1);
    place.run(&["generation", "create"]);
    let config = std::fs::read_to_string(place.config()).expect("readable");
    let untold = place.tokens[0].cannot_tell;
    assert!(!untold.is_empty());
    for one in untold {
        let other = if *one == "CKA_LOCAL" { "CKA_COPYABLE" } else { "CKA_LOCAL" };
        std::fs::write(place.config(), config.replace(one, other)).expect("writable");
        let refused = refused(&place);
        let found = if *one == "CKA_LOCAL" { "false" } else { "(not told)" };
        assert!(refused.contains(&format!("{one} = {found}")), "{one}: {refused}");
    }
    std::fs::write(place.config(), config.replace(untold[0], "CKA_SENSITIVE")).expect("writable");
    let refused = refused(&place);
    assert!(refused.contains("CKA_SENSITIVE"), "whether a key can leave is not among them: {refused}");
}

#[test]
fn what_nss_softokn_cannot_tell_has_to_be_said() {
    has_to_be_said(Module::Nss);
}

#[test]
fn what_opencryptoki_cannot_tell_has_to_be_said() {
    if opencryptoki::inside("modules::what_opencryptoki_cannot_tell_has_to_be_said") {
        has_to_be_said(Module::Opencryptoki);
    }
}

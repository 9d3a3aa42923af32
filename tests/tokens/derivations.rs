//! What the HSM is asked for a request stands in the audit log, with the key and the caller, and a flood of it does not.

use serde_json::Value;

use crate::common;
use crate::oracle::{Truth, cold};
use crate::place::Place;

#[test]
fn questions_to_the_hsm_are_in_the_audit_log_and_a_flood_is_a_number() {
    let place = Place::new(&["a"], 1);
    let config = std::fs::read_to_string(place.config()).expect("readable");
    let written = 5;
    std::fs::write(place.config(), format!("{config}\n[audit]\nderivations = {written}\n")).expect("writable");
    let mut node = place.ready();
    let warm = cold(&place.root, Truth::Valid);
    (0..10).for_each(|_| assert_eq!(node.verdict(&warm), "accept"));
    let made_up = (0..20).map(|_| cold(&place.root, Truth::Forged));
    made_up.for_each(|forged| assert!(node.verdict(&forged).starts_with("refuse")));
    common::kill(node.process.id(), "TERM");
    common::wait_until("the end", || node.process.try_wait().is_ok_and(|ended| ended.is_some()));

    let log = std::fs::read_to_string(place.directory.path().join("state/audit.log")).expect("a log");
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let (counted, told): (Vec<_>, Vec<_>) = events
        .filter(|event| event["eventName"] == "DeriveKey")
        .partition(|event| !event["additionalEventData"]["notWritten"].is_null());
    assert_eq!(told.len(), written, "{log}");
    for event in told.iter().chain(&counted) {
        assert_eq!(event["additionalEventData"]["caller"], "anyone", "{event}");
    }
    assert!(told.iter().all(|event| event["userIdentity"]["accessKeyId"] == *place.root.access_key_id), "{told:?}");
    assert!(told.iter().all(|event| event["recipientAccountId"] == crate::place::ACCOUNT), "{told:?}");
    // One for the key that was then at hand, one for each made-up scope: a second opinion is the node's own question.
    let not_written: u64 = counted.iter().filter_map(|event| event["additionalEventData"]["notWritten"].as_u64()).sum();
    assert_eq!(told.len() as u64 + not_written, 21, "{counted:?}");
    let log = place.directory.path().join("state/audit.log");
    let verified = std::process::Command::new(common::REDERIVE).args(["audit", "verify"]).arg(log).output();
    assert!(verified.expect("runs").status.success(), "the chain is whole");
}

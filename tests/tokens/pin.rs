//! A refused PIN: one login attempt, over any number of restarts.

use rederive_shim::Call;

use crate::common;
use crate::oracle::{Truth, cold};
use crate::place::{LONG, Place};

#[test]
fn a_wrong_pin_reaches_the_token_once() {
    let place = Place::new(&["a"], 2);
    let token = &place.tokens[0];
    let pin_file = place.directory.path().join("a/pin");
    let right = std::fs::read_to_string(&pin_file).expect("a PIN");
    token.control.lock_after(3);
    std::fs::write(&pin_file, "wrong-pin\n").expect("writable");
    let before = token.control.calls(Call::Login);
    for _ in 0..if common::long() { 100 } else { 5 } {
        let node = place.serve();
        common::wait_until("latched", LONG, || node.workers("a", "latched") == 2.0);
        assert_eq!(node.verdict(&cold(&place.root, Truth::Valid)), "503");
    }
    assert_eq!(token.control.calls(Call::Login) - before, 1, "of two workers, over all restarts");
    let latch = std::fs::read_to_string(place.directory.path().join("state/pin-refused.a")).expect("a latch");
    assert!(latch.contains("PinIncorrect") && !latch.contains("wrong-pin"), "{latch}");

    std::fs::write(&pin_file, right).expect("writable");
    place.run(&["token", "unlatch", "a"]);
    let node = place.ready();
    assert_eq!(node.verdict(&cold(&place.root, Truth::Valid)), "accept");
}

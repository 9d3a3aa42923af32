//! The queue for the HSM: bounded, and whoever finds it full is told so at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use rederive_shim::{Call, Deed, Fault, How, When};

use crate::common::{self, Pair};
use crate::oracle::{Truth, cold};
use crate::place::{Node, Place};

/// Requests that are with the only worker at a time, and the one that may wait.
const ROOM: usize = 64 + 1;
const MORE: usize = 5;

/// The status of a cold request, and whether it is told when to come again.
fn ask(node: &Node, pair: &Pair) -> (u16, bool) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let request = agent.post(format!("{}/v1/verify", node.rpc)).content_type("application/json");
    let answer = request.send(cold(pair, Truth::Valid).call().to_string()).expect("an answer");
    (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
}

#[test]
fn who_finds_the_queue_full_is_told_at_once_and_when_to_come_again() {
    let place = Place::new(&["a"], 1);
    let config = std::fs::read_to_string(place.config()).expect("readable");
    std::fs::write(place.config(), config + "[hsm]\nqueue = 1\ndeadline_ms = 60000\n").expect("writable");
    let node = place.whole();
    assert_eq!(ask(&node, &place.root), (200, false), "the control");
    let control = &place.tokens[0].control;
    control.arm(0, Fault { call: Call::SignInit, deed: Deed::Hang, when: When::Before, how: How::ForGood });
    let (turned_away, accepted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..ROOM + MORE {
            scope.spawn(|| match ask(&node, &place.root) {
                (503, true) => turned_away.fetch_add(1, Ordering::Relaxed),
                (200, false) => accepted.fetch_add(1, Ordering::Relaxed),
                other => panic!("{other:?}"),
            });
        }
        // While the token does nothing at all.
        let all = || turned_away.load(Ordering::Relaxed) == MORE;
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| common::wait_until("503", all)));
        control.disarm_all();
        assert!(told.is_ok(), "{turned_away:?} were turned away");
    });
    assert_eq!((turned_away.into_inner(), accepted.into_inner()), (MORE, ROOM));
    assert_eq!(node.metric("rederive_hsm_turned_away_total"), MORE as f64);
}

#[test]
fn a_worker_whose_token_hangs_ends_when_whoever_asked_it_was_killed() {
    let place = Place::new(&["a"], 1);
    let config = std::fs::read_to_string(place.config()).expect("readable");
    std::fs::write(place.config(), config + "[hsm]\ndeadline_ms = 60000\n").expect("writable");
    let node = place.whole();
    let worker = node.worker_ids("a")[0];
    let control = &place.tokens[0].control;
    control.arm(0, Fault { call: Call::SignInit, deed: Deed::Hang, when: When::Before, how: How::ForGood });
    // A check may be the one that hangs, and nobody hears of it.
    common::wait_until("a call that hangs", || control.injected(Call::SignInit) > 0);
    assert!(std::path::Path::new(&format!("/proc/{worker}/stat")).exists(), "the control: it is there");
    common::kill(node.process.id(), "KILL");
    common::wait_until("the end of the worker", || {
        std::fs::read_to_string(format!("/proc/{worker}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

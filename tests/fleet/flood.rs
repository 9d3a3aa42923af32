//! Floods: of ids that nobody issued, and of one caller.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::common::{self, Pair, sign};
use crate::support::{Fleet, Node, Stop};

/// Clients that flood at a time.
const CLIENTS: u64 = 4;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A pair that nobody issued, right in all that can be known of another key: prefix, account, generation, and in one of 2,048 the
/// tag as well.
fn made_up(known: &Pair, number: u64) -> Pair {
    // The last six characters hold most of the serial number, and the tag.
    let drawn = Sha256::digest(number.to_le_bytes());
    let tail: String = drawn.iter().take(6).map(|byte| char::from(BASE32[usize::from(byte % 32)])).collect();
    Pair { access_key_id: format!("{}{tail}", &known.access_key_id[..14]), ..known.clone() }
}

/// Questions for keys that were sent to the HSM.
fn asked(node: &Node) -> f64 {
    let (_, text) = common::get(&format!("{}/metrics", node.rpc));
    let of = |kind: &str| {
        let name = format!("rederive_hsm_requests_total{{kind=\"{kind}\"}}");
        text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<f64>().ok()).expect("a count")
    };
    ["signing_key", "sigv4a_public_key", "matches_v2", "tag_key", "issue"].into_iter().map(of).sum()
}

/// Sends made-up ids, while a valid key is used; gives how many questions the HSM was asked because of them.
fn flood(node: &Node, known: &Pair, ids: u64) -> f64 {
    assert_eq!(node.says(known), "accept");
    let (before, next, stop) = (asked(node), AtomicU64::new(0), AtomicBool::new(false));
    let send = || {
        while let number @ 0.. = next.fetch_add(1, Ordering::Relaxed)
            && number < ids
        {
            assert_eq!(node.says(&made_up(known, number)), "refuse", "{number}");
        }
    };
    std::thread::scope(|scope| {
        let valid = scope.spawn(|| {
            let mut times = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(node.says(known), "accept", "beside the flood");
                times += 1;
            }
            times
        });
        let stop = Stop(&stop);
        let senders: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(send)).collect();
        senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
        drop(stop);
        assert!(valid.join().expect("no panic") > 0, "the control");
    });
    asked(node) - before
}

#[test]
fn made_up_ids_do_not_reach_the_hsm() {
    let fleet = Fleet::start();
    let ids = if common::long() { 100_000 } else { 2_000 };
    let issuer = flood(fleet.issuer(), &fleet.root, ids);
    let verifier = fleet.verifier("verifier", "");
    let verifier = flood(&verifier, &fleet.root, ids);
    println!("of {ids} made-up ids: {issuer} questions to the HSM of an issuer, {verifier} to that of a verifier");
    assert!(issuer * 1000.0 <= ids as f64, "one in a thousand at the most");
    // Where there is no registry, one in 2,048 is asked about, and once more before it is refused.
    assert!(verifier <= 30.0 + ids as f64 / 500.0, "{verifier}");
    let before = asked(fleet.issuer());
    let alice = fleet.user("alice");
    assert_eq!(fleet.issuer().says(&alice), "accept");
    assert!(asked(fleet.issuer()) > before, "the control: real ones do");
}

#[test]
fn one_callers_flood_is_not_anothers_wait() {
    let mut fleet = Fleet::start();
    fleet.issuer = None;
    let mut config = std::fs::read_to_string(fleet.config()).expect("readable");
    for (name, bound) in [("greedy", "hsm_per_second = 3\n"), ("modest", "")] {
        std::fs::write(fleet.path(name), name.repeat(8)).expect("writable");
        let token = fleet.path(name);
        config += &format!(
            "[[caller]]\nname = \"{name}\"\ntoken_file = {token:?}\nservices = [\"*\"]\nregions = [\"*\"]\n{bound}"
        );
    }
    std::fs::write(fleet.config(), config.replace("anyone =", "# anyone =")).expect("writable");
    fleet.start_issuer();
    let next = AtomicU64::new(0);
    // Each in a region that was never named before.
    let ask = |name: &str, pair: &Pair| {
        let region = format!("r-{}", next.fetch_add(1, Ordering::Relaxed));
        let call = sign::s3_get(pair, &region, "h", "/b/k").call().to_string();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let request = agent.post(format!("{}/v1/verify", fleet.issuer().rpc));
        let request = request.header("authorization", format!("Bearer {}", name.repeat(8)));
        let mut answer = request.content_type("application/json").send(call).expect("an answer");
        let waits = answer.headers().get("retry-after").is_some();
        let text = answer.body_mut().read_to_string().expect("text");
        (answer.status().as_u16(), waits, text)
    };
    let forged = Pair { secret_access_key: "x".repeat(40), ..fleet.root.clone() };
    common::wait_until("more than its part", || {
        let (status, waits, text) = ask("greedy", &forged);
        assert!(matches!((status, waits), (200, false) | (503, true)), "{status}: {text}");
        status == 503
    });
    let (status, _, text) = ask("modest", &fleet.root);
    assert!(status == 200 && text.contains("accept"), "another caller, the same account: {text}");
    common::wait_until("the next second", || ask("greedy", &fleet.root).0 == 200);
}

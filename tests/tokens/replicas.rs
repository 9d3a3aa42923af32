//! Two tokens with one master: what happens when one is lost, when both are, and when one of them lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rederive_hsm::config::{Rights, WorkerConfig};
use rederive_shim::{Call, Deed, Fault, How, When};

use crate::common::{self, Pair, sign};
use crate::oracle::{Tally, Truth, ask_both, cold, cold_in, fresh_region};
use crate::place::{Node, Place};

/// A device that answers errors.
const DEVICE_ERROR: Deed = Deed::Return(0x30);

fn always(call: Call, deed: Deed) -> Fault {
    Fault { call, deed, when: When::Before, how: How::ForGood }
}

fn once(call: Call, deed: Deed) -> Fault {
    Fault { how: How::Times(1), ..always(call, deed) }
}

/// Waits until every worker of a token is trusted.
fn is_back(node: &Node, token: &str, workers: f64) {
    common::wait_until("the token's return", || node.workers(token, "trusted") == workers);
}

/// Answers to cached and to cold requests while something is done.
fn under_load(node: &Node, pair: &Pair, what: &str, fault: impl FnOnce()) -> (Tally, Tally) {
    let warm = sign::s3_get(pair, "local", "h", "/b/k");
    assert_eq!(node.verdict(&warm), "accept");
    let stop = AtomicBool::new(false);
    let run = |signed: &dyn Fn() -> (Truth, sign::Signed)| {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            let (truth, signed) = signed();
            tally.judge(truth, &node.verdict(&signed), what);
        }
        tally
    };
    let warm = &warm;
    let is_valid = AtomicBool::new(false);
    let next_cold = || {
        let truth = if is_valid.fetch_xor(true, Ordering::Relaxed) { Truth::Forged } else { Truth::Valid };
        (truth, cold(pair, truth))
    };
    std::thread::scope(|scope| {
        let cached = || scope.spawn(|| run(&|| (Truth::Valid, sign::s3_get(pair, "local", "h", &warm.target))));
        let uncached = || scope.spawn(|| run(&next_cold));
        // In the long form enough for a thousand requests a second, about half of them cold.
        let clients = if common::long() { (2, 10) } else { (2, 2) };
        let cached: Vec<_> = (0..clients.0).map(|_| cached()).collect();
        let uncached: Vec<_> = (0..clients.1).map(|_| uncached()).collect();
        std::thread::sleep(Duration::from_millis(200));
        fault();
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        let sum = |threads: Vec<std::thread::ScopedJoinHandle<'_, Tally>>| {
            let mut tally = Tally::default();
            threads.into_iter().for_each(|thread| tally.add(thread.join().expect("no panic")));
            tally
        };
        (sum(cached), sum(uncached))
    })
}

#[test]
fn one_of_two_tokens_is_lost_and_returns() {
    let place = Place::new(&["a", "b"], 1);
    let mut node = place.whole();
    let control = &place.tokens[0].control;
    let signal = |name: &'static str| node.worker_ids("a").into_iter().for_each(|id| common::kill(id, name));
    let wait = || std::thread::sleep(Duration::from_millis(200));
    // The first cycle is not counted: it opens what is kept open from then on.
    let (mut before, mut all_cached, mut all_cold) = (None, Tally::default(), Tally::default());
    let mut loaded = Duration::ZERO;
    let faults: [(&str, &dyn Fn()); 4] = [
        ("killed", &|| signal("KILL")),
        ("stopped", &|| {
            signal("STOP");
            wait();
        }),
        ("erring", &|| {
            control.arm(0, always(Call::Sign, DEVICE_ERROR));
            wait();
            control.disarm_all();
        }),
        ("hanging", &|| {
            control.arm(0, always(Call::SignInit, Deed::Hang));
            wait();
            control.disarm_all();
        }),
    ];
    for cycle in 0..if common::long() { 25 } else { 1 } {
        for (what, fault) in &faults {
            let since = Instant::now();
            let (cached, uncached) = under_load(&node, &place.root, what, fault);
            loaded += since.elapsed();
            is_back(&node, "a", 1.0);
            assert_eq!(cached.unavailable, 0, "{what}: cached requests are untouched");
            all_cached.add(cached);
            all_cold.add(uncached);
        }
        before = before.or_else(|| Some((cycle, node.holds())));
    }
    let rate = (all_cached.compared + all_cold.compared) as f64 / loaded.as_secs_f64();
    println!("cached {all_cached:?}, cold {all_cold:?}, {rate:.0} a second");
    all_cached.check();
    all_cold.check();
    assert!(all_cold.compared > 10, "the control: there was a load");
    assert!(control.injected(Call::Sign) > 0 && control.injected(Call::SignInit) > 0, "the control: faults were felt");
    if common::long() {
        assert!(all_cold.unavailable * 1000 <= all_cold.compared + all_cached.compared, "at most one in a thousand");
    }
    assert!(node.is_running());
    assert_eq!(common::children(node.process.id()).len(), 2, "no worker is left behind");
    assert_eq!(node.metric("rederive_hsm_differences_total"), 0.0, "no request was taken for somebody else's");
    let (_, (files, threads)) = before.expect("there was a cycle");
    common::wait_until("as many descriptors and threads as before", || {
        let (files_now, threads_now) = node.holds();
        // Connections of this test's own come and go.
        files_now <= files + 8 && threads_now <= threads + 2
    });
    for token in &place.tokens {
        assert_eq!((token.control.forked(), token.control.raced()), (0, 0), "rules of the standard");
    }
}

/// Watches for how long this process is kept from running: what it measures of others has that in it.
struct Stops {
    over: Arc<AtomicBool>,
    watch: JoinHandle<Duration>,
}

impl Stops {
    fn watch() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let watch = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !seen.load(Ordering::Relaxed) {
                let since = Instant::now();
                std::thread::sleep(Duration::from_millis(1));
                longest = longest.max(since.elapsed());
            }
            longest
        });
        Self { over, watch }
    }

    fn longest(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.watch.join().expect("no panic")
    }
}

#[test]
fn with_both_tokens_gone_what_is_cached_goes_on() {
    let place = Place::new(&["a", "b"], 1);
    let node = place.whole();
    let warm = sign::s3_get(&place.root, "local", "h", "/b/k");
    assert_eq!(node.verdict(&warm), "accept");
    for _ in 0..if common::long() { 20 } else { 2 } {
        for token in &place.tokens {
            token.control.arm(0, always(Call::Initialize, DEVICE_ERROR));
            token.control.arm(1, always(Call::Sign, DEVICE_ERROR));
        }
        let gone = || place.tokens.iter().all(|token| node.workers(token.name, "trusted") == 0.0);
        let mut tally = Tally::default();
        common::wait_until("both gone", || {
            tally.judge(Truth::Valid, &node.verdict(&cold(&place.root, Truth::Valid)), "going");
            gone()
        });
        let mut longest = Duration::ZERO;
        let stops = Stops::watch();
        for truth in [Truth::Valid, Truth::Forged] {
            let since = Instant::now();
            assert_eq!(node.verdict(&cold(&place.root, truth)), "503", "nobody can tell");
            longest = longest.max(since.elapsed());
        }
        let stood_still = stops.longest();
        assert_eq!(node.verdict(&warm), "accept");
        place.tokens[1].control.disarm_all();
        let since = Instant::now();
        common::wait_until("the first return", || node.verdict(&cold(&place.root, Truth::Valid)) == "accept");
        println!(
            "503 after {longest:?}, this process once not running for {stood_still:?}; back after {:?}",
            since.elapsed()
        );
        assert!(!common::long() || since.elapsed() < Duration::from_secs(2));
        place.tokens[0].control.disarm_all();
        is_back(&node, "a", 1.0);
        is_back(&node, "b", 1.0);
        tally.check();
    }
}

#[test]
fn one_flipped_bit_refuses_nobody() {
    let place = Place::new(&["a", "b"], 1);
    let node = place.whole();
    let mut tally = Tally::default();
    let controls = || place.tokens.iter().map(|token| &token.control);
    for round in 0..if common::long() { 200 } else { 10 } {
        // Of one token, or of each another bit: then nobody can tell until somebody derives it rightly.
        controls().take(1 + round % 2).for_each(|control| control.arm(0, once(Call::Sign, Deed::Flip(None))));
        let region = fresh_region();
        for truth in [Truth::Valid, Truth::Forged, Truth::Valid] {
            let signed = cold_in(&region, &place.root, truth);
            tally.judge(truth, &node.verdict(&signed), &format!("round {round}"));
        }
        controls().for_each(|control| control.disarm_all());
        tally.judge(Truth::Valid, &node.verdict(&cold_in(&region, &place.root, Truth::Valid)), "afterwards");
    }
    tally.check();
    assert!(controls().map(|control| control.injected(Call::Sign)).sum::<u64>() >= 5, "the control");
    assert!(tally.unavailable < tally.compared / 2, "{tally:?}");
}

#[test]
fn sessions_that_failed_are_closed() {
    let place = Place::new(&["a"], 1);
    let node = place.whole();
    let (control, worker) = (&place.tokens[0].control, node.worker_ids("a"));
    let (open, opened) = (control.open_sessions(), control.calls(Call::OpenSession));
    let mut tally = Tally::default();
    for round in 0..if common::long() { 2000 } else { 20 } {
        // The call failed, the session is lost, every session is lost, half an answer.
        let deeds = [Deed::Return(0x06), Deed::Return(0xb3), Deed::LoseSessions, Deed::Short];
        control.arm(0, once(Call::Sign, deeds[round % deeds.len()]));
        tally.add(ask_both(&node, &place.root, 1, "a lost session"));
    }
    control.disarm_all();
    tally.check();
    common::wait_until("as many sessions as before", || control.open_sessions() == open);
    assert_eq!(node.worker_ids("a"), worker, "the same process");
    assert!(control.calls(Call::OpenSession) >= opened + 20, "the control: sessions were lost");
}

#[test]
fn a_token_that_lies_is_excluded_and_comes_back() {
    let place = Place::new(&["a", "b"], 1);
    let node = place.whole();
    let lying = &place.tokens[0].control;
    lying.arm(0, always(Call::Sign, Deed::Flip(Some(7))));
    let mut tally = Tally::default();
    // Every forged request makes somebody derive again, so it soon shows who lies.
    common::wait_until("excluded", || {
        tally.add(ask_both(&node, &place.root, 2, "lying"));
        node.workers("a", "trusted") == 0.0
    });
    let key = node.new_key(&place.root, "alice").expect("the other token makes it");
    tally.judge_key(&key, "while one lies");
    lying.disarm_all();
    is_back(&node, "a", 1.0);
    tally.add(ask_both(&node, &place.root, 2, "afterwards"));
    tally.check();
    // An operator hears of it.
    common::log_that_says(&node.log, "ALARM");
}

#[test]
fn keys_are_made_only_where_enough_tokens_hold_the_master() {
    let place = Place::new(&["a", "b"], 1);
    let config = std::fs::read_to_string(place.config()).expect("readable");
    std::fs::write(place.config(), config + "[hsm]\nmin_replicas = 2\n").expect("writable");
    place.tokens[1].control.arm(0, always(Call::Initialize, DEVICE_ERROR));
    let node = place.ready();
    assert_eq!(node.verdict(&cold(&place.root, Truth::Valid)), "accept", "one is enough to verify");
    assert_eq!(node.new_key(&place.root, "alice").err(), Some(503));
    place.tokens[1].control.disarm_all();
    is_back(&node, "b", 1.0);
    let mut tally = Tally::default();
    tally.judge_key(&node.new_key(&place.root, "bob").expect("both are there"), "with both");
    tally.check();
}

#[test]
fn the_processes_of_all_tokens_share_one_cap() {
    let place = Place::new(&["a", "b"], 3);
    let node = place.ready();
    let ids = || place.tokens.iter().flat_map(|token| node.worker_ids(token.name)).collect::<Vec<_>>();
    common::wait_until("every process", || ids().len() == 6);
    let caps = |id: u32| {
        let command = std::fs::read(format!("/proc/{id}/cmdline")).expect("a process");
        let settings = command.split(|byte| *byte == 0).find(|one| one.starts_with(b"{")).expect("what it was told");
        let settings: WorkerConfig = serde_json::from_slice(settings).expect("a worker's configuration");
        let Rights { signing_keys_per_second, issues_per_second, issues_per_account_a_day, .. } = settings.rights;
        [signing_keys_per_second, issues_per_second, issues_per_account_a_day]
    };
    let sum = ids().into_iter().map(caps).reduce(|sum, caps| std::array::from_fn(|at| sum[at] + caps[at]));
    let Rights { signing_keys_per_second, issues_per_second, issues_per_account_a_day, .. } = Rights::default();
    assert_eq!(sum, Some([signing_keys_per_second, issues_per_second, issues_per_account_a_day]));
}

#[test]
fn one_accounts_flood_is_not_anothers_wait() {
    let place = Place::new(&["a"], 1);
    let config = std::fs::read_to_string(place.config()).expect("readable");
    std::fs::write(place.config(), config + "[hsm]\nper_account = 3\n").expect("writable");
    let printed = place.run(&["account", "create", "--number", "000000000042"]);
    let field =
        |label: &str| printed.lines().find_map(|line| line.strip_prefix(label)).expect("a line").trim().to_owned();
    let other = Pair { access_key_id: field("access key id"), secret_access_key: field("secret access key") };
    let node = place.whole();
    let mut tally = Tally::default();
    common::wait_until("more than its part", || {
        tally.judge(Truth::Forged, &node.verdict(&cold(&place.root, Truth::Forged)), "flood");
        tally.unavailable > 0
    });
    assert_eq!(node.verdict(&cold(&other, Truth::Valid)), "accept", "another account");
    common::wait_until("the next second", || node.verdict(&cold(&place.root, Truth::Valid)) == "accept");
    tally.check();
}

//! The worker dies or hangs under load: what is at hand goes on, the rest is "cannot decide", and nobody is refused.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Dev, Pair, sign};

/// What the load saw: answers by kind, for keys at hand and for others.
#[derive(Default, Debug)]
struct Seen {
    cached: BTreeMap<String, u32>,
    cold: BTreeMap<String, u32>,
}

fn verdict(dev: &Dev, signed: &sign::Signed) -> String {
    let (status, answer) = dev.verify(&signed.call());
    match status {
        200 => format!("{} {}", answer["decision"].as_str().unwrap_or("?"), answer["code"].as_str().unwrap_or("")),
        other => other.to_string(),
    }
}

/// Runs a fault in the middle of a load of cached and cold requests. Cold ones are for regions that were never named.
fn under_load(dev: &Dev, alice: &Pair, fault: impl FnOnce()) -> Seen {
    let warm = sign::s3_get(alice, &dev.ready.region, "h", "/b/k");
    assert_eq!(verdict(dev, &warm).trim(), "accept");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let cached = scope.spawn(|| {
            let mut seen = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                *seen.entry(verdict(dev, &warm)).or_insert(0) += 1;
            }
            seen
        });
        let cold = scope.spawn(|| {
            let mut seen = BTreeMap::new();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let region = format!("cold-{}-{number}", dev.hsm_requests("signing_key"));
                *seen.entry(verdict(dev, &sign::s3_get(alice, &region, "h", "/b/k"))).or_insert(0) += 1;
            }
            seen
        });
        std::thread::sleep(Duration::from_millis(300));
        fault();
        let since = Instant::now();
        common::wait_until("a cold request that is accepted again", || {
            let region = format!("after-{}", since.elapsed().as_nanos());
            verdict(dev, &sign::s3_get(alice, &region, "h", "/b/k")).trim() == "accept"
        });
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        Seen { cached: cached.join().expect("no panic"), cold: cold.join().expect("no panic") }
    })
}

/// The worker, which may just be about to be replaced.
fn worker(dev: &Dev) -> u32 {
    common::wait_until("a worker", || dev.worker().is_some());
    dev.worker().expect("it was there")
}

fn check(seen: &Seen) {
    assert!(seen.cached.keys().all(|kind| kind.trim() == "accept"), "cached requests never fail: {seen:?}");
    assert!(seen.cold.keys().all(|kind| kind.trim() == "accept" || kind == "503"), "never refused: {seen:?}");
    assert!(seen.cold.values().sum::<u32>() > 10, "there was a load: {seen:?}");
}

#[test]
fn a_killed_worker_is_replaced() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    for _ in 0..if common::long() { 50 } else { 5 } {
        let worker = worker(&dev);
        let seen = under_load(&dev, &alice, || common::kill(worker, "KILL"));
        check(&seen);
        assert_ne!(dev.worker(), Some(worker));
    }
    assert_eq!(common::children(dev.process.id()).len(), 1, "no worker is left behind");
}

#[test]
fn a_hung_worker_is_killed_and_replaced() {
    let dev = Dev::start();
    let alice = dev.user("alice");
    for _ in 0..if common::long() { 50 } else { 5 } {
        let worker = worker(&dev);
        let seen = under_load(&dev, &alice, || {
            common::kill(worker, "STOP");
            common::wait_until("the end of the hung worker", || {
                !std::path::Path::new(&format!("/proc/{worker}")).exists()
            });
        });
        check(&seen);
        assert!(seen.cold.contains_key("503"), "the control: the fault was felt: {seen:?}");
    }
}

#[test]
fn a_refused_pin_is_tried_once_and_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    drop(Dev::start_in(directory.path()));
    std::fs::write(directory.path().join("pin"), "wrong-pin\n").expect("writable");
    let output = std::process::Command::new(common::REDERIVE)
        .args(["dev", "--json", "--listen", "127.0.0.1:0", "--rpc-listen", "127.0.0.1:0", "--state"])
        .arg(directory.path())
        .output()
        .expect("runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("refused the PIN"), "{error}");
    assert_eq!(error.matches("cannot start").count(), 1, "one login attempt: {error}");
}

#[test]
fn sigterm_ends_it_cleanly_and_soon() {
    let mut dev = Dev::start();
    let since = Instant::now();
    dev.signal("TERM");
    let status = dev.process.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(since.elapsed() < Duration::from_secs(10));
}

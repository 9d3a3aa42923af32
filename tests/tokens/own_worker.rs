//! A worker of its own: its life, its watchdog, its configuration, its units for systemd.

use std::process::Command;
use std::time::Duration;

use rederive_shim::{Call, Deed, Fault, How, When};

use crate::common::{self, REDERIVE, sign};
use crate::oracle::{Truth, cold};
use crate::place::Node;
use crate::split::Split;

pub const ISSUER: &str = "issue = true\nservices = [\"*\"]\nregions = [\"*\"]";

fn accepts_again(node: &Node, split: &Split) {
    common::wait_until("an accepted cold request", || {
        let verdict = node.verdict(&cold(&split.place.root, Truth::Valid));
        assert!(["accept", "503"].contains(&verdict.as_str()), "a valid request: {verdict}");
        verdict == "accept"
    });
}

#[test]
fn a_node_verifies_and_issues_through_its_socket() {
    let split = Split::new(ISSUER);
    let watchdog = split.start();
    let node = split.place.ready();
    assert!(common::children(node.process.id()).is_empty(), "serve has started no worker");
    let pair = node.new_key(&split.place.root, "alice").expect("a key");
    assert_eq!(node.verdict(&cold(&pair, Truth::Valid)), "accept");
    assert_ne!(node.verdict(&cold(&pair, Truth::Forged)), "accept");
    assert!(split.place.run(&["doctor"]).contains("its worker answers at"));
    assert!(split.place.run(&["token", "list"]).contains("has a worker of its own"));
    let refused = Command::new(REDERIVE).args(["generation", "create", "--config"]).arg(split.place.config()).output();
    let refused = refused.expect("runs");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("names its module and PIN"));

    let module_in = |process: u32| {
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps"));
        maps.map(|maps| maps.contains("rederive_shim") || maps.contains("softhsm"))
    };
    assert!(!module_in(watchdog.process.id()).expect("its own user may look"), "the watchdog has loaded no module");
    match module_in(watchdog.worker().expect("a worker")) {
        Ok(is_there) => assert!(is_there, "the control: the worker has"),
        Err(error) => println!("SKIPPED, the control: only root may look into a worker ({error})"),
    }
}

#[test]
fn a_worker_that_dies_or_hangs_is_replaced() {
    let split = Split::new(ISSUER);
    // Long enough for a busy machine, where a call may take its time without hanging.
    split.change("deadline_ms = 5000", "deadline_ms = 1000");
    let watchdog = split.start();
    let node = split.place.ready();
    let control = &split.place.tokens[0].control;
    let hang = Fault { call: Call::SignInit, deed: Deed::Hang, when: When::Before, how: How::Times(1) };
    let faults: [(&str, &str, &dyn Fn()); 3] = [
        ("killed", "it has ended", &|| common::kill(watchdog.worker().expect("a worker"), "KILL")),
        ("stopped", "no sign of life", &|| common::kill(watchdog.worker().expect("a worker"), "STOP")),
        ("hanging", "a call to the token has lasted", &|| {
            control.arm(0, hang);
            common::wait_until("a call that hangs", || {
                node.verdict(&cold(&split.place.root, Truth::Valid));
                control.injected(Call::SignInit) > 0
            });
        }),
    ];
    for (what, told, fault) in faults {
        let (before, was, ready) = (watchdog.told(told), watchdog.worker(), watchdog.told("the HSM worker is ready"));
        let warm = sign::s3_get(&split.place.root, "local", "h", "/b/k");
        accepts_again(&node, &split);
        assert_eq!(node.verdict(&warm), "accept");
        fault();
        let since = std::time::Instant::now();
        assert_eq!(node.verdict(&warm), "accept", "{what}: what is cached goes on");
        watchdog.tells(told, before);
        watchdog.tells("the HSM worker is ready", ready);
        accepts_again(&node, &split);
        println!("{what}: back after {} ms", since.elapsed().as_millis());
        assert_ne!(watchdog.worker(), was, "{what}: another process");
    }
    let worker = watchdog.worker().expect("a worker");
    watchdog.signal("KILL");
    common::wait_until("the end of a worker without a watchdog", || {
        std::fs::read_to_string(format!("/proc/{worker}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn its_configuration_alone_gives_it_rights_and_is_read_again_on_sighup() {
    let split = Split::new(ISSUER);
    let watchdog = split.start();
    let node = split.place.ready();
    accepts_again(&node, &split);
    let begins_anew = |from: &str, to: &str| {
        let ready = watchdog.told("the HSM worker is ready");
        split.change(from, to);
        watchdog.signal("HUP");
        watchdog.tells("the HSM worker is ready", ready);
        common::wait_until("the node is back", || node.workers("a", "trusted") == 1.0);
    };
    begins_anew("services = [\"*\"]", "services = [\"sqs\"]");
    assert_eq!(node.verdict(&cold(&split.place.root, Truth::Valid)), "503", "s3 is no service of the worker's now");
    begins_anew("services = [\"sqs\"]", "services = [\"s3\"]");
    accepts_again(&node, &split);

    let (anew, was) = (watchdog.told("cannot be used"), watchdog.worker());
    split.change("[rights]", "[rights]\neverything = true");
    watchdog.signal("HUP");
    watchdog.tells("cannot be used", anew);
    assert_eq!(watchdog.worker(), was, "a configuration that cannot be used changes nothing");
    accepts_again(&node, &split);
}

#[test]
fn a_refused_pin_is_tried_once_and_ends_the_watchdog() {
    let split = Split::new(ISSUER);
    let pin_file = split.path("a/pin");
    let right = std::fs::read_to_string(&pin_file).expect("a PIN");
    let control = &split.place.tokens[0].control;
    control.lock_after(3);
    std::fs::write(&pin_file, "wrong-pin\n").expect("writable");
    let before = control.calls(Call::Login);
    for _ in 0..3 {
        let mut watchdog = split.launch();
        assert_eq!(watchdog.process.wait().expect("it ends").code(), Some(3));
    }
    assert_eq!(control.calls(Call::Login) - before, 1, "over all restarts");
    std::fs::write(&pin_file, right).expect("writable");
    let unlatched = Command::new(REDERIVE).args(["hsm-worker", "--unlatch", "--config"]).arg(split.config()).output();
    assert!(String::from_utf8_lossy(&unlatched.expect("runs").stdout).contains("unlatched"));
    let _watchdog = split.start();
    accepts_again(&split.place.ready(), &split);
}

#[test]
fn several_workers_listen_beside_each_other() {
    let split = Split::new(ISSUER);
    split.change("workers = 1", "workers = 2");
    let config = std::fs::read_to_string(split.place.config()).expect("readable");
    std::fs::write(split.place.config(), config.replace("socket =", "workers = 2\nsocket =")).expect("writable");
    let watchdog = split.start();
    let node = split.place.ready();
    common::wait_until("both", || node.workers("a", "trusted") == 2.0);
    let workers = common::children(watchdog.process.id());
    assert_eq!(workers.len(), 2);
    common::kill(workers[0], "STOP");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(node.verdict(&cold(&split.place.root, Truth::Valid)), "accept", "the other one answers");
    common::kill(workers[0], "CONT");
    // The same process, over a new connection: no request of ours is taken for somebody else's.
    common::wait_until("both again", || node.workers("a", "trusted") == 2.0);
    let checks = || node.metric("rederive_hsm_requests_total{kind=\"check\"}");
    let before = checks();
    common::wait_until("checks of both", || checks() >= before + 4.0);
    assert_eq!(node.metric("rederive_hsm_differences_total"), 0.0);
}

/// `rotate` tells what to put into a worker's configuration, waits for it, and goes on; what it prints is what works.
#[test]
fn a_rotation_tells_what_to_put_into_a_workers_configuration() {
    let split = Split::new(ISSUER);
    let watchdog = split.start();
    let rotate = |more: &[&str]| {
        let mut command = Command::new(REDERIVE);
        command.args(["rotate", "--worker-config"]).arg(split.config()).args(more);
        let ran = command.arg("--config").arg(split.path("operator.toml")).output().expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ran.status.success(), text(&ran.stdout), text(&ran.stderr))
    };
    let begins_anew = |from: &str, to: &str| {
        let ready = watchdog.told("the HSM worker is ready");
        split.change(from, to);
        watchdog.signal("HUP");
        watchdog.tells("the HSM worker is ready", ready);
    };
    for _ in 0..2 {
        let (done, told, why) = rotate(&["--yes"]);
        assert!(!done && told.contains("worker.toml needs this table"), "{told} {why}");
        assert!(why.contains("reload each of these workers"), "{why}");
    }
    let told = rotate(&["--yes"]).1;
    let table = told.split_once("\n[[generation]]").expect("a table").1;
    let table = table.split_once("\n\n").map_or(table, |(table, _)| table);
    begins_anew("[rights]", &format!("[[generation]]{table}\n[rights]"));
    let (done, told, why) = rotate(&["--yes"]);
    assert!(done && why.contains("set issuing = false for generation 0"), "{told} {why}");
    let node = split.place.ready();
    crate::modules::key_of(&split.place, &node, 1);

    begins_anew("number = 0\nissuing = true", "number = 0\nissuing = false");
    let (done, told, why) = rotate(&["--close", "0", "--breaks", "1"]);
    assert!(done && why.contains("take the table of generation 0 out"), "{told} {why}");
}

/// The units are what `systemd` takes; the test's binary stands in for the installed one.
#[test]
fn systemd_takes_the_units() {
    let verify = |text: &str, name: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(name);
        std::fs::write(&path, text.replace("/usr/local/bin/rederive", REDERIVE)).expect("writable");
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(path).output().expect("runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("SKIPPED: there is no systemd-analyze here");
        return;
    }
    let units = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for name in ["rederive-hsm.service", "rederive.service"] {
        let text = std::fs::read_to_string(units.join(name)).expect("a unit");
        let (good, said) = verify(&text, name);
        assert!(good && !said.contains(name), "{name}: {said}");
        let (_, said) = verify(&text.replace("PrivateTmp=yes", "PrivateTemp=yes"), name);
        assert!(said.contains("PrivateTemp"), "the control: {said}");
    }
}

//! Where the PIN comes from; and a refused one: one login attempt, over any number of restarts.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use rederive_shim::Call;

use crate::common::{self, REDERIVE};
use crate::oracle::{Truth, cold};
use crate::place::Place;

#[test]
fn a_wrong_pin_reaches_the_token_once() {
    let place = Place::new(&["a"], 2);
    let token = &place.tokens[0];
    let pin_file = place.directory.path().join("a/pin");
    let right = std::fs::read_to_string(&pin_file).expect("a PIN");
    token.control.lock_after(3);
    std::fs::write(&pin_file, "wrong-pin\n").expect("writable");
    let before = token.control.calls(Call::Login);
    for _ in 0..100 {
        let node = place.serve();
        common::wait_until("latched", || node.workers("a", "latched") == 2.0);
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

/// `doctor` with another source of the PIN, which it logs in with.
fn doctor(place: &Place, source: &str) -> Command {
    let text = std::fs::read_to_string(place.config()).expect("readable");
    let line = text.lines().find(|line| line.starts_with("pin_file")).expect("a PIN file").to_owned();
    let config = place.directory.path().join("other.toml");
    std::fs::write(&config, text.replace(&line, source)).expect("writable");
    // A terminal of its own, which hands on what it is given.
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &format!("{REDERIVE} doctor --config {}", config.display()), "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_pin_of_a_systemd_credential() {
    let place = Place::new(&["a"], 1);
    let told = |directory: &std::path::Path| {
        let mut doctor = doctor(&place, "pin_credential = \"pin\"");
        let output = doctor.env("CREDENTIALS_DIRECTORY", directory).stdin(Stdio::null()).output().expect("script runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let right = told(&place.directory.path().join("a"));
    assert!(right.contains("PIN accepted"), "{right}");
    let none = told(place.directory.path());
    assert!(none.contains("cannot read the PIN from the systemd credential pin"), "{none}");
}

#[test]
fn a_pin_is_asked_for_at_the_terminal_and_not_shown() {
    let place = Place::new(&["a"], 1);
    let pin = std::fs::read_to_string(place.directory.path().join("a/pin")).expect("a PIN");
    let before = place.tokens[0].control.calls(Call::Login);
    let mut process = doctor(&place, "pin_prompt = true").spawn().expect("script runs");
    let (mut input, mut output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("PIN of token 'a': ") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).expect("readable"), 1, "{}", String::from_utf8_lossy(&said));
        said.push(byte[0]);
    }
    input.write_all(pin.as_bytes()).expect("it listens");
    output.read_to_end(&mut said).expect("readable");
    assert!(process.wait().expect("it ends").success());
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("PIN accepted") && !said.contains(pin.trim()), "{said}");
    assert_eq!(place.tokens[0].control.calls(Call::Login) - before, 1);
}

/// How often some bytes stand in the memory of a process; none where the kernel does not let anybody look.
fn in_memory(process: u32, bytes: &[u8]) -> Option<usize> {
    use std::os::unix::fs::FileExt;
    let memory = std::fs::File::open(format!("/proc/{process}/mem")).ok()?;
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (first, last) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let address = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        let mut region = vec![0; (address(last) - address(first)) as usize];
        // Some regions cannot be read: of devices, or gone meanwhile.
        let read = memory.read_at(&mut region, address(first)).unwrap_or(0);
        found += region[..read].windows(bytes.len()).filter(|window| *window == bytes).count();
    }
    Some(found)
}

#[test]
fn the_pin_is_wiped_when_the_token_has_had_it() {
    let place = Place::new(&["a"], 1);
    let pin = std::fs::read_to_string(place.directory.path().join("a/pin")).expect("a PIN");
    let node = place.whole();
    assert_eq!(node.verdict(&cold(&place.root, Truth::Valid)), "accept");
    let worker = node.worker_ids("a")[0];
    let looked = |bytes: &[u8]| in_memory(worker, bytes);
    let Some(control) = looked(b"\"latch\":") else {
        // The worker cannot be looked into by anybody but root, which is as it should be.
        return assert!(!rustix::process::geteuid().is_root(), "root may look");
    };
    assert!(control > 0, "the control: its settings are there");
    assert_eq!(looked(pin.trim().as_bytes()), Some(0), "the PIN is not");
    assert_eq!(in_memory(node.process.id(), pin.trim().as_bytes()), Some(0), "serve never has it");
}

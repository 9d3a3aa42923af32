//! Masters that are rotated: under load, killed between any two steps, and one that is closed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{self, Pair, REDERIVE, sign};
use crate::oracle::{Tally, Truth, cold};
use crate::place::{Node, Place};

/// How many generations are in a state.
fn count(place: &Place, state: &str) -> usize {
    place.run(&["generation", "list"]).lines().filter(|line| line.contains(&format!("  {state}  "))).count()
}

/// Active keys of a generation, as an operator is told.
fn active(place: &Place, generation: u8) -> u64 {
    let told = place.run(&["generation", "progress"]);
    let line = told.lines().find(|line| line.starts_with(&format!("generation {generation:>3} "))).expect("a line");
    let words: Vec<&str> = line.split_whitespace().collect();
    words[words.len() - 3].parse().expect("a number")
}

/// Runs the command until it says something, and kills it there; or it ends by itself.
fn kill_at(place: &Place, arguments: &[&str], said: &str) {
    let mut command = Command::new(REDERIVE)
        .args(arguments)
        .arg("--config")
        .arg(place.config())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rederive starts");
    let lines = BufReader::new(command.stderr.take().expect("piped")).lines();
    let told = lines.map_while(Result::ok).find(|line| line.contains(said));
    let _ = command.kill();
    let _ = command.wait();
    assert!(told.is_some(), "it never said {said}");
}

#[test]
fn a_rotation_goes_on_where_it_was_killed() {
    let place = Place::new(&["a"], 1);
    let plan = place.run(&["rotate", "--plan"]);
    assert!(plan.contains("takes the place of generation 0") && count(&place, "issuing") == 1, "{plan}");
    for said in ["1. make", "2. promote", "its check value", "3. retire"] {
        kill_at(&place, &["rotate", "--yes"], said);
        assert!(count(&place, "issuing") >= 1, "keys can be made at any time");
    }
    let other =
        Command::new(REDERIVE).args(["rotate", "--yes", "--from", "5", "--config"]).arg(place.config()).output();
    let other = String::from_utf8(other.expect("runs").stderr).expect("text");
    assert!(other.contains("was begun") || other.contains("does not make keys"), "{other}");
    if count(&place, "verifying") == 0 {
        place.run(&["rotate", "--yes"]);
    }
    // However often it was killed, there is one new generation, and the old one only verifies.
    assert_eq!((count(&place, "issuing"), count(&place, "verifying"), count(&place, "pending")), (1, 1, 0));

    place.run(&["rotate", "--abandon"]);
    let node = place.ready();
    let key = node.new_key(&place.root, "alice").expect("a key");
    assert_eq!(node.verdict(&cold(&key, Truth::Valid)), "accept");
    assert_eq!(node.verdict(&cold(&place.root, Truth::Valid)), "accept", "the old ones go on");
}

#[test]
fn a_client_token_tells_no_secret_of_a_master_that_was_rotated_away() {
    let place = Place::new(&["a"], 1);
    let node = place.ready();
    let again = || node.iam(&place.root, "Action=CreateAccessKey&ClientToken=the-same");
    let secret = |xml: &str| xml.split("<SecretAccessKey>").nth(1).map(|rest| rest[..40].to_owned());
    // Each signature gives one key, and those of one second are the same.
    let next_second = || std::thread::sleep(Duration::from_millis(1100));
    let first = again().expect("a key");
    next_second();
    let second = again().expect("the same key");
    assert!(secret(&first).is_some() && secret(&first) == secret(&second), "until then it is told again");

    place.run(&["rotate", "--yes"]);
    next_second();
    // Until the node has heard of it, it is told once more, or the worker says no first; another key it is never.
    let end = Instant::now() + common::LONG;
    let refused = loop {
        match again() {
            Ok(xml) => assert_eq!(secret(&xml), secret(&first)),
            Err(503) => {}
            Err(status) => break status,
        }
        assert!(Instant::now() < end, "it never heard of the rotation");
        next_second();
    };
    assert_eq!(refused, 409);
}

/// Keys to verify with, and what came of it.
struct Load<'a> {
    node: &'a Node,
    place: &'a Place,
    keys: Mutex<Vec<Pair>>,
    made: AtomicU64,
    stop: AtomicBool,
}

impl Load<'_> {
    /// Verifies with every key in turn, cached and cold.
    fn verify(&self) -> Tally {
        let mut tally = Tally::default();
        for round in 0.. {
            let keys = self.keys.lock().expect("no panic").clone();
            for key in &keys {
                if self.stop.load(Ordering::Relaxed) {
                    return tally;
                }
                let truth = if round % 4 == 3 { Truth::Forged } else { Truth::Valid };
                let warm = sign::s3_get(key, "local", "h", "/b/k");
                let signed = if round % 2 == 0 { warm } else { cold(key, truth) };
                let truth = if round % 2 == 0 { Truth::Valid } else { truth };
                tally.judge(truth, &self.node.verdict(&signed), "under load");
            }
        }
        tally
    }

    /// Makes keys, each of which has to work in the next request.
    fn issue(&self) -> Tally {
        let mut tally = Tally::default();
        while !self.stop.load(Ordering::Relaxed) {
            let name = format!("u{}", self.made.fetch_add(1, Ordering::Relaxed));
            match self.node.new_key(&self.place.root, &name) {
                Ok(key) => tally.judge(Truth::Valid, &self.node.verdict(&cold(&key, Truth::Valid)), &name),
                Err(status) => tally.judge(Truth::Valid, &status.to_string(), &name),
            }
        }
        tally
    }
}

#[test]
fn no_valid_request_fails_while_masters_are_rotated() {
    let place = Place::new(&["a"], 2);
    if !common::long() {
        // Nothing here may depend on how fast the machine is; the long form keeps the default of 250 ms.
        let config = std::fs::read_to_string(place.config()).expect("readable");
        std::fs::write(place.config(), config + "[hsm]\ndeadline_ms = 5000\n").expect("writable");
    }
    let node = place.whole();
    let rotations = if common::long() { 20 } else { 2 };
    let load = Load {
        node: &node,
        place: &place,
        keys: Mutex::new(vec![place.root.clone()]),
        made: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let load = &load;
    let tally = std::thread::scope(|scope| {
        let threads = [scope.spawn(|| load.verify()), scope.spawn(|| load.verify()), scope.spawn(|| load.issue())];
        let _stop = Stop(&load.stop);
        for rotation in 0..rotations {
            place.run(&["rotate", "--yes"]);
            // One of each generation goes on to be verified.
            let key = node.new_key(&place.root, &format!("r{rotation}")).expect("a key");
            load.keys.lock().expect("no panic").push(key);
        }
        load.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        threads.into_iter().for_each(|thread| tally.add(thread.join().expect("no panic")));
        tally
    });
    println!("{rotations} rotations, {} keys made, {tally:?}", load.made.load(Ordering::Relaxed));
    tally.check();
    assert_eq!(tally.unavailable, 0, "no valid request fails");
    assert!(tally.compared > 20 && load.made.load(Ordering::Relaxed) > 2, "the control: there was a load");
    assert_eq!((count(&place, "issuing"), count(&place, "verifying")), (1, rotations));
    close_one(&place, &node, &load.keys.lock().expect("no panic"));
}

/// Closes generation 1: its keys are refused, and no other key notices.
fn close_one(place: &Place, node: &Node, keys: &[Pair]) {
    let generation = |pair: &Pair| {
        let output = Command::new(REDERIVE).args(["key", "decode", &pair.access_key_id]).output().expect("runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix("generation")).expect("a line").trim().to_owned();
        line.parse::<u8>().expect("a number")
    };
    let (closed, others): (Vec<&Pair>, Vec<&Pair>) = keys.iter().partition(|key| generation(key) == 1);
    assert!(!closed.is_empty() && !others.is_empty(), "the control: keys of both");
    let breaks = active(place, 1);
    let refused = Command::new(REDERIVE).args(["rotate", "--close", "1", "--config"]).arg(place.config()).output();
    let refused = String::from_utf8(refused.expect("runs").stderr).expect("text");
    assert!(refused.contains(&format!("--breaks {breaks}")), "asks to be told: {refused}");
    let warm = |key: &Pair| node.verdict(&sign::s3_get(key, "local", "h", "/b/k"));
    assert!(closed.iter().all(|key| warm(key) == "accept"));
    let (stop, since) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let untouched = scope.spawn(|| {
            let mut tally = Tally::default();
            while !stop.load(Ordering::Relaxed) {
                others.iter().for_each(|key| tally.judge(Truth::Valid, &warm(key), "another generation"));
            }
            tally
        });
        let stopping = Stop(&stop);
        let refused = scope.spawn(|| {
            common::wait_until("refused", || warm(closed[0]) == "refuse InvalidAccessKeyId");
            since.elapsed()
        });
        place.run(&["rotate", "--close", "1", "--breaks", &breaks.to_string()]);
        let (ended, refused) = (since.elapsed(), refused.join().expect("no panic"));
        println!("closed: the command ran for {ended:?}, the first refusal came {refused:?} after its start");
        std::thread::sleep(Duration::from_millis(300));
        drop(stopping);
        let tally = untouched.join().expect("no panic");
        tally.check();
        assert!(tally.compared > 0 && tally.unavailable == 0, "{tally:?}");
    });
    for key in closed {
        assert_eq!(warm(key), "refuse InvalidAccessKeyId");
        assert_eq!(node.verdict(&cold(key, Truth::Valid)), "refuse InvalidAccessKeyId");
    }
    common::log_that_says(&node.log, "its generation is closed");
}

/// Ends the load even where an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

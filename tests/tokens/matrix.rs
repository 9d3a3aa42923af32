//! The fault matrix: every call that a worker makes × every return value × before or after its effect × once, at a rate, for
//! good × on one token or on both. A sample in `make test`, all of it in `make soak`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rederive_shim::{Call, Deed, Fault, How, RETURN_VALUES, When};

use crate::common::{self, REDERIVE};
use crate::oracle::{Tally, Truth, ask_both, ask_over_and_over};
use crate::place::{LONG, Node, Place, Token};

/// One in so many cells is in the short form: a prime, so that every value of every axis comes.
const SHORT: usize = 397;

/// How long a cell waits for its fault to be met.
const FELT: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(5);

/// One cell: the fault, and whether both tokens have it.
#[derive(Clone, Copy, Debug)]
struct Cell {
    fault: Fault,
    on_both: bool,
}

fn cells() -> Vec<Cell> {
    let returned = RETURN_VALUES.iter().map(|(_, value)| Deed::Return(*value));
    let others = [Deed::Delay(30), Deed::Hang, Deed::Die, Deed::LoseSessions];
    let on_signatures = [Deed::Flip(None), Deed::Short];
    let mut cells = Vec::new();
    for call in Call::ALL {
        let own = on_signatures.into_iter().filter(|_| *call == Call::Sign);
        for deed in returned.clone().chain(others).chain(own) {
            for when in [When::Before, When::After] {
                for how in [How::Times(1), How::Rate(300_000), How::ForGood] {
                    for on_both in [false, true] {
                        cells.push(Cell { fault: Fault { call: *call, deed, when, how }, on_both });
                    }
                }
            }
        }
    }
    cells
}

/// Whether a call is made only while a worker starts or ends.
fn is_of_the_start(call: Call) -> bool {
    !matches!(call, Call::SignInit | Call::Sign)
}

fn run(place: &Place, node: &Node, number: usize, cell: Cell) -> Tally {
    let what = format!("cell {number} {cell:?}");
    let faulted = &place.tokens[..if cell.on_both { 2 } else { 1 }];
    faulted.iter().for_each(|token| token.control.arm(0, cell.fault));
    match cell.fault.call {
        Call::Finalize => end_a_worker(place, faulted),
        // Sessions are closed when something failed on them.
        Call::CloseSession => {
            let fails = Fault { call: Call::Sign, deed: Deed::Return(0x06), when: When::Before, how: How::Times(2) };
            faulted.iter().for_each(|token| token.control.arm(1, fails));
        }
        call if is_of_the_start(call) => faulted.iter().for_each(|token| start_a_worker(node, token, call)),
        _ => {}
    }
    let mut tally = ask_both(node, &place.root, 2, &what);
    if number.is_multiple_of(5) || cell.fault.call == Call::Sign {
        match node.new_key(&place.root, &format!("u{number}")) {
            Ok(key) => tally.judge_key(&key, &what),
            Err(status) => tally.judge(Truth::Valid, &status.to_string(), &what),
        }
    }
    faulted.iter().for_each(|token| token.control.disarm_all());
    tally
}

/// Has a token's worker replaced, and waits until the new one has met the fault, or has no more to do with it.
fn start_a_worker(node: &Node, token: &Token, call: Call) {
    let (before, since) = (token.control.injected(call), Instant::now());
    let old = node.worker_ids(token.name);
    old.iter().for_each(|id| common::kill(*id, "KILL"));
    let is_replaced = || {
        let now = node.worker_ids(token.name);
        !now.is_empty() && now.iter().all(|id| !old.contains(id)) && node.workers(token.name, "trusted") > 0.0
    };
    while token.control.injected(call) == before && !is_replaced() && since.elapsed() < FELT {
        std::thread::sleep(LOOK);
    }
}

/// A worker ends in good order where an operator's command has started it.
fn end_a_worker(place: &Place, faulted: &[Token]) {
    let injected = || faulted.iter().map(|token| token.control.injected(Call::Finalize)).sum::<u64>();
    let mut doctor = Command::new(REDERIVE)
        .args(["doctor", "--config"])
        .arg(place.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let (before, since) = (injected(), Instant::now());
    while doctor.try_wait().is_ok_and(|ended| ended.is_none()) {
        // Whoever hangs there has been met.
        if injected() > before && since.elapsed() > FELT {
            faulted.iter().for_each(|token| token.control.disarm_all());
        }
        std::thread::sleep(LOOK);
    }
}

/// A node that is whole again: a PIN that was said to be refused is unlatched, as an operator would.
fn mended(place: &Place, node: Node) -> Node {
    let is_latched = |name: &str| node.workers(name, "latched") > 0.0;
    let latched: Vec<_> = place.tokens.iter().filter(|token| is_latched(token.name)).collect();
    let mut node = node;
    if !latched.is_empty() {
        drop(node);
        latched.iter().for_each(|token| drop(place.run(&["token", "unlatch", token.name])));
        node = place.serve();
    }
    let is_whole = || place.tokens.iter().all(|token| node.workers(token.name, "trusted") > 0.0);
    let since = Instant::now();
    while !is_whole() {
        // What is latched shows late where a worker waits for another's login.
        if place.tokens.iter().any(|token| node.workers(token.name, "latched") > 0.0) {
            return mended(place, node);
        }
        assert!(since.elapsed() < LONG, "it is not whole again: {}", crate::place::tail(&node.log));
        std::thread::sleep(LOOK);
    }
    node
}

#[test]
fn no_fault_makes_a_wrong_answer() {
    let place = Place::new(&["a", "b"], 1);
    let mut node = place.whole();
    let (mut tally, mut run_cells, mut felt) = (Tally::default(), 0_u64, 0);
    let injected = || place.tokens.iter().map(|token| token.control.all_injected()).sum::<u64>();
    let every = match std::env::var("MATRIX_EVERY") {
        Ok(every) => every.parse().expect("a number"),
        Err(_) if common::long() => 1,
        Err(_) => SHORT,
    };
    for (number, cell) in cells().into_iter().enumerate().step_by(every) {
        let before = injected();
        tally.add(run(&place, &node, number, cell));
        felt += u64::from(injected() > before);
        assert!(node.is_running(), "serve ended in cell {number} {cell:?}");
        node = mended(&place, node);
        run_cells += 1;
    }
    println!(
        "{run_cells} cells, of which {felt} were felt; {} faults, {} answers compared, {} wrong, {} refused, {} unavailable",
        injected(),
        tally.compared,
        tally.wrong.len(),
        tally.refused.len(),
        tally.unavailable
    );
    tally.check();
    // Faults at a rate, of calls that a start makes once, are often not met.
    assert!(felt * 4 > run_cells, "the control: {felt} of {run_cells} cells were felt");
    for token in &place.tokens {
        assert_eq!((token.control.forked(), token.control.raced()), (0, 0), "rules of the standard");
    }
}

#[test]
fn the_oracle_finds_what_is_planted() {
    let place = Place::new(&["a"], 1);
    let node = place.whole();
    let honest = ask_both(&node, &place.root, 2, "honest");
    honest.check();
    assert!(honest.unavailable * 2 < honest.compared, "the control: most are decided: {honest:?}");
    // Every answer is turned into its opposite: each must be found.
    let mut tally = Tally::default();
    tally.judge(Truth::Forged, &node.verdict(&crate::oracle::cold(&place.root, Truth::Valid)), "planted");
    tally.judge(Truth::Valid, &node.verdict(&crate::oracle::cold(&place.root, Truth::Forged)), "planted");
    let mut key = node.new_key(&place.root, "alice").expect("a key");
    let last = key.secret_access_key.pop();
    key.secret_access_key.push(if last == Some('A') { 'B' } else { 'A' });
    tally.judge_key(&key, "planted");
    assert_eq!((tally.wrong.len(), tally.refused.len()), (2, 1), "{tally:?}");
}

/// Random cells under load, until enough was done to enough answers.
#[test]
fn random_faults_under_load_make_no_wrong_answer() {
    let (faults, answers, rounds) = if common::long() { (100_000, 1_000_000, 100) } else { (50, 400, 3) };
    let place = Place::new(&["a", "b"], 2);
    let mut node = place.whole();
    let under_way: Vec<Cell> = cells().into_iter().filter(|cell| !is_of_the_start(cell.fault.call)).collect();
    let injected = || place.tokens.iter().map(|token| token.control.all_injected()).sum::<u64>();
    let mut tally = Tally::default();
    // Any start will do; another one for each run of the long form is in the name of the directory.
    let mut dice: u64 = place.directory.path().to_string_lossy().bytes().map(u64::from).sum();
    println!("begun with {dice}");
    while injected() < faults || tally.compared < answers {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let cell = under_way[(dice >> 33) as usize % under_way.len()];
        // The other token stays whole, so that there are answers to compare.
        place.tokens[(dice >> 20) as usize % 2].control.arm(0, cell.fault);
        tally.add(ask_over_and_over(&node, &place.root, 4, rounds, &format!("{cell:?}")));
        place.tokens.iter().for_each(|token| token.control.disarm_all());
        assert!(node.is_running(), "serve ended after {cell:?}");
        node = mended(&place, node);
    }
    node = mended(&place, node);
    tally.add(ask_both(&node, &place.root, 2, "afterwards"));
    println!("{} faults, {} answers compared, {} unavailable", injected(), tally.compared, tally.unavailable);
    tally.check();
}

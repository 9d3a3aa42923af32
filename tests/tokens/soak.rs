//! Random faults under load, every answer compared: a short form in `make test`, 100,000 faults and a million answers in `make
//! soak`. `SOAK_LANES` says how many nodes, `SOAK_FAULTS` and `SOAK_ANSWERS` how much is enough.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rederive_shim::{Call, Deed, Fault, How, When};

use crate::cells::{Lane, cells, is_of_the_start};
use crate::common::{self, Pair, sign};
use crate::oracle::{Tally, Truth, cold};
use crate::place::Node;

/// Clients of a node at a time.
const CLIENTS: usize = 6;
/// How often the long form tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// What a session gets over, so that it comes often.
const MILD: [Deed; 7] = [
    Deed::Return(0x06),
    Deed::Return(0xb3),
    Deed::Return(0x150),
    Deed::Flip(None),
    Deed::Short,
    Deed::Delay(1),
    Deed::LoseSessions,
];

/// How much is enough.
struct Goal {
    lanes: u64,
    faults: u64,
    answers: u64,
    /// Questions of each client under one set of faults.
    rounds: usize,
}

impl Goal {
    fn read() -> Self {
        let usual = if common::long() { (3, 100_000, 1_000_000, 100) } else { (1, 50, 400, 8) };
        let set = |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
        Self {
            lanes: set("SOAK_LANES", usual.0),
            faults: set("SOAK_FAULTS", usual.1),
            answers: set("SOAK_ANSWERS", usual.2),
            rounds: usual.3,
        }
    }
}

/// What all lanes have done.
#[derive(Default)]
struct Done {
    faults: AtomicU64,
    tally: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    tally: Tally,
    cold: u64,
    keys: u64,
}

/// Numbers that look random, from a seed that is told.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn mild(&mut self, per_million: u32) -> Fault {
        let deed = MILD[self.throw(MILD.len())];
        let when = if self.throw(2) == 0 { When::Before } else { When::After };
        Fault { call: Call::Sign, deed, when, how: How::Rate(per_million) }
    }
}

/// A token is struck by any fault of its work, by any of its start, and often by a mild one; the other now and then by a mild one.
fn arm(lane: &Lane, dice: &mut Dice, faults: &[Vec<Fault>; 2]) -> String {
    let struck = dice.throw(2);
    let mut drawn: Vec<Fault> = faults.iter().map(|some| some[dice.throw(some.len())]).collect();
    drawn.push(dice.mild(200_000));
    let control = |at: usize| &lane.place.tokens[at].control;
    drawn.iter().enumerate().for_each(|(slot, fault)| control(struck).arm(slot, *fault));
    let beside = dice.mild(20_000);
    control(1 - struck).arm(0, beside);
    format!("{drawn:?} on token {struck}, {beside:?} on the other")
}

/// Cold and cached, right and forged, in turn.
fn ask(node: &Node, pair: &Pair, rounds: usize, what: &str) -> (Tally, u64) {
    let (mut tally, mut colds) = (Tally::default(), 0);
    for round in 0..rounds {
        let truth = if round % 2 == 0 { Truth::Valid } else { Truth::Forged };
        tally.judge(truth, &node.verdict(&cold(pair, truth)), what);
        colds += 1;
        if round % 2 == 0 {
            tally.judge_cached(&node.verdict(&sign::s3_get(pair, "local", "h", "/b/k")), what);
        }
    }
    (tally, colds)
}

fn round(lane: &mut Lane, number: u64, rounds: usize, what: &str) -> Sums {
    let (node, pair) = (&lane.node, &lane.place.root);
    let mut sums = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask(node, pair, rounds, what))).collect();
        let mut sums = Sums::default();
        for client in clients {
            let (tally, cold) = client.join().expect("no panic");
            sums.tally.add(tally);
            sums.cold += cold;
        }
        sums
    });
    match node.new_key(pair, &format!("u{number}")) {
        Ok(key) => {
            sums.tally.judge_key(&key, what);
            sums.keys += 1;
        }
        Err(status) => sums.tally.judge(Truth::Valid, &status.to_string(), what),
    }
    sums
}

/// Until all lanes together have done enough.
fn run(seed: u64, goal: &Goal, done: &Done) {
    let mut lane = Lane::open(2);
    let mut dice = Dice(seed);
    let all = cells().into_iter().map(|cell| cell.fault).filter(|fault| fault.call != Call::Finalize);
    let (starts, works): (Vec<Fault>, Vec<Fault>) = all.partition(|fault| is_of_the_start(fault.call));
    let faults = [works, starts];
    let (mut told, mut counted) = (Instant::now(), lane.injected());
    for number in 0.. {
        let what = arm(&lane, &mut dice, &faults);
        let sums = round(&mut lane, number, goal.rounds, &what);
        lane.disarm();
        let now = lane.injected();
        let injected = done.faults.fetch_add(now - counted, Ordering::Relaxed) + now - counted;
        counted = now;
        let compared = {
            let mut all = done.tally.lock().expect("no panic");
            sums.tally.wrong.iter().chain(&sums.tally.refused).for_each(|failure| println!("FAILED: {failure}"));
            all.tally.add(sums.tally);
            all.cold += sums.cold;
            all.keys += sums.keys;
            all.tally.compared
        };
        lane.mend().unwrap_or_else(|why| panic!("{what}: {why}"));
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            println!("{injected} faults, {compared} answers compared");
        }
        if injected >= goal.faults && compared >= goal.answers {
            break;
        }
    }
    for token in &lane.place.tokens {
        assert_eq!((token.control.forked(), token.control.raced()), (0, 0), "rules of the standard");
    }
}

#[test]
fn random_faults_under_load_make_no_wrong_answer() {
    let (goal, done) = (Goal::read(), Done::default());
    // Any start will do; another one for each run.
    let seed = sign::now() as u64;
    println!("begun with {seed}");
    std::thread::scope(|scope| {
        for lane in 0..goal.lanes {
            let (goal, done) = (&goal, &done);
            scope.spawn(move || run(seed + lane, goal, done));
        }
    });
    let Done { faults, tally } = done;
    let Sums { tally, cold, keys } = tally.into_inner().expect("no panic");
    println!(
        "{} faults, {} answers compared, {cold} of them cold, {keys} keys made, {} wrong, {} refused, {} unavailable",
        faults.into_inner(),
        tally.compared,
        tally.wrong.len(),
        tally.refused.len(),
        tally.unavailable
    );
    tally.check();
    assert!(tally.unavailable * 2 < tally.compared, "the control: most are decided");
}

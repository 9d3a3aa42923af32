//! The fault matrix: every call that a worker makes × every return value × before or after its effect × once, at a rate, for
//! good × on one token or on both. A sample in `make test`, all of it in `make soak`.
//!
//! The whole matrix takes long. With `MATRIX_RECORD` naming a file it can be stopped and gone on with: cells that the file has are
//! not run again. `MATRIX_SHARD=1/3` runs a third of the cells, `MATRIX_CELLS=7,9` these, `MATRIX_LANES` says how many nodes.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cells::{Cell, Lane, Outcome, cells};
use crate::common;
use crate::oracle::{Truth, ask_both, cold};
use crate::place::Place;

/// One in so many cells is in the short form: a prime, so that every value of every axis comes.
const SHORT: usize = 397;
/// How often the long form tells how far it is.
const TELL_EVERY: u64 = 100;

/// A setting of whoever runs the test.
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether this run is to run a cell.
fn is_chosen(number: usize) -> bool {
    if let Some(list) = setting("MATRIX_CELLS") {
        return list.split(',').any(|one| one.trim().parse() == Ok(number));
    }
    let (part, of) = match setting("MATRIX_SHARD") {
        Some(shard) => {
            let (part, of) = shard.split_once('/').expect("MATRIX_SHARD is such as 1/3");
            (part.parse::<usize>().expect("a number"), of.parse().expect("a number"))
        }
        None => (0, 1),
    };
    let every = match setting("MATRIX_EVERY") {
        Some(every) => every.parse().expect("a number"),
        None if common::long() => 1,
        None => SHORT,
    };
    number.is_multiple_of(every) && number / every % of == part % of
}

/// The sums, and where they are written as they come.
#[derive(Default)]
struct Record {
    file: Option<File>,
    done: BTreeSet<usize>,
    sums: Sums,
    /// In full, of this run.
    failures: Vec<String>,
}

#[derive(Default)]
struct Sums {
    cells: u64,
    met: u64,
    faults: u64,
    compared: u64,
    unavailable: u64,
    wrong: u64,
    refused: u64,
    broken: u64,
}

impl Record {
    /// With what former runs have written.
    fn open() -> Self {
        let mut record = Self::default();
        let Some(path) = setting("MATRIX_RECORD") else { return record };
        for line in std::fs::read_to_string(&path).unwrap_or_default().lines() {
            let numbers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
            let [number, met, faults, compared, unavailable, wrong, refused, broken] = numbers[..] else { continue };
            let one = Sums { cells: 1, met, faults, compared, unavailable, wrong, refused, broken };
            if record.done.insert(number as usize) {
                record.sums.add(&one);
            }
        }
        record.file = Some(File::options().append(true).create(true).open(path).expect("a file to write to"));
        record
    }

    fn note(&mut self, number: usize, faults: u64, outcome: Outcome) {
        let Outcome { tally, is_met, broken } = outcome;
        let one = Sums {
            cells: 1,
            met: is_met.into(),
            faults,
            compared: tally.compared,
            unavailable: tally.unavailable,
            wrong: tally.wrong.len() as u64,
            refused: tally.refused.len() as u64,
            broken: broken.is_some().into(),
        };
        if let Some(file) = &mut self.file {
            let Sums { met, faults, compared, unavailable, wrong, refused, broken, .. } = one;
            let line = format!("{number} {met} {faults} {compared} {unavailable} {wrong} {refused} {broken}\n");
            file.write_all(line.as_bytes()).expect("written");
        }
        for failure in tally.wrong.into_iter().chain(tally.refused).chain(broken) {
            println!("FAILED: {failure}");
            self.failures.push(failure);
        }
        self.sums.add(&one);
        if self.sums.cells.is_multiple_of(TELL_EVERY) {
            println!("{}", self.sums);
        }
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.cells += other.cells;
        self.met += other.met;
        self.faults += other.faults;
        self.compared += other.compared;
        self.unavailable += other.unavailable;
        self.wrong += other.wrong;
        self.refused += other.refused;
        self.broken += other.broken;
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cells, met, faults, compared, unavailable, wrong, refused, broken } = self;
        write!(
            f,
            "{cells} cells, {met} of them met; {faults} faults, {compared} answers compared, {unavailable} unavailable, "
        )?;
        write!(f, "{wrong} wrong, {refused} refused, {broken} times no node")
    }
}

#[test]
fn no_fault_makes_a_wrong_answer() {
    let record = Record::open();
    let is_left = |(number, _): &(usize, Cell)| is_chosen(*number) && !record.done.contains(number);
    let chosen: Vec<(usize, Cell)> = cells().into_iter().enumerate().filter(is_left).collect();
    let usual = if common::long() { 8 } else { 4 };
    let lanes = setting("MATRIX_LANES").map_or(usual, |lanes| lanes.parse().expect("a number"));
    let (next, record) = (AtomicUsize::new(0), Mutex::new(record));
    std::thread::scope(|scope| {
        for _ in 0..lanes.min(chosen.len()) {
            scope.spawn(|| {
                let mut lane: Option<Lane> = None;
                while let Some((number, cell)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    lane.take_if(|lane| !lane.suits(cell)).into_iter().for_each(Lane::end);
                    let lane = lane.get_or_insert_with(|| Lane::suiting(cell));
                    let before = lane.injected();
                    let outcome = lane.run(*number, *cell);
                    record.lock().expect("no panic").note(*number, lane.injected() - before, outcome);
                }
                lane.into_iter().for_each(Lane::end);
            });
        }
    });
    let Record { sums, failures, .. } = record.into_inner().expect("no panic");
    println!("{sums}");
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!((sums.wrong, sums.refused, sums.broken), (0, 0, 0), "in a former run");
    assert!(sums.met * 10 >= sums.cells * 9, "the control: {} of {} cells were met", sums.met, sums.cells);
}

#[test]
fn the_oracle_finds_what_is_planted() {
    let place = Place::new(&["a"], 1);
    let node = place.whole();
    let honest = ask_both(&node, &place.root, 2, "honest");
    honest.check();
    assert!(honest.unavailable * 2 < honest.compared, "the control: most are decided: {honest:?}");
    // Every answer is turned into its opposite: each must be found.
    let mut tally = crate::oracle::Tally::default();
    tally.judge(Truth::Forged, &node.verdict(&cold(&place.root, Truth::Valid)), "planted");
    tally.judge(Truth::Valid, &node.verdict(&cold(&place.root, Truth::Forged)), "planted");
    let mut key = node.new_key(&place.root, "alice").expect("a key");
    let last = key.secret_access_key.pop();
    key.secret_access_key.push(if last == Some('A') { 'B' } else { 'A' });
    tally.judge_key(&key, "planted");
    tally.judge_cached("503", "planted");
    assert_eq!((tally.wrong.len(), tally.refused.len()), (2, 2), "{tally:?}");
}

/// What a worker leaves that is killed while it logs in, planted: SoftHSM shows no token then.
#[test]
fn a_store_that_softhsm_left_empty_is_put_back() {
    let place = Place::new(&["a"], 1);
    let stores = std::fs::read_dir(place.directory.path().join("a/tokens")).expect("a store").flatten();
    let files: Vec<_> = stores.map(|store| store.path().join("token.object")).filter(|file| file.exists()).collect();
    let [file] = &files[..] else { panic!("one token: {files:?}") };
    std::fs::write(file, "").expect("writable");
    let node = place.whole();
    assert_eq!(node.verdict(&cold(&place.root, Truth::Valid)), "accept");
}

//! The books without any worker: who is asked, and how often two are.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::balance::{Balance, GenerationSet, STATES, Standing};
use crate::access_key_id::Generation;

const MS: Duration = Duration::from_millis(1);

fn generation(number: u8) -> Generation {
    Generation::new(number).expect("in range")
}

fn holding(numbers: &[u8]) -> GenerationSet {
    numbers.iter().map(|number| generation(*number)).collect()
}

/// Workers given by their tokens, all trusted, all holding generation 0.
fn trusted(tokens: &[usize]) -> Balance {
    let mut balance = Balance::new(tokens.iter().map(|token| (*token, 1)));
    (0..tokens.len()).for_each(|at| balance.passed(at, holding(&[0])));
    balance
}

fn pick(balance: &mut Balance, tried: &[usize], now: Instant) -> Option<usize> {
    balance.pick(Some(generation(0)), tried, None, now)
}

#[test]
fn nobody_is_asked_before_its_first_check_or_while_it_is_away() {
    let now = Instant::now();
    let mut balance = Balance::new([(0, 1)]);
    assert_eq!(pick(&mut balance, &[], now), None, "starting");
    balance.passed(0, holding(&[0]));
    assert_eq!(pick(&mut balance, &[], now), Some(0), "the control");
    for away in [Standing::Down("x".into()), Standing::Excluded("x".into()), Standing::Latched("x".into())] {
        balance.set_standing(0, away.clone());
        assert_eq!(pick(&mut balance, &[], now), None, "{away:?}");
    }
    balance.passed(0, holding(&[0]));
    assert_eq!(pick(&mut balance, &[], now), Some(0));
}

#[test]
fn trusted_goes_before_stalled_before_doubted() {
    let now = Instant::now();
    let mut balance = trusted(&[0, 1, 2]);
    assert!(balance.doubt(0, "it erred"));
    assert!(!balance.doubt(0, "again"), "no news");
    assert_eq!(pick(&mut balance, &[2], now), Some(1));
    // Worker 1 owes that answer for a second now.
    let later = now + Duration::from_secs(1);
    assert_eq!(pick(&mut balance, &[], later), Some(2));
    assert_eq!(pick(&mut balance, &[2], later), Some(1), "stalled before doubted");
    assert_eq!(pick(&mut balance, &[1, 2], later), Some(0), "doubted before nobody");
    assert_eq!(pick(&mut balance, &[0, 1, 2], later), None);
    balance.answered(1, MS, later);
    balance.answered(1, MS, later);
    balance.answered(2, MS, later);
    balance.answered(2, MS, later);
    assert_ne!(pick(&mut balance, &[], later), Some(0));
}

#[test]
fn an_abandoned_answer_stays_owed_until_something_is_heard() {
    let now = Instant::now();
    let mut balance = trusted(&[0, 1]);
    let first = pick(&mut balance, &[], now).expect("somebody");
    balance.abandoned(first);
    let later = now + Duration::from_secs(1);
    for _ in 0..5 {
        let next = pick(&mut balance, &[], later).expect("somebody");
        assert_ne!(next, first, "it hangs, however idle it looks");
        balance.answered(next, MS, later);
    }
    balance.passed(first, holding(&[0]));
    let mut asked: Vec<_> = (0..2).filter_map(|_| pick(&mut balance, &[], later)).collect();
    asked.sort_unstable();
    assert_eq!(asked, [0, 1], "the control");
}

#[test]
fn a_second_opinion_comes_from_another_token() {
    let now = Instant::now();
    let mut balance = trusted(&[0, 0, 1]);
    // Even when that one is busier.
    (0..3).for_each(|_| assert_eq!(pick(&mut balance, &[0, 1], now), Some(2)));
    assert_eq!(pick(&mut balance, &[0], now), Some(2));
    assert_eq!(pick(&mut balance, &[2], now).map(|at| at < 2), Some(true));
}

#[test]
fn who_is_avoided_is_asked_before_who_is_doubted() {
    let now = Instant::now();
    let mut balance = trusted(&[0, 1]);
    let again = |balance: &mut Balance| balance.pick(Some(generation(0)), &[], Some(0), now);
    assert_eq!(again(&mut balance), Some(1));
    balance.doubt(1, "it erred");
    assert_eq!(again(&mut balance), Some(0));
}

#[test]
fn only_who_holds_the_generation_is_asked() {
    let now = Instant::now();
    let mut balance = trusted(&[0, 1]);
    balance.passed(1, holding(&[0, 5]));
    for _ in 0..4 {
        assert_eq!(balance.pick(Some(generation(5)), &[], None, now), Some(1));
    }
    assert_eq!(balance.pick(Some(generation(6)), &[], None, now), None);
    assert_eq!(balance.pick(None, &[], None, now), Some(0), "the least busy, for what needs no master");
}

#[test]
fn requests_are_shared_by_weight() {
    let now = Instant::now();
    let mut balance = Balance::new([(0, 1), (1, 3)]);
    (0..2).for_each(|at| balance.passed(at, holding(&[0])));
    let mut asked = [0_u32; 2];
    for _ in 0..400 {
        let at = pick(&mut balance, &[], now).expect("somebody");
        asked[at] += 1;
        balance.answered(at, MS, now);
    }
    assert!(asked[0].abs_diff(100) <= 2, "{asked:?}");
}

#[test]
fn who_comes_back_is_not_given_everything() {
    let now = Instant::now();
    let mut balance = trusted(&[0, 1]);
    balance.set_standing(1, Standing::Down("away".into()));
    for _ in 0..1000 {
        let at = pick(&mut balance, &[], now).expect("somebody");
        balance.answered(at, MS, now);
    }
    balance.passed(1, holding(&[0]));
    let mut asked = [0_u32; 2];
    for _ in 0..100 {
        let at = pick(&mut balance, &[], now).expect("somebody");
        asked[at] += 1;
        balance.answered(at, MS, now);
    }
    assert!(asked[0].abs_diff(50) <= 2, "{asked:?}");
}

#[test]
fn hedges_wait_for_the_time_in_which_most_answers_come() {
    let now = Instant::now();
    let mut balance = trusted(&[0]);
    for n in 0..256 {
        let at = pick(&mut balance, &[], now).expect("somebody");
        balance.answered(at, if n % 25 == 0 { 50 * MS } else { 3 * MS }, now);
    }
    assert_eq!(balance.hedge_after(), 3 * MS, "4 % take longer");
    for _ in 0..256 {
        let at = pick(&mut balance, &[], now).expect("somebody");
        balance.answered(at, 50 * MS, now);
    }
    assert_eq!(balance.hedge_after(), 50 * MS);
}

#[test]
fn each_standing_has_a_word_of_its_own() {
    let all = [
        Standing::Starting,
        Standing::Trusted,
        Standing::Doubted(String::new()),
        Standing::Excluded(String::new()),
        Standing::Down(String::new()),
        Standing::Latched(String::new()),
    ];
    assert_eq!(all.map(|standing| standing.word()), STATES);
}

/// What may happen to a pool.
#[derive(Clone, Debug)]
enum Event {
    Ask { tried: Vec<usize> },
    Answer,
    GiveUp,
    Doubt(usize),
    Down(usize),
    Exclude(usize),
    Pass(usize),
    Wait(u64),
}

const WORKERS: usize = 4;

fn event() -> impl Strategy<Value = Event> {
    let at = 0..WORKERS;
    prop_oneof![
        4 => proptest::collection::vec(0..WORKERS, 0..3).prop_map(|tried| Event::Ask { tried }),
        3 => Just(Event::Answer),
        1 => Just(Event::GiveUp),
        1 => at.clone().prop_map(Event::Doubt),
        1 => at.clone().prop_map(Event::Down),
        1 => at.clone().prop_map(Event::Exclude),
        2 => at.prop_map(Event::Pass),
        1 => (0u64..100).prop_map(Event::Wait),
    ]
}

proptest! {
    #[test]
    fn whoever_is_asked_may_be_asked(events in proptest::collection::vec(event(), 1..200)) {
        let mut now = Instant::now();
        let mut balance = trusted(&[0, 0, 1, 1]);
        let mut up = [true; WORKERS];
        let mut flying = Vec::new();
        for event in events {
            match event {
                Event::Ask { tried } => {
                    let picked = pick(&mut balance, &tried, now);
                    let left = (0..WORKERS).any(|at| up[at] && !tried.contains(&at));
                    prop_assert_eq!(picked.is_some(), left, "somebody is asked whenever somebody can be");
                    if let Some(at) = picked {
                        prop_assert!(up[at] && !tried.contains(&at));
                        flying.push(at);
                    }
                }
                Event::Answer => if let Some(at) = flying.pop() { balance.answered(at, MS, now) },
                Event::GiveUp => if let Some(at) = flying.pop() { balance.abandoned(at) },
                Event::Doubt(at) => { balance.doubt(at, "x"); }
                Event::Down(at) => { balance.set_standing(at, Standing::Down("x".into())); up[at] = false; }
                Event::Exclude(at) => { balance.set_standing(at, Standing::Excluded("x".into())); up[at] = false; }
                Event::Pass(at) => { balance.passed(at, holding(&[0])); up[at] = true; }
                Event::Wait(ms) => now += Duration::from_millis(ms),
            }
        }
    }

    #[test]
    fn at_most_one_request_in_twenty_is_hedged(asked in proptest::collection::vec(any::<bool>(), 1..2000)) {
        let mut balance = trusted(&[0, 1]);
        let (mut requests, mut hedges) = (0, 0);
        for wants_hedge in asked {
            balance.count_request();
            requests += 1;
            hedges += usize::from(wants_hedge && balance.may_hedge());
        }
        prop_assert!(hedges <= 10 + requests / 20, "{} of {}", hedges, requests);
    }
}

#[test]
fn hedges_are_had_when_they_are_earned() {
    let mut balance = trusted(&[0, 1]);
    assert_eq!((0..100).filter(|_| balance.may_hedge()).count(), 10);
    (0..20).for_each(|_| balance.count_request());
    assert_eq!((0..100).filter(|_| balance.may_hedge()).count(), 1);
}

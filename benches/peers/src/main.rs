//! One typical S3 request, verified by rederive and by others in turns, and the bare hashing that none can avoid.
//!
//! `make peers`, which gives the path of a `rederive` program. What each row takes in is told in docs/performance.md. Every
//! verifier is first shown the request, which it must accept, and then with one digit of its signature changed, which it
//! must refuse: what does not verify is quick.

mod authority;
mod others;
mod request;

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rederive::sigv4::{
    Body, Expectation, HeadPlace, Limits, PreparedSigningKey, Refusal, Regions, SignedRequest, UnixSeconds,
};
use rederive_hsm::signing_key::SigningKey;
use sha2::{Digest as _, Sha256};

use request::Typical;

/// The region of every `rederive dev`.
const REGION: &str = "local";

/// An access key.
pub struct Pair {
    id: String,
    secret: String,
}

/// From head bytes to `Verified`, with a key at hand: the pure core.
fn verify(request: &[u8], key: &PreparedSigningKey, now: UnixSeconds) -> Result<UnixSeconds, Refusal> {
    let mut place = HeadPlace::default();
    let (head, _) = place.parse(request, &Limits::default()).expect("a request");
    let signed = SignedRequest::parse(head)?;
    let scoped = signed.check_scope_and_time(&Expectation { service: "s3", regions: Regions::Named(REGION) }, now)?;
    let string_to_sign = scoped.string_to_sign(Body::Absent).expect("all is signed");
    Ok(string_to_sign.verify(key)?.valid_until())
}

/// SHA-256 of the canonical request and HMAC of the string to sign, with the key's own part already done.
fn bare_hashing(typical: &Typical, key: &Hmac<Sha256>) -> [u8; 32] {
    black_box(Sha256::digest(black_box(&typical.canonical_request)));
    key.clone().chain_update(black_box(&typical.string_to_sign)).finalize().into_bytes().into()
}

/// What only has to be done.
fn ignore<T>(result: T) {
    let _ = black_box(result);
}

type Work<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Seconds that each kind of work takes, in rounds in which each has its turn of so many in a row.
fn rounds_in_turns(work: &[Work<'_>], in_a_row: u32) -> Vec<Vec<f64>> {
    let time = |(_, work): &Work<'_>| {
        let start = Instant::now();
        (0..in_a_row).for_each(|_| work());
        start.elapsed().as_secs_f64() / f64::from(in_a_row)
    };
    (0..100_000 / in_a_row).map(|_| work.iter().map(time).collect()).collect()
}

/// The median over all rounds of what is made of each.
fn median(rounds: &[Vec<f64>], of: impl Fn(&[f64]) -> f64) -> f64 {
    let mut values: Vec<_> = rounds.iter().map(|round| of(round)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let program = std::env::args_os().nth(1).expect("the path of a rederive program (see `make peers`)");
    let state = tempfile::tempdir().expect("a temporary directory");
    let running = authority::Running::start(Path::new(&program), state.path());
    let typical = Typical::signed_now(&running.pair);
    compare(&running, &typical, &typical.forged());
}

fn compare(running: &authority::Running, typical: &Typical, forged: &Typical) {
    let key = || SigningKey::derive_from_text(running.pair.secret.as_bytes(), typical.date_digits(), REGION, "s3");
    let (prepared, keyed) = (PreparedSigningKey::new(key()), Hmac::new_from_slice(key().expose()).expect("a key"));
    let (scratchstack, s3s) = (others::Scratchstack::new(&running.pair, typical), others::S3s::new(&running.pair));
    let (theirs, their_forged, their_unsigned) = (typical.http(), forged.http(), typical.without_authorization());

    let ours = |typical: &Typical| verify(&typical.head, &prepared, typical.now).is_ok();
    let accepts = |typical: &Typical| running.accepts(&typical.head);
    // What denials and generations a node hears of at its start makes it judge a key anew.
    let settles = (0..20).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        accepts(typical) && running.accepts_at_hand(&typical.head)
    });
    assert!(settles && ours(typical));
    assert!(!accepts(forged) && !running.accepts_at_hand(&forged.head) && !ours(forged));
    assert!(scratchstack.accepts(theirs.clone(), typical.now) && s3s.accepts(theirs.clone()));
    assert!(!scratchstack.accepts(their_forged.clone(), typical.now) && !s3s.accepts(their_forged));
    assert!(s3s.answers(their_unsigned.clone()));

    let at_hand = || ignore(running.accepts_at_hand(black_box(&typical.head)));
    let core = || ignore(verify(black_box(&typical.head), &prepared, typical.now));
    let core_from_secret = || {
        let prepared = PreparedSigningKey::new(black_box(key()));
        ignore(verify(black_box(&typical.head), &prepared, typical.now));
    };
    let work: Vec<Work<'_>> = vec![
        ("rederive: head bytes to `Accepted`, key at hand", Box::new(at_hand)),
        ("rederive: its pure core, key at hand", Box::new(core)),
        ("rederive: its pure core, key derived from the secret each time", Box::new(core_from_secret)),
        ("bare hashing", Box::new(|| ignore(bare_hashing(typical, &keyed)))),
        ("a copy of `http::Request`", Box::new(|| ignore(theirs.clone()))),
        (
            "scratchstack-aws-signature, key at hand, with the copy",
            Box::new(|| ignore(scratchstack.accepts(theirs.clone(), typical.now))),
        ),
        ("s3s, with the copy", Box::new(|| ignore(s3s.accepts(theirs.clone())))),
        ("s3s, the same request not signed, with the copy", Box::new(|| ignore(s3s.answers(their_unsigned.clone())))),
    ];
    // A processor learns a request that comes a thousand times: every branch of it. The hashing has none.
    for in_a_row in [1_000, 20] {
        println!("## {in_a_row} of each in a row\n");
        report(&work, &rounds_in_turns(&work, in_a_row));
    }
}

/// Positions in the list of work.
const AT_HAND: usize = 0;
const CORE: usize = 1;
const FROM_SECRET: usize = 2;
const BARE: usize = 3;
const COPY: usize = 4;
const SCRATCHSTACK: usize = 5;
const S3S: usize = 6;
const S3S_UNSIGNED: usize = 7;

fn report(work: &[Work<'_>], rounds: &[Vec<f64>]) {
    println!("| what | time |\n|---|---|");
    for (kind, (name, _)) in work.iter().enumerate() {
        println!("| {name} | {:.2} µs |", median(rounds, |round| round[kind]) * 1e6);
    }
    let scratchstack = |round: &[f64]| round[SCRATCHSTACK] - round[COPY];
    let s3s = |round: &[f64]| round[S3S] - round[S3S_UNSIGNED];
    println!(
        "\n| ratio | against `Accepted` | against the core | against the core, key derived | against bare hashing |"
    );
    println!("|---|---|---|---|---|");
    for (name, share) in [
        ("scratchstack-aws-signature, less the copy", &scratchstack as &dyn Fn(&[f64]) -> f64),
        ("s3s signed, less s3s not signed", &s3s),
        ("rederive: head bytes to `Accepted`", &|round| round[AT_HAND]),
    ] {
        let ratios = [AT_HAND, CORE, FROM_SECRET, BARE].map(|kind| median(rounds, |round| share(round) / round[kind]));
        println!("| {name} | {} |", ratios.map(|ratio| format!("{ratio:.2}")).join(" | "));
    }
    println!();
}

//! Verification in process, with the signing key at hand, against the bare hashing that it cannot avoid.
//!
//! `cargo bench --bench verify`. The two are timed in turns, so that a noisy machine disturbs both alike; the figure that
//! counts is their ratio.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use hmac::{Hmac, KeyInit, Mac};
use rederive::sigv4::{
    Body, Expectation, Family, HeadPlace, Limits, PreparedSigningKey, Regions, RequestHead, SignedRequest, UnixSeconds,
};
use rederive_hsm::signing_key::SigningKey;
use sha2::{Digest, Sha256};

const NOW: UnixSeconds = 1_767_323_045;
const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// A typical S3 GET: 9 headers, 6 of them signed, a canonical request of some 400 bytes.
struct Typical {
    request: Vec<u8>,
    canonical_request: Vec<u8>,
    string_to_sign: String,
}

fn signing_key() -> SigningKey {
    SigningKey::derive_from_text(SECRET, b"20260102", "local", "s3")
}

fn request_with(signature: &str) -> Vec<u8> {
    format!(
        "GET /photos/2026/sunset-lake.jpg HTTP/1.1\r\n\
         Host: s3.storage.example\r\n\
         User-Agent: aws-sdk-go-v2/1.36.3 os/linux lang/go#1.24.2 md/GOOS#linux md/GOARCH#amd64 api/s3#1.79.2\r\n\
         Accept-Encoding: identity\r\n\
         Range: bytes=0-1048575\r\n\
         X-Amz-Checksum-Mode: ENABLED\r\n\
         X-Amz-Content-Sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\
         X-Amz-Date: 20260102T030405Z\r\n\
         X-Amz-Request-Payer: requester\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/local/s3/aws4_request, \
         SignedHeaders=host;range;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date;x-amz-request-payer, \
         Signature={signature}\r\n\r\n"
    )
    .into_bytes()
}

fn typical() -> Typical {
    let unsigned = request_with(&"0".repeat(64));
    let (head, _) = RequestHead::parse(&unsigned, &Limits::default()).expect("a request");
    assert_eq!(head.headers().len(), 9);
    let request = SignedRequest::parse(&head).expect("well formed");
    let canonical = request.canonical_request(Family::S3, Body::Absent).expect("well formed");
    let (canonical_request, string_to_sign) =
        (canonical.text().to_vec(), request.string_to_sign_text(&canonical.sha256()));
    assert!((390..=410).contains(&canonical_request.len()), "{} bytes", canonical_request.len());
    let mut mac = Hmac::<Sha256>::new_from_slice(signing_key().expose()).expect("a key");
    mac.update(string_to_sign.as_bytes());
    let mut hex = [0; 64];
    let signature = base16ct::lower::encode_str(&mac.finalize().into_bytes(), &mut hex).expect("64 digits");
    Typical { request: request_with(signature), canonical_request, string_to_sign }
}

/// From head bytes to `Verified`.
fn verify(request: &[u8], key: &PreparedSigningKey) -> UnixSeconds {
    let mut place = HeadPlace::default();
    let (head, _) = place.parse(request, &Limits::default()).expect("a request");
    let signed = SignedRequest::parse(head).expect("well formed");
    let expectation = Expectation { service: "s3", regions: Regions::Named("local") };
    let scoped = signed.check_scope_and_time(&expectation, NOW).expect("in scope");
    let string_to_sign = scoped.string_to_sign(Body::Absent).expect("all is signed");
    string_to_sign.verify(key).expect("signed").valid_until()
}

/// The hash of the canonical request and the HMAC of the string to sign, with the key's own part already done.
fn bare_hashing(typical: &Typical, key: &Hmac<Sha256>) -> [u8; 32] {
    let hash = Sha256::digest(black_box(&typical.canonical_request));
    black_box(hash);
    key.clone().chain_update(black_box(&typical.string_to_sign)).finalize().into_bytes().into()
}

/// The same with the key's own part: what a verifier costs that keeps signing keys as 32 bytes.
fn bare_hashing_from_key(typical: &Typical, key: &[u8; 32]) -> [u8; 32] {
    bare_hashing(typical, &Hmac::new_from_slice(black_box(key)).expect("a key"))
}

/// Times of many short rounds, each of every kind of work in turn.
fn in_turns(work: [&dyn Fn(); 3]) -> Vec<[Duration; 3]> {
    const ROUNDS: usize = 2_000;
    const REPEATS: u32 = 100;
    let time = |work: &dyn Fn()| {
        let start = Instant::now();
        (0..REPEATS).for_each(|_| work());
        start.elapsed() / REPEATS
    };
    (0..ROUNDS).map(|_| work.map(time)).collect()
}

/// The one in the middle.
fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<_> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("times are numbers"));
    values[values.len() / 2]
}

fn bench(criterion: &mut Criterion) {
    let typical = typical();
    let (prepared, raw) = (PreparedSigningKey::new(signing_key()), *signing_key().expose());
    let keyed = Hmac::<Sha256>::new_from_slice(&raw).expect("a key");
    let verify = || {
        black_box(verify(black_box(&typical.request), &prepared));
    };
    let bare = || {
        black_box(bare_hashing(&typical, &keyed));
    };
    let bare_from_key = || {
        black_box(bare_hashing_from_key(&typical, &raw));
    };
    criterion.bench_function("verify, key at hand", |bencher| bencher.iter(verify));
    criterion.bench_function("bare hashing, keyed state at hand", |bencher| bencher.iter(bare));
    criterion.bench_function("bare hashing, key at hand", |bencher| bencher.iter(bare_from_key));

    let rounds = in_turns([&verify, &bare, &bare_from_key]);
    let time = |kind: usize| median(rounds.iter().map(|round| round[kind]));
    let ratio = |kind: usize| median(rounds.iter().map(|round| round[0].as_secs_f64() / round[kind].as_secs_f64()));
    println!("verify: {:?}", time(0));
    println!("bare hashing, keyed state at hand: {:?}, ratio {:.2}", time(1), ratio(1));
    println!("bare hashing, key at hand: {:?}, ratio {:.2}", time(2), ratio(2));
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}

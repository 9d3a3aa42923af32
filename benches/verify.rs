//! Verification in process by the pure core, against the bare hashing that it cannot avoid:
//!
//! 1. a typical S3 GET, its signing key at hand;
//! 2. requests with long heads, the same;
//! 3. the typical one with nothing but a master key at hand, in software: secret and signing key are derived each time. The baseline
//!    makes the same HMACs one after the other.
//!
//! `cargo bench --bench verify`. All kinds of work take turns, so that a noisy machine disturbs them alike; the figure that
//! counts is the ratio of each to the bare hashing of the same bytes with the same crates.

use std::hint::black_box;
use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use rederive::sigv4::{
    Body, Expectation, Family, HeadPlace, Limits, PreparedSigningKey, Regions, RequestHead, SignedRequest, UnixSeconds,
};
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::derivation::{secret_access_key, secret_message};
use rederive_hsm::secret::Secret32;
use rederive_hsm::signing_key::SigningKey;
use sha2::{Digest, Sha256};

const NOW: UnixSeconds = 1_767_323_045;
const DATE: &[u8; 8] = b"20260102";
/// As it stands in a credential.
const ID: &str = "AKIARZPUZDIKAAERULUU";
const MASTER: [u8; 32] = [7; 32];
/// Of an empty body.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request, and what is signed of it.
struct Sample {
    name: String,
    head: Vec<u8>,
    canonical_request: Vec<u8>,
    string_to_sign: String,
}

impl Sample {
    /// Signs a head of these lines: the target, signed headers in order, and others.
    fn signed(name: &str, target: &str, signed: &[(String, String)], others: &str) -> Self {
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = |signature: &str| {
            format!(
                "GET {target} HTTP/1.1\r\n{lines}{others}Authorization: AWS4-HMAC-SHA256 \
                 Credential={ID}/20260102/local/s3/aws4_request, SignedHeaders={names}, Signature={signature}\r\n\r\n"
            )
            .into_bytes()
        };
        let unsigned = head(&"0".repeat(64));
        let (parsed, _) = RequestHead::parse(&unsigned, &Limits::default()).expect("a request");
        let request = SignedRequest::parse(&parsed).expect("well formed");
        let canonical = request.canonical_request(Family::S3, Body::Absent).expect("well formed");
        let string_to_sign = request.string_to_sign_text(&canonical.sha256());
        let signature = hmac(signing_key().expose(), string_to_sign.as_bytes());
        let head = head(&base16ct::lower::encode_string(&signature));
        let (headers, canonical_request) = (parsed.headers().len(), canonical.text().to_vec());
        let name = format!("{name} ({headers} headers, canonical request of {} bytes)", canonical_request.len());
        Self { name, head, canonical_request, string_to_sign }
    }
}

/// The headers that every request here signs, and more.
fn headers<'a>(more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let all = [("host", "s3.storage.example"), ("x-amz-content-sha256", EMPTY), ("x-amz-date", "20260102T030405Z")];
    let mut all: Vec<_> = all.into_iter().chain(more).map(|(name, value)| (name.into(), value.into())).collect();
    all.sort();
    all
}

/// A typical S3 GET: 9 headers, 6 of them signed, a canonical request of some 400 bytes.
fn typical() -> Sample {
    let more = [("range", "bytes=0-1048575"), ("x-amz-checksum-mode", "ENABLED"), ("x-amz-request-payer", "requester")];
    let others = "User-Agent: aws-sdk-go-v2/1.36.3 os/linux lang/go#1.24.2 md/GOOS#linux md/GOARCH#amd64 api/s3#1.79.2\r\n\
                  Accept-Encoding: identity\r\n";
    let sample = Sample::signed("typical", "/photos/2026/sunset-lake.jpg", &headers(more), others);
    assert!((390..=410).contains(&sample.canonical_request.len()), "{} bytes", sample.canonical_request.len());
    sample
}

fn long_heads() -> [Sample; 4] {
    let metadata: Vec<(String, String)> =
        (0..95).map(|n| (format!("x-amz-meta-field-{n:02}"), format!("some value number {n:04}"))).collect();
    let metadata = headers(metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let others = "user-agent: rclone/v1.70.0\r\n";
    // As most clients send it, in order; and in the reverse order, with escapes.
    let query = |numbers: &mut dyn Iterator<Item = u32>, value: &str| {
        let pairs: Vec<_> = numbers.map(|n| format!("tag{n:03}={value}{n:04}")).collect();
        format!("/bucket/object?{}", pairs.join("&"))
    };
    let sorted = query(&mut (0..292), "plain-value-of-text-");
    let unsorted = query(&mut (0..292).rev(), "a%2Fb%20%C3%BC-text");
    let path = format!("/bucket/{}", "%E6%97%A5%E6%9C%AC".repeat(170));
    [
        Sample::signed("100 headers", "/bucket/object", &metadata, others),
        Sample::signed("8 KiB of query in order", &sorted, &headers([]), ""),
        Sample::signed("8 KiB of query in reverse order, with escapes", &unsorted, &headers([]), ""),
        Sample::signed("a key of 1,020 bytes, each of them escaped", &path, &headers([]), ""),
    ]
}

fn id() -> AccessKeyId {
    AccessKeyId::parse(ID.as_bytes()).expect("an id")
}

/// Secret and signing key of the id, from the master: what an HSM worker does with a master that it has.
fn signing_key_from(master: &Secret32) -> SigningKey {
    let secret = secret_access_key(&master.hmac(&secret_message(&id(), None)));
    SigningKey::derive(&secret, DATE, "local", "s3")
}

fn master() -> Secret32 {
    Secret32::take(&mut MASTER.clone())
}

fn signing_key() -> SigningKey {
    signing_key_from(&master())
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

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The hash of the canonical request and the HMAC of the string to sign, with the key's own part already done.
fn bare_hashing(sample: &Sample, key: &Hmac<Sha256>) -> [u8; 32] {
    black_box(Sha256::digest(black_box(&sample.canonical_request)));
    key.clone().chain_update(black_box(&sample.string_to_sign)).finalize().into_bytes().into()
}

/// The same with the key's own part: what a verifier costs that keeps signing keys as 32 bytes.
fn bare_hashing_from_key(sample: &Sample, key: &[u8; 32]) -> [u8; 32] {
    black_box(Sha256::digest(black_box(&sample.canonical_request)));
    hmac(black_box(key), black_box(sample.string_to_sign.as_bytes()))
}

/// The six HMACs from master to signature, and the hash: 33 compressions. The secret's base64 is left out.
fn bare_chain(sample: &Sample, master: &[u8; 32]) -> [u8; 32] {
    let mut secret = *b"AWS4........................................";
    secret[4..36].copy_from_slice(&hmac(black_box(master), ID.as_bytes()));
    let steps: [&[u8]; 4] = [DATE, b"local", b"s3", b"aws4_request"];
    let first = hmac(&secret, steps[0]);
    let key = steps[1..].iter().fold(first, |key, step| hmac(&key, black_box(step)));
    bare_hashing_from_key(sample, &key)
}

type Work<'a> = Box<dyn Fn() + 'a>;

/// What is measured, and its baseline.
struct Row<'a> {
    name: &'a str,
    work: [Work<'a>; 2],
}

fn doing<'a, T>(work: impl Fn() -> T + 'a) -> Work<'a> {
    Box::new(move || {
        black_box(work());
    })
}

impl<'a> Row<'a> {
    fn new<T, U>(name: &'a str, ours: impl Fn() -> T + 'a, baseline: impl Fn() -> U + 'a) -> Self {
        Self { name, work: [doing(ours), doing(baseline)] }
    }
}

/// Prints the medians of the times, and of the ratio in each round.
fn compare(rows: &[Row<'_>]) {
    const ROUNDS: usize = 1_000;
    const REPEATS: u32 = 50;
    let time = |work: &Work<'_>| {
        let start = Instant::now();
        (0..REPEATS).for_each(|_| work());
        start.elapsed().as_secs_f64() / f64::from(REPEATS) * 1e9
    };
    let in_turns = || rows.iter().map(|row| row.work.each_ref().map(time)).collect();
    let rounds: Vec<Vec<[f64; 2]>> = (0..ROUNDS).map(|_| in_turns()).collect();
    println!("| what | time | baseline | ratio |\n|---|---|---|---|");
    for (index, row) in rows.iter().enumerate() {
        let median = |of: fn(&[f64; 2]) -> f64| {
            let mut values: Vec<_> = rounds.iter().map(|round| of(&round[index])).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let [ours, baseline, ratio] = [median(|t| t[0]), median(|t| t[1]), median(|t| t[0] / t[1])];
        println!("| {} | {ours:.0} ns | {baseline:.0} ns | {ratio:.2} |", row.name);
    }
}

fn main() {
    let (typical, long) = (typical(), long_heads());
    let (key, raw, master) = (PreparedSigningKey::new(signing_key()), *signing_key().expose(), master());
    let keyed = Hmac::<Sha256>::new_from_slice(&raw).expect("a key");
    let at_hand = |sample: &Sample| verify(black_box(&sample.head), &key);
    let bare = |sample: &Sample| bare_hashing(sample, &keyed);
    let cold = || verify(black_box(&typical.head), &PreparedSigningKey::new(signing_key_from(black_box(&master))));

    let mut rows = vec![
        Row::new(&typical.name, || at_hand(&typical), || bare(&typical)),
        Row::new("the same, baseline from the key", || at_hand(&typical), || bare_hashing_from_key(&typical, &raw)),
        Row::new("the same, from the master", cold, || bare_chain(&typical, &MASTER)),
    ];
    rows.extend(long.iter().map(|sample| Row::new(&sample.name, || at_hand(sample), || bare(sample))));
    compare(&rows);
}

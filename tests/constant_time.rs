//! Time that tells no secret: the comparison of signatures, and the way from a derived secret to a signature.
//!
//! Nothing is timed. A probe (this program, started again) runs under valgrind's `lackey`, which writes down the address of
//! every instruction and of every byte that is read or written. Two inputs that differ in what is secret must give the same list
//! between two marks: then there is no branch and no look-up that depends on them. (What a CPU does in a time of its own for different
//! numbers, it does not show: HMAC-SHA-256 and comparisons use no such instructions.) A comparison and an encoding that do leak
//! are run the same way, and must be caught.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rederive::sigv4::{Body, Expectation, Limits, PreparedSigningKey, Refusal, Regions, RequestHead, SignedRequest};
use rederive_hsm::secret::{Secret32, SecretAccessKey};
use rederive_hsm::signing_key::SigningKey;
use sha2::{Digest, Sha256};

const PROBE: &str = "REDERIVE_CONSTANT_TIME_PROBE";

fn main() -> ExitCode {
    match std::env::var(PROBE) {
        Ok(probe) => {
            run(&probe);
            ExitCode::SUCCESS
        }
        Err(_) if is_filtered_out() => ExitCode::SUCCESS,
        Err(_) => judge(),
    }
}

/// Whether only other tests are asked for, as `cargo test NAME` does.
fn is_filtered_out() -> bool {
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    !names.is_empty() && !names.iter().any(|name| "constant_time".contains(name.as_str()))
}

/// What is run twice, with two inputs each, and whether their traces must be the same.
const ROWS: [(&str, &str, &str, bool); 6] = [
    ("a signature that is wrong in its first digit, or in its last", "compare-0", "compare-1", true),
    ("a signature that is wrong in its first digit, or in all", "compare-0", "compare-2", true),
    ("two derived secrets", "secret-0", "secret-1", true),
    ("two secrets compared with a third", "secrets-0", "secrets-1", true),
    ("the control: a comparison that ends at the first difference", "leaky-compare-0", "leaky-compare-1", false),
    ("the control: a look-up in a table of letters", "leaky-encode-0", "leaky-encode-1", false),
];

fn judge() -> ExitCode {
    let mut failed = false;
    for (name, one, other, same) in ROWS {
        let (one, other) = (trace(one), trace(other));
        assert!(one.lines > 100, "{name}: a trace of {} lines", one.lines);
        let is_right = (one == other) == same;
        failed |= !is_right;
        println!("{} {name}: {} and {} lines", if is_right { "ok" } else { "FAILED" }, one.lines, other.lines);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A list of addresses, as its hash.
#[derive(PartialEq)]
struct Trace {
    lines: usize,
    hash: [u8; 32],
}

fn trace(probe: &str) -> Trace {
    let mut valgrind = Command::new("valgrind")
        .args(["--tool=lackey", "--trace-mem=yes", "--basic-counts=no", "--log-fd=1"])
        .arg(std::env::current_exe().expect("this program"))
        // Nothing else, and names of one length: the stack begins with them.
        .env_clear()
        .env(PROBE, format!("{probe:-<16}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("valgrind is installed (make test does it)");
    let (mut hash, mut lines, mut marks, mut mark) = (Sha256::new(), 0, 0, None);
    for line in BufReader::new(valgrind.stdout.take().expect("piped")).lines() {
        let line = line.expect("a line");
        if let Some(address) = line.strip_prefix("mark ") {
            mark = Some(format!(" S {address:0>8},"));
        } else if mark.as_ref().is_some_and(|mark| line.starts_with(mark)) {
            marks += 1;
        } else if marks == 1 && is_access(&line) {
            hash.update(&line);
            lines += 1;
        }
    }
    assert_eq!(marks, 2, "{probe}: the marks around it");
    assert!(valgrind.wait().expect("it ends").success(), "{probe}");
    Trace { lines, hash: hash.finalize().into() }
}

/// Whether a line tells of an instruction, a load, a store or both; others are valgrind's own words, with numbers of processes.
fn is_access(line: &str) -> bool {
    ["I  ", " L ", " S ", " M "].iter().any(|kind| line.starts_with(kind))
}

fn run(probe: &str) {
    let (kind, input) = probe.trim_end_matches('-').rsplit_once('-').expect("a probe and its input");
    let input: usize = input.parse().expect("a number");
    match kind {
        "compare" => compare(input),
        "secret" => secret(input),
        "secrets" => secrets(input),
        "leaky-compare" => leaky_compare(input),
        "leaky-encode" => leaky_encode(input),
        other => panic!("{other} is no probe"),
    }
}

/// Written to before and after what is looked at.
static MARK: AtomicUsize = AtomicUsize::new(0);

/// Runs what is looked at, between two marks.
fn between_marks<T>(run: impl FnOnce() -> T) -> T {
    println!("mark {:x}", std::ptr::from_ref(&MARK).addr());
    MARK.store(1, Ordering::Release);
    let result = run();
    MARK.store(2, Ordering::Release);
    result
}

/// The signature of the request in `compare`.
const RIGHT: &str = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";

/// The right signature with one digit changed, or all of them; each digit for one of its kind.
fn wrong(input: usize) -> String {
    let changed = |digit: char| match digit {
        '9' => '0',
        'f' => 'a',
        digit => char::from(digit as u8 + 1),
    };
    let is_changed = |at: usize| [at == 0, at == 63, true][input];
    RIGHT.chars().enumerate().map(|(at, digit)| if is_changed(at) { changed(digit) } else { digit }).collect()
}

/// The worked example of the S3 documentation, verified with a wrong signature.
fn compare(input: usize) {
    let bytes = format!(
        "GET /?lifecycle HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\nx-amz-date: 20130524T000000Z\r\n\
         x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={}\r\n\r\n",
        wrong(input)
    );
    let (head, _) = RequestHead::parse(bytes.as_bytes(), &Limits::default()).expect("a head");
    let request = SignedRequest::parse(&head).expect("well formed");
    let expectation = Expectation { service: "s3", regions: Regions::Any };
    let scoped = request.check_scope_and_time(&expectation, 1_369_353_600).expect("in time");
    let string_to_sign = scoped.string_to_sign(Body::Bytes(b"")).expect("all is signed");
    let secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let key = PreparedSigningKey::new(SigningKey::derive_from_text(secret, b"20130524", "us-east-1", "s3"));
    let refusal = between_marks(|| string_to_sign.verify(&key).map(|_| ()));
    assert!(matches!(refusal, Err(Refusal::SignatureDoesNotMatch { .. })));
}

fn derived(input: usize) -> Secret32 {
    let mut bytes: [u8; 32] = Sha256::digest([[b'a', b'b'][input]]).into();
    Secret32::take(&mut bytes)
}

/// From the answer of the HSM to a signature.
fn secret(input: usize) {
    let derived = derived(input);
    let signature = between_marks(|| {
        let secret = SecretAccessKey::from_derived(&derived);
        let key = SigningKey::derive(&secret, b"20260102", "local", "s3");
        key.into_secret().hmac(b"a string to sign")
    });
    std::hint::black_box(signature.expose());
}

/// Neither of them is the third; the second has its first half.
fn secrets(input: usize) {
    let third = derived(0);
    let mut bytes = if input == 0 { *derived(1).expose() } else { *third.expose() };
    bytes[16..].fill(7);
    let other = Secret32::take(&mut bytes);
    assert!(!between_marks(|| other.ct_eq(&third)));
}

fn leaky_compare(input: usize) {
    let wrong = wrong(input);
    let is_same = between_marks(|| RIGHT.bytes().zip(wrong.bytes()).all(|(a, b)| a == b));
    assert!(!std::hint::black_box(is_same));
}

fn leaky_encode(input: usize) {
    static LETTERS: [u8; 256] = [b'x'; 256];
    let secret = derived(input);
    let mut letters = [0; 32];
    between_marks(|| {
        for (letter, byte) in letters.iter_mut().zip(secret.expose()) {
            *letter = LETTERS[usize::from(std::hint::black_box(*byte))];
        }
    });
    std::hint::black_box(letters);
}

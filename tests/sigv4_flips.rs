//! Every single-bit change of an accepted request is refused, unless it changes nothing that was signed.
//!
//! Whether something signed has changed is judged by the text of canonical request and string to sign, and by the
//! signature; the text for people and the hash for verification are written by the same code, so that the published
//! texts in `sigv4_vectors` are what this rests on.

mod sigv4_support;

use rederive::sigv4::{Body, Family, Limits, PayloadStatus, RequestHead, SignedRequest, UnixSeconds};
use sigv4_support::{RequestCases, Verdict, Verifier, case_folders, read, shapes, tests_path, unix};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// How much of a body is flipped: it is hashed as a whole, and later bits would show nothing new.
const BODY_BYTES: usize = 64;

/// All that a signature is made over, and the signature.
#[derive(PartialEq, Debug)]
struct Signed {
    canonical_request: Vec<u8>,
    string_to_sign: String,
    signature: String,
    /// Of a body that is checked.
    body: Vec<u8>,
}

fn signed(raw: &[u8], service: &str, status: PayloadStatus, omits_token: bool) -> Signed {
    let (head, body) = RequestHead::parse(raw, &Limits::default()).expect("it was accepted");
    let body = &raw[body..];
    let request = SignedRequest::parse(&head).expect("it was accepted");
    let (family, body_bytes) = (Family::of(service), Body::Bytes(body));
    let canonical = match request.canonical_request_without_token(family, body_bytes).expect("it was accepted") {
        Some(canonical) if omits_token => canonical,
        _ => request.canonical_request(family, body_bytes).expect("it was accepted"),
    };
    let text = String::from_utf8_lossy(raw);
    let signature = text.split("Signature=").nth(1).expect("it was accepted").chars().take(64).collect();
    Signed {
        canonical_request: canonical.text().to_vec(),
        string_to_sign: request.string_to_sign_text(&canonical.sha256()),
        signature,
        body: if status == PayloadStatus::Checked { body.to_vec() } else { Vec::new() },
    }
}

/// What became of the flips of one request.
#[derive(Default, Debug)]
struct Tally {
    refused: usize,
    /// Accepted, with nothing signed changed.
    harmless: usize,
}

fn flip_every_bit(case: &str, raw: &[u8], verifier: Verifier<'_>) -> Tally {
    let Verdict::Accepted(status) = verifier.verify(raw) else { panic!("{case} is not accepted to begin with") };
    // Where the session token was added after signing, nothing in it is signed: it is the key that depends on it.
    let omits_token = case.contains("post-sts-header-after");
    let original = signed(raw, verifier.service, status, omits_token);
    let (_, body) = RequestHead::parse(raw, &Limits::default()).expect("it was accepted");
    let mut tally = Tally::default();
    let mut flipped = raw.to_vec();
    for bit in 0..raw.len().min(body + BODY_BYTES) * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Verdict::Accepted(status) = verifier.verify(&flipped) {
            assert_eq!(
                signed(&flipped, verifier.service, status, omits_token),
                original,
                "{case}: bit {bit} changes what is signed"
            );
            tally.harmless += 1;
        } else {
            tally.refused += 1;
        }
        flipped[bit / 8] = raw[bit / 8];
    }
    tally
}

/// Every signed byte counts: a request of this kind has some hundred of them.
fn check(case: &str, tally: &Tally) {
    assert!(tally.refused > 1000, "{case}: {tally:?}");
}

#[test]
fn published_vectors() {
    let now = unix("20150830T123600Z");
    let verifier = Verifier { secret: SECRET, service: "service", now };
    let mut run = 0;
    for folder in case_folders(&tests_path("vectors/aws-c-auth/v4")) {
        for carrier in ["header", "query"] {
            let raw = read(&folder.join(format!("{carrier}-signed-request.txt")));
            // Those that are not accepted stand in known-errors.toml.
            if verifier.verify(&raw).is_accepted() {
                let case = format!("{}/{carrier}", folder.display());
                check(&case, &flip_every_bit(&case, &raw, verifier));
                run += 1;
            }
        }
    }
    assert!(run >= 63, "{run} vectors were accepted");
}

#[test]
fn computed_requests() {
    let cases = RequestCases::read();
    let mut run = 0;
    for case in cases.cases.iter().filter(|case| case.id.starts_with("ok-")) {
        let raw = case.raw();
        let verifier = Verifier { secret: &cases.secret, service: &case.service, now: case.now() };
        check(&case.id, &flip_every_bit(&case.id, &raw, verifier));
        run += 1;
    }
    assert!(run >= 13, "{run} requests");
}

/// Most flips leave the shape of the request as it was: then both ways to read it had to agree.
#[test]
fn flips_are_read_by_shape_as_well() {
    let raw = read(&tests_path("vectors/aws-c-auth/v4/get-vanilla/header-signed-request.txt"));
    let verifier = Verifier { secret: SECRET, service: "service", now: unix("20150830T123600Z") };
    let before = shapes::agreed();
    let tally = flip_every_bit("get-vanilla", &raw, verifier);
    let agreed = shapes::agreed() - before;
    assert!(agreed > 200, "{agreed} of {tally:?}");
}

/// The control: two ways to read a request that disagree are noticed.
#[test]
#[should_panic(expected = "read from the beginning")]
fn a_shape_that_reads_otherwise_is_noticed() {
    let raw = read(&tests_path("vectors/aws-c-auth/v4/get-vanilla/header-signed-request.txt"));
    let (head, _) = RequestHead::parse(&raw, &Limits::default()).expect("a head");
    shapes::must_agree(&head, &Ok(PayloadStatus::Checked), &Ok(PayloadStatus::Unsigned));
}

/// The control: the same loop does accept, wherever a header that is not signed is flipped.
#[test]
fn flips_in_an_unsigned_header_are_accepted() {
    let raw = read(&tests_path("vectors/aws-c-auth/v4/get-vanilla/header-signed-request.txt"));
    let mark = b"Host:";
    let at = raw.windows(mark.len()).position(|window| window == mark).expect("a Host header");
    let with_agent = [&raw[..at], b"User-Agent: abcdefgh\n", &raw[at..]].concat();
    let value = at + "User-Agent: ".len();
    let now: UnixSeconds = unix("20150830T123600Z");
    let verifier = Verifier { secret: SECRET, service: "service", now };
    for bit in 0..8 * 8 {
        let mut flipped = with_agent.clone();
        flipped[value + bit / 8] ^= 1 << (bit % 8);
        assert!(verifier.verify(&flipped).is_accepted(), "bit {bit} of the value");
    }
    let tally = flip_every_bit("with a User-Agent", &with_agent, verifier);
    assert!(tally.harmless >= 8 * 8, "{tally:?}");
}

//! Signature V4A: published requests, keys and chunks.

use std::collections::BTreeSet;
use std::path::Path;

use rederive::explain::{Decision, ExplainOptions, Explanation, explain};
use rederive::sigv4::AmzDate;
use rederive::sigv4a::{ChunkScope, PADDED_SIGNATURE, PublicKey, unpadded};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::sigv4_support::{case_folders, read, read_json, read_text, tests_path, unix};
use super::{SECRET, options};

/// Explains a published request of Signature V4A.
fn explain_v4a(folder: &Path, carrier: &str) -> Explanation {
    let raw = read(&folder.join(format!("{carrier}-signed-request.txt")));
    explain(&raw, &options(Some(SECRET), "20150830T123600Z"))
}

#[test]
fn v4a_vectors() {
    let folders = case_folders(&tests_path("vectors/aws-c-auth/v4a"));
    assert!(folders.len() >= 40);
    let mut refused = BTreeSet::new();
    let mut ran = 0;
    for folder in &folders {
        // Two of the folders hold no signed request.
        let is_there = |carrier: &&str| folder.join(format!("{carrier}-signed-request.txt")).exists();
        for carrier in ["header", "query"].into_iter().filter(is_there) {
            ran += 1;
            let explanation = explain_v4a(folder, carrier);
            let published = |name: &str| Some(read_text(&folder.join(format!("{carrier}-{name}.txt"))));
            if explanation.decision == Decision::Accept {
                // Its token was put into the query after signing, which is taken, and shown as it arrived.
                if folder.ends_with("post-sts-header-after") {
                    continue;
                }
                assert_eq!(explanation.canonical_request, published("canonical-request"), "{}", folder.display());
                assert_eq!(explanation.string_to_sign, published("string-to-sign"), "{}", folder.display());
                continue;
            }
            let name = folder.file_name().expect("a folder").to_string_lossy().into_owned();
            assert!(!explanation.deviations.is_empty(), "{name}/{carrier}: {explanation:?}");
            refused.insert(format!("{name}/{carrier}: {}", explanation.deviations[0].name));
        }
    }
    assert!(ran >= 76, "{ran} requests");
    // The paths are signed as sent, by a switch of the signer; the session token is not signed.
    let expected = [
        "get-relative-relative-unnormalized/header: uri=reenc",
        "get-relative-relative-unnormalized/query: uri=reenc",
        "get-relative-unnormalized/header: uri=reenc",
        "get-relative-unnormalized/query: uri=reenc",
        "get-slash-dot-slash-unnormalized/header: uri=reenc",
        "get-slash-dot-slash-unnormalized/query: uri=reenc",
        "get-slash-pointless-dot-unnormalized/header: uri=reenc",
        "get-slash-pointless-dot-unnormalized/query: uri=reenc",
        "get-slash-unnormalized/header: uri=reenc",
        "get-slash-unnormalized/query: uri=reenc",
        "get-slashes-unnormalized/header: uri=reenc",
        "get-slashes-unnormalized/query: uri=reenc",
        "post-sts-header-after/header: header=unsigned:x-amz-security-token",
    ];
    assert_eq!(refused, expected.map(str::to_owned).into());
}

#[test]
fn v4a_requests_are_refused_for_another_key_region_time_or_byte() {
    let folder = tests_path("vectors/aws-c-auth/v4a/get-vanilla");
    let at = options(Some(SECRET), "20150830T123600Z");
    for carrier in ["header", "query"] {
        let raw = read(&folder.join(format!("{carrier}-signed-request.txt")));
        let explained = |options| explain(&raw, &options);
        assert_eq!(explained(at).decision, Decision::Accept);
        assert_eq!(explained(ExplainOptions { region: Some("us-east-1"), ..at }).decision, Decision::Accept);
        let elsewhere = explained(ExplainOptions { region: Some("eu-west-1"), ..at });
        assert_eq!((elsewhere.decision, &*elsewhere.deviations[0].name), (Decision::Refuse, "scope=region"));
        assert_eq!(explained(ExplainOptions { secret: Some(b"another"), ..at }).decision, Decision::Refuse);
        assert_eq!(explained(ExplainOptions { at: unix("20150930T123600Z"), ..at }).decision, Decision::Refuse);
        let text = String::from_utf8(raw.clone()).expect("text");
        let without_set =
            text.replace("Region-Set:us-east-1\n", "Nothing:1\n").replace("&X-Amz-Region-Set=us-east-1", "");
        let other_set = text.replace("us-east-1", "*");
        for changed in [without_set, other_set] {
            assert_ne!(changed, text);
            assert_eq!(explain(changed.as_bytes(), &at).decision, Decision::Refuse, "{changed}");
        }
    }
}

#[derive(Deserialize)]
struct KeyPairs {
    cases: Vec<KeyPair>,
}

#[derive(Deserialize)]
struct KeyPair {
    access_key_id: String,
    secret: String,
    public_x: String,
    public_y: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn v4a_keys_are_derived_as_published() {
    let KeyPairs { cases } = read_json("vectors/computed/sigv4a-key-derivation.json");
    assert!(cases.len() >= 3);
    for case in cases {
        let key = PublicKey::derive(case.secret.as_bytes(), &case.access_key_id).expect("a key");
        let (x, y) = key.coordinates();
        assert_eq!((hex(&x), hex(&y)), (case.public_x, case.public_y));
        assert_eq!(PublicKey::from_coordinates(&x, &y), Some(key));
    }
    assert_eq!(PublicKey::from_coordinates(&[1; 32], &[1; 32]), None);
}

#[derive(Deserialize)]
struct ChunkedBodies {
    access_key_id: String,
    secret: String,
    cases: Vec<ChunkedBody>,
}

#[derive(Deserialize)]
struct ChunkedBody {
    string_to_sign: String,
    seed_signature: String,
    chunks: Vec<Chunk>,
    trailer: Option<Trailer>,
}

#[derive(Deserialize)]
struct Chunk {
    size: usize,
    fill: String,
    string_to_sign: String,
    signature: String,
    wire_header: String,
}

#[derive(Deserialize)]
struct Trailer {
    canonical: String,
    string_to_sign: String,
    signature: String,
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn v4a_chunks_and_trailers_are_signed_as_published() {
    let bodies: ChunkedBodies = read_json("vectors/computed/sigv4a-chunked.json");
    let key = PublicKey::derive(bodies.secret.as_bytes(), &bodies.access_key_id).expect("a key");
    let date = AmzDate::parse(b"20130524T000000Z").expect("a date");
    let scope = ChunkScope { date, scope: "20130524/s3/aws4_request" };
    for body in &bodies.cases {
        assert!(key.verifies(body.string_to_sign.as_bytes(), &unhex(&body.seed_signature)));
        let mut previous = body.seed_signature.clone();
        for chunk in &body.chunks {
            let hash = Sha256::digest(chunk.fill.repeat(chunk.size)).into();
            let text = scope.chunk(&previous, &hash);
            assert_eq!(text, chunk.string_to_sign);
            assert!(key.verifies(text.as_bytes(), &unhex(&chunk.signature)));
            assert!(!key.verifies(text.as_bytes(), &unhex(&body.seed_signature)));
            let padded = chunk.wire_header.trim_end().split('=').nth(1).expect("a signature").as_bytes();
            assert_eq!((padded.len(), unpadded(padded)), (PADDED_SIGNATURE, chunk.signature.as_bytes()));
            previous = chunk.signature.clone();
        }
        if let Some(trailer) = &body.trailer {
            let text = scope.trailer(&previous, &Sha256::digest(&trailer.canonical).into());
            assert_eq!(text, trailer.string_to_sign);
            assert!(key.verifies(text.as_bytes(), &unhex(&trailer.signature)));
        }
    }
}

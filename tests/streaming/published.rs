//! The documentation's worked examples, the requests of `request-cases.json` and of the corpus, from head to last byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::prelude::*;
use rederive::sigv4::{
    Body, Expectation, Limits, PayloadStatus, PreparedSigningKey, Regions, RequestHead, SignedRequest, UnixSeconds,
};
use rederive::sigv4a::{PublicKey, V4aRequest};
use rederive::streaming::{ChecksumAlgorithm, ChunkLimits, Decoder, Seed, Vouched};
use rederive_hsm::signing_key::SigningKey;
use serde::Deserialize;

use crate::signer::{Outcome, hex, run};
use crate::sigv4_support::{Expect, RequestCases, read_json, read_text, tests_path, unix};

/// What a gateway does: verify the head, then decode the body. `None` if the head is refused or the body has no chunks.
fn receive(head: &[u8], body: &[u8], secret: &str, now: UnixSeconds) -> Option<Outcome> {
    let (head, _) = RequestHead::parse(head, &Limits::default()).ok()?;
    let request = SignedRequest::parse(&head).ok()?;
    let expectation = Expectation { service: "s3", regions: Regions::Any };
    let scoped = request.check_scope_and_time(&expectation, now).ok()?;
    let string_to_sign = scoped.string_to_sign(Body::Absent).ok()?;
    let scope = string_to_sign.scope();
    let date = scope.date().as_bytes().try_into().expect("eight digits");
    let key = SigningKey::derive_from_text(secret.as_bytes(), date, scope.region(), scope.service());
    let key = Arc::new(PreparedSigningKey::new(key));
    let verified = string_to_sign.verify(&key).ok()?;
    let Some(seed) = Seed::of(&verified, key) else {
        assert!(!matches!(verified.payload(), PayloadStatus::Streaming(_)));
        return None;
    };
    Some(match Decoder::new(seed, &head, &ChunkLimits::default()) {
        Ok(decoder) => run(decoder, body, [body.len() / 3]),
        Err(error) => Outcome { data: Vec::new(), end: Err(error), memory: 0 },
    })
}

#[derive(Deserialize)]
struct Documented {
    access_key_id: String,
    secret: String,
    chunked: Example,
    chunked_trailer: Example,
}

#[derive(Deserialize)]
struct Example {
    seed: DocumentedSeed,
    chunks: Vec<DocumentedChunk>,
    trailer: Option<DocumentedTrailer>,
}

#[derive(Deserialize)]
struct DocumentedSeed {
    target: String,
    headers: Vec<(String, String)>,
    signed_headers: Vec<String>,
    amz_date: String,
    scope: String,
    signature: String,
}

#[derive(Deserialize)]
struct DocumentedChunk {
    size: usize,
    fill: String,
    wire_header: String,
}

#[derive(Deserialize)]
struct DocumentedTrailer {
    wire: String,
}

impl Example {
    fn head(&self, access_key_id: &str) -> Vec<u8> {
        let DocumentedSeed { target, headers, signed_headers, scope, signature, .. } = &self.seed;
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let list = signed_headers.join(";");
        let credentials = format!("Credential={access_key_id}/{scope},SignedHeaders={list},Signature={signature}");
        format!("PUT {target} HTTP/1.1\r\n{lines}Authorization: AWS4-HMAC-SHA256 {credentials}\r\n\r\n").into_bytes()
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for chunk in &self.chunks {
            body.extend_from_slice(chunk.wire_header.as_bytes());
            body.extend_from_slice(chunk.fill.repeat(chunk.size).as_bytes());
            // The last chunk has no data, and before a trailer no line break stands for them.
            body.extend_from_slice(if chunk.size > 0 || self.trailer.is_none() { b"\r\n" } else { b"" });
        }
        body.extend_from_slice(self.trailer.as_ref().map_or("", |trailer| &trailer.wire).as_bytes());
        body
    }
}

#[test]
fn the_documentations_examples_come_out() {
    let documented: Documented = read_json("vectors/aws-docs/s3-sigv4.json");
    for (example, checksums) in [(&documented.chunked, 0), (&documented.chunked_trailer, 1)] {
        let (head, body) = (example.head(&documented.access_key_id), example.body());
        let outcome = receive(&head, &body, &documented.secret, unix(&example.seed.amz_date)).expect("verified");
        let verified = outcome.end.expect("decoded");
        assert_eq!((outcome.data.len(), verified.vouched()), (66560, Vouched::BySignatures));
        assert!(outcome.data.iter().all(|byte| *byte == b'a'));
        assert_eq!(verified.checksums().len(), checksums);
        if let [(algorithm, value)] = verified.checksums() {
            assert_eq!((*algorithm, &**value), (ChecksumAlgorithm::Crc32c, "sOO8/Q=="));
        }
    }
}

#[test]
fn requests_are_refused_at_the_body_with_their_code() {
    let cases = RequestCases::read();
    let mut ends = BTreeMap::new();
    for case in &cases.cases {
        let raw = case.raw();
        let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
        let Some(outcome) = receive(&raw[..end], &raw[end..], &cases.secret, case.now()) else {
            assert_ne!(case.expect, Expect::RejectAtBody, "{}", case.id);
            continue;
        };
        let code = outcome.end.as_ref().map_or_else(|error| error.outside().code, |_| "");
        match case.expect {
            Expect::Accept => assert_eq!(code, "", "{}: {:?}", case.id, outcome.end),
            Expect::RejectAtBody => assert_eq!(code, case.code, "{}: {:?}", case.id, outcome.end),
            _ => panic!("{} was accepted", case.id),
        }
        *ends.entry(case.expect).or_insert(0) += 1;
    }
    assert!(ends[&Expect::Accept] >= 2 && ends[&Expect::RejectAtBody] >= 3, "{ends:?}");
}

#[derive(Deserialize)]
struct Recording {
    id: String,
    secret_access_key: String,
    head_b64: String,
    body_b64: String,
    signed_at: String,
    expect: String,
}

#[test]
fn bodies_of_real_clients_come_out() {
    let folder = std::fs::read_dir(tests_path("corpus")).expect("the corpus");
    let files = folder.map(|entry| entry.expect("a file").path());
    let (mut by_signature, mut by_checksum) = (0, 0);
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        for line in read_text(&path).lines() {
            let recording: Recording = serde_json::from_str(line).expect("a recording");
            let [head, body] = [&recording.head_b64, &recording.body_b64].map(|text| BASE64_STANDARD.decode(text));
            let (head, body) = (head.expect("base64"), body.expect("base64"));
            let now = unix(&recording.signed_at);
            let Some(outcome) = receive(&head, &body, &recording.secret_access_key, now) else { continue };
            assert_eq!(recording.expect, "accept", "{}", recording.id);
            match outcome.end.unwrap_or_else(|error| panic!("{}: {error}", recording.id)).vouched() {
                Vouched::BySignatures => by_signature += 1,
                Vouched::ByChecksums => by_checksum += 1,
            }
            // The control: what was recorded is all there is to it.
            let cut = receive(&head, &body[..body.len() - 3], &recording.secret_access_key, now).expect("verified");
            assert!(cut.end.is_err(), "{}", recording.id);
        }
    }
    assert!(by_signature >= 24 && by_checksum >= 28, "{by_signature} by signature, {by_checksum} by checksum");
}

#[test]
fn a_request_without_chunks_gives_no_seed() {
    let documented: Documented = read_json("vectors/aws-docs/s3-sigv4.json");
    let mut example = documented.chunked;
    assert_eq!(example.seed.signature.len(), hex(&[0; 32]).len());
    // The seed's signature is of the head: a head that says something else of the body is another request.
    for (name, value) in &mut example.seed.headers {
        if name == "x-amz-decoded-content-length" {
            value.push('0');
        }
    }
    let head = example.head(&documented.access_key_id);
    assert!(receive(&head, &example.body(), &documented.secret, unix(&example.seed.amz_date)).is_none());
}

#[derive(Deserialize)]
struct EcdsaBodies {
    access_key_id: String,
    secret: String,
    cases: Vec<EcdsaBody>,
}

#[derive(Deserialize)]
struct EcdsaBody {
    headers: Vec<(String, String)>,
    seed_signature: String,
    chunks: Vec<DocumentedChunk>,
    trailer: Option<serde_json::Value>,
}

/// The whole request as aws-c-auth's tests send it, verified with nothing but the public key.
#[test]
fn published_bodies_of_signature_v4a_come_out() {
    let bodies: EcdsaBodies = read_json("vectors/computed/sigv4a-chunked.json");
    let key = PublicKey::derive(bodies.secret.as_bytes(), &bodies.access_key_id).expect("a key pair");
    // The published trailer holds no checksums, so that no decoder of S3 takes it: `tests/versions` has one.
    let without_trailer: Vec<_> = bodies.cases.iter().filter(|case| case.trailer.is_none()).collect();
    assert!(!without_trailer.is_empty());
    for case in without_trailer {
        let names: Vec<_> = case.headers.iter().map(|(name, _)| &**name).collect();
        let credential = format!("{}/20130524/s3/aws4_request", bodies.access_key_id);
        let authorization = format!(
            "AWS4-ECDSA-P256-SHA256 Credential={credential}, SignedHeaders={}, Signature={}",
            names.join(";"),
            case.seed_signature
        );
        let headers = case.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let headers = headers.chain([(&b"authorization"[..], authorization.as_bytes())]);
        let path = b"/examplebucket/chunkObject.txt";
        let head = RequestHead::from_fields(b"PUT", path, headers, &Limits::default()).expect("a head");
        let request = V4aRequest::parse(&head).expect("well formed");
        let expectation = Expectation { service: "s3", regions: Regions::Named("us-east-1") };
        let scoped = request.check_scope_and_time(&expectation, unix("20130524T000000Z")).expect("for now");
        let verified = scoped.string_to_sign(Body::Absent).expect("complete").verify(&key).expect("right");

        let mut body = Vec::new();
        for chunk in &case.chunks {
            body.extend_from_slice(chunk.wire_header.as_bytes());
            body.extend_from_slice(chunk.fill.repeat(chunk.size).as_bytes());
            body.extend_from_slice(b"\r\n");
        }
        let decode = |body: &[u8]| {
            let seed = Seed::of_v4a(&verified, &key).expect("in chunks");
            let mut decoder = Decoder::new(seed, &head, &ChunkLimits::default())?;
            for mut piece in body.chunks(777) {
                while decoder.decode(&mut piece)?.is_some() {}
            }
            decoder.finish()
        };
        let done = decode(&body).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((done.length(), done.vouched()), (66560, Vouched::BySignatures));
        // A bit in a signature, in data, in the trailer; a chunk left out.
        for place in [30, 300, 65536 + 200, 65536 + 700, body.len() - 60] {
            let mut changed = body.clone();
            changed[place] ^= 1;
            assert!(decode(&changed).is_err(), "{place}");
        }
        let second = case.chunks[0].wire_header.len() + case.chunks[0].size + 2;
        assert!(decode(&body[second..]).is_err());
    }
}

//! Decoding a chunk-signed body of 16 MiB, against plain SHA-256 of the same bytes.
//!
//! `cargo bench --bench streaming`. The kinds of work are timed in turns, so that a noisy machine disturbs all alike; the
//! figures that count are the medians of their ratios. Beside them stands the memory that the decoder held.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use rederive::sigv4::{AmzDate, CredentialScope, Limits, PreparedSigningKey, RequestHead, StreamingKind};
use rederive::streaming::{ChunkLimits, Decoder, Seed};
use rederive_hsm::signing_key::SigningKey;
use sha2::{Digest, Sha256};

const SIZE: usize = 16 * 1024 * 1024;
/// What a gateway reads from a socket at a time.
const READ: usize = 64 * 1024;
const SEED: [u8; 32] = [0x5e; 32];
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn signing_key() -> SigningKey {
    SigningKey::derive_from_text(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"20260102", "local", "s3")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The body as it stands on the wire, in signed chunks of that size.
fn wire(data: &[u8], chunk: usize) -> Vec<u8> {
    let (key, mut previous, mut wire) = (signing_key(), hex(&SEED), Vec::new());
    for data in data.chunks(chunk).chain([&[][..]]) {
        let hash = hex(&Sha256::digest(data));
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n20260102T030405Z\n20260102/local/s3/aws4_request\n{previous}\n{EMPTY}\n{hash}"
        );
        let mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("a key").chain_update(text);
        previous = hex(&mac.finalize().into_bytes());
        wire.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", data.len()).as_bytes());
        wire.extend_from_slice(data);
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

/// Every piece is looked at, as by a gateway that writes it somewhere. Gives the most memory that was held.
fn decode(wire: &[u8], key: &Arc<PreparedSigningKey>) -> usize {
    let length = SIZE.to_string();
    let fields = [(&b"x-amz-decoded-content-length"[..], length.as_bytes())];
    let head = RequestHead::from_fields(b"PUT", b"/b/k", fields, &Limits::default()).expect("a head");
    let scope = CredentialScope::new("20260102", "local", "s3").expect("a scope");
    let date = AmzDate::parse(b"20260102T030405Z").expect("a time");
    let seed =
        Seed::new(StreamingKind::SignedChunks, key.clone(), &date, &scope, &SEED).expect("signed with such a key");
    let mut decoder = Decoder::new(seed, &head, &ChunkLimits::default()).expect("announced");
    let mut memory = 0;
    for mut input in wire.chunks(READ) {
        while let Some(piece) = decoder.decode(&mut input).expect("signed") {
            black_box(piece.bytes());
        }
        memory = memory.max(decoder.memory());
    }
    assert_eq!(decoder.finish().expect("complete").length(), SIZE as u64);
    memory
}

fn hash(data: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    data.chunks(READ).for_each(|piece| hash.update(black_box(piece)));
    hash.finalize().into()
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn main() {
    const ROUNDS: usize = 100;
    let data: Vec<u8> = (0..SIZE).map(|at| (at * 7 + at / 251) as u8).collect();
    let key = Arc::new(PreparedSigningKey::new(signing_key()));
    for chunk in [64 * 1024, 128 * 1024, 8 * 1024] {
        let wire = wire(&data, chunk);
        let mut memory = 0;
        let rounds: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|_| {
                let decoding = time(|| memory = memory.max(decode(black_box(&wire), &key)));
                let hashing = time(|| _ = black_box(hash(black_box(&data))));
                (decoding.as_secs_f64(), hashing.as_secs_f64())
            })
            .collect();
        println!(
            "16 MiB in signed chunks of {} KiB, read {} KiB at a time: {:.2} ms; SHA-256 of it: {:.2} ms; ratio {:.3}; memory {} KiB",
            chunk / 1024,
            READ / 1024,
            median(rounds.iter().map(|round| round.0 * 1e3).collect()),
            median(rounds.iter().map(|round| round.1 * 1e3).collect()),
            median(rounds.iter().map(|round| round.0 / round.1).collect()),
            memory.div_ceil(1024),
        );
    }
}

//! Bodies in chunks of every kind: any bytes are decoded or refused, alike however they are split, and never panic.
//!
//! The first byte chooses the kind, the second how the rest is split.
#![no_main]

use rederive::sigv4::{AmzDate, CredentialScope, Limits, PreparedSigningKey, RequestHead, StreamingKind};
use rederive::sigv4a::PublicKey;
use rederive::streaming::{BodyError, ChunkLimits, Decoder, Seed};
use rederive_hsm::signing_key::SigningKey;

const MOST: u64 = 4096;

fn public_key() -> PublicKey {
    PublicKey::derive(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKIAIOSFODNN7EXAMPLE").expect("a key pair")
}

fn decoder(kind: StreamingKind) -> Decoder {
    let key = SigningKey::derive_from_text(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"20130524", "us-east-1", "s3");
    let scope = CredentialScope::new("20130524", "us-east-1", "s3").expect("a scope");
    let date = AmzDate::parse(b"20130524T000000Z").expect("a time");
    let seed = Seed::new(kind, PreparedSigningKey::new(key).into(), &date, &scope, &[0x5e; 32])
        .or_else(|| Seed::new_v4a(kind, &public_key(), &date, &scope, &[0x5e; 70]))
        .expect("a kind is signed in one of the two ways, or not at all");
    let mut fields = vec![(&b"x-amz-decoded-content-length"[..], &b"5"[..])];
    if kind.has_trailer() {
        fields.push((b"x-amz-trailer", b"x-amz-checksum-crc32"));
    }
    let head = RequestHead::from_fields(b"PUT", b"/b/k", fields, &Limits::default()).expect("a head");
    let limits = ChunkLimits { most: MOST, ..ChunkLimits::default() };
    Decoder::new(seed, &head, &limits).expect("announced")
}

fn decode(kind: StreamingKind, body: &[u8], piece: usize) -> (Vec<u8>, Result<String, BodyError>) {
    let (mut decoder, mut data) = (decoder(kind), Vec::new());
    for mut input in body.chunks(piece.max(1)) {
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(piece)) => data.extend_from_slice(piece.bytes()),
                Ok(None) => break,
                Err(error) => {
                    let _ = error.outside();
                    return (data, Err(error));
                }
            }
        }
        assert!(decoder.memory() < MOST as usize + 1024);
    }
    let end = decoder.finish().map(|body| format!("{body:?}"));
    (data, end)
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [kind, piece, body @ ..] = input else { return };
    let kind = StreamingKind::ALL[usize::from(*kind) % StreamingKind::ALL.len()];
    let whole = decode(kind, body, body.len());
    assert_eq!(whole, decode(kind, body, usize::from(*piece)));
    if whole.1.is_ok() {
        // 5 bytes were announced; without a right signature, the checksum in the seeds is that of `hello`.
        assert_eq!(whole.0.len(), 5);
        assert!(!kind.is_signed() || whole.0 == b"hello");
    }
});

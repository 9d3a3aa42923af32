//! Random bodies come out as they were; whatever is done to a signed one, no byte comes out that was not signed in its
//! place; memory does not grow.

use base64::prelude::*;
use proptest::prelude::*;
use rederive::sigv4::StreamingKind;
use rederive::streaming::ChunkLimits;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::signer::{SEED, Signer, Wire, hex};

/// The chunks of a body, its kind, and how its trailer is written.
fn wire(kind: StreamingKind, chunks: &[Vec<u8>], trailers: u8, line_break: &str) -> Wire {
    let data = chunks.concat();
    let mut lines = Vec::new();
    if trailers & 1 == 1 || trailers & 2 == 0 {
        lines.push(("x-amz-checksum-sha1", BASE64_STANDARD.encode(Sha1::digest(&data))));
    }
    if trailers & 2 == 2 {
        lines.push(("x-amz-checksum-sha256", BASE64_STANDARD.encode(Sha256::digest(&data))));
    }
    let mut headers = vec![("x-amz-decoded-content-length".to_owned(), data.len().to_string())];
    let mut signer = Signer::new(&hex(&SEED));
    let mut body = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        put_header(&mut body, kind, &mut signer, chunk);
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    put_header(&mut body, kind, &mut signer, b"");
    if kind.has_trailer() {
        let names: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
        headers.push(("x-amz-trailer".to_owned(), names.join(",")));
        for (name, value) in &lines {
            body.extend_from_slice(format!("{name}:{value}{line_break}").as_bytes());
        }
        if kind.is_signed() {
            let canonical: String = lines.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
            body.extend_from_slice(format!("x-amz-trailer-signature:{}\r\n", signer.trailer(&canonical)).as_bytes());
        }
    }
    body.extend_from_slice(b"\r\n");
    let limits = ChunkLimits { least: 0, ..ChunkLimits::default() };
    Wire { kind, headers, seed: SEED, limits, body }
}

fn put_header(body: &mut Vec<u8>, kind: StreamingKind, signer: &mut Signer, chunk: &[u8]) {
    let signature = if kind.is_signed() { format!(";chunk-signature={}", signer.chunk(chunk)) } else { String::new() };
    body.extend_from_slice(format!("{:x}{signature}\r\n", chunk.len()).as_bytes());
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6)
}

fn kinds() -> impl Strategy<Value = StreamingKind> {
    let kinds = StreamingKind::ALL.into_iter().filter(|kind| !kind.as_str().contains("ECDSA"));
    prop::sample::select(kinds.collect::<Vec<_>>())
}

/// Ends of pieces, in order.
fn ends() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..2500usize, 0..8).prop_map(|mut ends| {
        ends.sort();
        ends
    })
}

/// What somebody in the middle can do.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
}

fn changes() -> impl Strategy<Value = Change> {
    use prop::sample::Index;
    prop_oneof![
        (any::<Index>(), 1..=255u8).prop_map(|(at, mask)| Change::Flip(at, mask)),
        any::<Index>().prop_map(Change::Cut),
        any::<(Index, Index)>().prop_map(|(from, to)| Change::Remove(from, to)),
        any::<(Index, Index)>().prop_map(|(from, to)| Change::Repeat(from, to)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

impl Change {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        let range = |from: &prop::sample::Index, to: &prop::sample::Index| {
            let (from, to) = (from.index(body.len()), to.index(body.len()));
            from.min(to)..from.max(to)
        };
        match self {
            Self::Flip(at, mask) => {
                let at = at.index(body.len());
                body[at] ^= mask;
            }
            Self::Cut(at) => body.truncate(at.index(body.len())),
            Self::Remove(from, to) => drop(body.drain(range(from, to))),
            Self::Repeat(from, to) => {
                let range = range(from, to);
                let again = body[range.clone()].to_vec();
                body.splice(range.end..range.end, again);
            }
            Self::Insert(at, bytes) => {
                let at = at.index(body.len());
                body.splice(at..at, bytes.iter().copied());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_signed_comes_out(
        kind in kinds(), chunks in chunks(), trailers in 0..4u8, lf in any::<bool>(), ends in ends(),
    ) {
        let wire = wire(kind, &chunks, trailers, if lf { "\n" } else { "\r\n" });
        let outcome = wire.decode_in(ends);
        prop_assert_eq!(&outcome.data, &chunks.concat());
        let body = outcome.end.expect("complete");
        prop_assert_eq!(body.length(), outcome.data.len() as u64);
        prop_assert_eq!(body.checksums().is_empty(), !kind.has_trailer());
    }

    #[test]
    fn nothing_else_comes_out_of_a_signed_body(
        trailer in any::<bool>(), chunks in chunks(), changes in prop::collection::vec(changes(), 1..4), ends in ends(),
    ) {
        let kind = if trailer { StreamingKind::SignedChunksAndTrailer } else { StreamingKind::SignedChunks };
        let mut wire = wire(kind, &chunks, 3, "\r\n");
        changes.iter().for_each(|change| change.apply(&mut wire.body));
        let (outcome, data) = (wire.decode_in(ends), chunks.concat());
        prop_assert!(data.starts_with(&outcome.data));
        if outcome.end.is_ok() {
            prop_assert_eq!(outcome.data, data);
        }
    }
}

#[test]
fn memory_is_that_of_one_chunk_whatever_the_body() {
    const CHUNK: usize = 64 * 1024;
    let memory_of = |chunks: usize, piece: usize| {
        let wire = wire(StreamingKind::SignedChunks, &vec![vec![7; CHUNK]; chunks], 0, "");
        let outcome = wire.decode_in((0..wire.body.len()).step_by(piece));
        assert_eq!(outcome.end.expect("complete").length(), (chunks * CHUNK) as u64);
        outcome.memory
    };
    for piece in [1000, 5000, CHUNK] {
        let (small, large) = (memory_of(2, piece), memory_of(64, piece));
        assert_eq!(small, large, "in pieces of {piece}");
        assert!((CHUNK..CHUNK + 1024).contains(&large), "{large} bytes, in pieces of {piece}");
    }
}

#[test]
fn memory_is_taken_for_what_came_not_for_what_was_announced() {
    let mut wire = wire(StreamingKind::SignedChunks, &[vec![7; 8 * 1024 * 1024]], 0, "");
    wire.body.truncate(1000);
    let outcome = wire.decode_in(0..1000);
    assert!(outcome.end.is_err() && outcome.memory < 4096, "{} bytes", outcome.memory);
}

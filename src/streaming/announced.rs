//! What the head says of the body: its length, its trailer, its checksums. All of it is signed, for every `x-amz-…` of a
//! verified request is.

use super::checksum::{ChecksumAlgorithm, Checksums};
use super::error::BodyFault;
use crate::sigv4::{RequestHead, StreamingKind, shown};

const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const TRAILER: &str = "x-amz-trailer";

/// What the head announces.
pub(super) struct Announced {
    /// Bytes of the body without its framing.
    pub length: u64,
    /// What the trailer will hold, each once, sorted by name.
    pub trailer: Vec<ChecksumAlgorithm>,
    /// Those that the headers state, and room for those of the trailer.
    pub checksums: Checksums,
}

impl Announced {
    pub fn read(kind: StreamingKind, head: &RequestHead<'_>) -> Result<Self, BodyFault> {
        let length = length(head)?;
        let trailer = trailer(head)?;
        match (kind.has_trailer(), trailer.is_empty()) {
            (true, true) => return Err(BodyFault::Trailer("x-amz-trailer does not say what is in it")),
            (false, false) => {
                return Err(BodyFault::Trailer("x-amz-trailer announces it, and this kind of body has none"));
            }
            (true, false) | (false, true) => {}
        }
        let mut checksums = Checksums::of_headers(head)?;
        trailer.iter().for_each(|algorithm| checksums.await_trailer(*algorithm));
        Ok(Self { length, trailer, checksums })
    }
}

fn values<'h>(head: &'h RequestHead<'_>, name: &str) -> impl Iterator<Item = &'h [u8]> {
    head.headers().iter().filter(move |header| header.name.eq_ignore_ascii_case(name.as_bytes())).map(|it| it.value)
}

fn length(head: &RequestHead<'_>) -> Result<u64, BodyFault> {
    let mut values = values(head, DECODED_LENGTH);
    let value = values.next().ok_or(BodyFault::MissingDecodedLength)?;
    if values.next().is_some() {
        return Err(BodyFault::RepeatedHeader(DECODED_LENGTH));
    }
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|text| text.parse().ok());
    length.ok_or_else(|| BodyFault::MalformedHeader { name: DECODED_LENGTH, got: shown(value) })
}

/// The header may come twice, and name the same twice: minio-go does both.
fn trailer(head: &RequestHead<'_>) -> Result<Vec<ChecksumAlgorithm>, BodyFault> {
    let names = values(head, TRAILER).flat_map(|value| value.split(|byte| *byte == b','));
    let known = |name: &[u8]| ChecksumAlgorithm::of_header(name).ok_or_else(|| BodyFault::UnknownTrailer(shown(name)));
    let mut trailer = names.map(|name| known(name.trim_ascii())).collect::<Result<Vec<_>, _>>()?;
    trailer.sort();
    trailer.dedup();
    Ok(trailer)
}

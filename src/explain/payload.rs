//! What a signer may have taken for the last line of the canonical request, which speaks of the body.

use sha2::{Digest as _, Sha256};

use super::given::Given;
use super::variants::{Part, Step};
use crate::sigv4::{Body, Carrier, Family, lower_hex};

const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";

const LITERALS: [&str; 6] = [
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
    "",
];

/// All forms of the payload line.
pub(super) fn part(given: &Given<'_, '_>) -> Part {
    let mut part = Part::default();
    if let Some(line) = documented(given) {
        part.add(line, vec![]);
    }
    let header = given.header("x-amz-content-sha256");
    let lacks_header = given.family == Family::S3 && header.is_none() && given.carrier == Carrier::Header;
    let without = if lacks_header { " without x-amz-content-sha256" } else { "" };
    let step = |name: &str, condition: String| {
        let ending = if lacks_header { ", and S3 did not demand x-amz-content-sha256" } else { "" };
        vec![Step::new(format!("payload={name}{without}"), format!("{condition}{ending}"))]
    };
    let hash_of = |what: &str| format!("the last line were the hash of {what}");
    if let Body::Bytes(body) = given.body {
        part.add(sha256(body), step("sha256(body)", hash_of("the body as it arrived")));
    } else if let Body::Sha256(hash) = given.body {
        part.add(hex(&hash), step("sha256(body)", hash_of("the body as it arrived")));
    }
    part.add(sha256(b""), step("sha256(empty)", hash_of("an empty body: the body was not signed, or added")));
    part.add(UNSIGNED, step("UNSIGNED-PAYLOAD", "the last line were `UNSIGNED-PAYLOAD`".into()));
    if let Body::Bytes(body) = given.body {
        for (name, body) in changed_bodies(body) {
            part.add(sha256(&body), step(&format!("sha256({name})"), hash_of(&format!("the {name}"))));
        }
    }
    if let Some(value) = header {
        part.add(value, step("header", "the last line were the value of x-amz-content-sha256".into()));
        let (lower, upper) = (value.to_ascii_lowercase(), value.to_ascii_uppercase());
        part.add(lower, step("case", "x-amz-content-sha256 were in lower case".into()));
        part.add(upper, step("case", "x-amz-content-sha256 were in upper case".into()));
    }
    for literal in LITERALS {
        let name = if literal.is_empty() { "empty" } else { literal };
        part.add(literal, step(name, format!("the last line were `{literal}`")));
    }
    part
}

/// The line that AWS documents, if the request has what it takes.
fn documented(given: &Given<'_, '_>) -> Option<Vec<u8>> {
    let header = given.header("x-amz-content-sha256");
    let is_signed = given.is_signed(b"x-amz-content-sha256");
    match (given.family, given.carrier) {
        // A form has no canonical request.
        (_, Carrier::Form) => None,
        (_, Carrier::Query) if given.content_sha256.is_some() => given.content_sha256.map(<[u8]>::to_vec),
        (Family::S3, Carrier::Header) => header.map(<[u8]>::to_vec),
        (Family::S3, Carrier::Query) if is_signed => header.map(<[u8]>::to_vec),
        (Family::S3, Carrier::Query) => Some(UNSIGNED.to_vec()),
        (Family::Query, _) if is_signed => header.map(<[u8]>::to_vec),
        (Family::Query, carrier) => match (given.body, carrier) {
            (Body::Bytes(body), _) => Some(sha256(body)),
            (Body::Sha256(hash), _) => Some(hex(&hash)),
            (Body::Absent, Carrier::Query) => Some(sha256(b"")),
            (Body::Absent, Carrier::Header | Carrier::Form) => None,
        },
    }
}

/// What the body may have been when it was signed.
pub(super) fn changed_bodies(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut bodies = Vec::new();
    bodies.extend(unchunked(body).map(|plain| ("body without its aws-chunked framing", plain)));
    if let Some(shorter) = body.strip_suffix(b"\n") {
        bodies.push(("body without its last line end", shorter.strip_suffix(b"\r").unwrap_or(shorter).to_vec()));
    }
    bodies.push(("body and a line end", [body, b"\n"].concat()));
    bodies
}

/// The payload of a body in chunks, `size[;extension] CRLF data CRLF`, as far as the last one.
pub(super) fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    loop {
        let line = memchr::memmem::find(body, b"\r\n")?;
        let digits = body[..line].split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            return Some(plain);
        }
        let data = body.get(line + 2..)?.get(..size)?;
        plain.extend_from_slice(data);
        body = body[line + 2 + size..].strip_prefix(b"\r\n")?;
    }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    hex(&Sha256::digest(bytes).into())
}

fn hex(hash: &[u8; 32]) -> Vec<u8> {
    lower_hex(hash).to_vec()
}

//! The canonical path in the forms in which signers write it, and for the paths that a gateway may have changed.

use super::given::Given;
use super::variants::{Part, Step};
use crate::sigv4::{Family, Place, decode, put_encoded, put_reencoded};

/// What becomes of the segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    AsSent,
    /// Empty and dot segments removed.
    Normalized,
    /// Empty segments removed.
    Merged,
}

/// What becomes of the characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// Decoded once, encoded once.
    Reencoded,
    /// The same, with `%2F` taken for a slash.
    ReencodedSlashes,
    Raw,
    /// Encoded once more.
    Double,
    Decoded,
    /// `!'()*` left as they are, as JavaScript's encodeURIComponent does.
    Script,
    /// All of the sub-delimiters that RFC 3986 allows in a path left as they are.
    SubDelims,
    LowerHex,
    /// `~` encoded as well, as before RFC 3986: Python's quote up to 3.6, Java's URLEncoder.
    Tilde,
    /// The same, encoded once more: a library has decoded `%7E` after signing, as Python's requests does.
    TildeDouble,
    /// What is not UTF-8 replaced by U+FFFD.
    Lossy,
    /// A raw `+` taken for a blank, as in a query: npm's aws4 does so.
    PlusAsBlank,
}

type Style = (Shape, Coding);

const S3: Style = (Shape::AsSent, Coding::Reencoded);
const OTHERS: Style = (Shape::Normalized, Coding::Double);

/// In the order in which they are to be named where several give the same text.
const STYLES: [Style; 21] = [
    S3,
    OTHERS,
    (Shape::AsSent, Coding::ReencodedSlashes),
    (Shape::AsSent, Coding::Raw),
    (Shape::AsSent, Coding::Double),
    (Shape::Normalized, Coding::Reencoded),
    (Shape::Normalized, Coding::Raw),
    (Shape::Normalized, Coding::ReencodedSlashes),
    (Shape::Merged, Coding::Reencoded),
    (Shape::Merged, Coding::Raw),
    (Shape::Merged, Coding::Double),
    (Shape::AsSent, Coding::Script),
    (Shape::AsSent, Coding::SubDelims),
    (Shape::AsSent, Coding::LowerHex),
    (Shape::AsSent, Coding::Tilde),
    (Shape::AsSent, Coding::TildeDouble),
    (Shape::AsSent, Coding::Lossy),
    (Shape::AsSent, Coding::PlusAsBlank),
    (Shape::AsSent, Coding::Decoded),
    (Shape::Normalized, Coding::Decoded),
    (Shape::Normalized, Coding::Script),
];

/// All forms of the path. `others` are paths that may have been sent instead, each with what that would mean.
pub(super) fn part(path: &[u8], others: &[(Vec<u8>, Step)], family: Family) -> Part {
    let documented = if family == Family::S3 { S3 } else { OTHERS };
    let mut part = Part::with_base(write(path, documented));
    for style in STYLES {
        part.add(write(path, style), vec![step(style)]);
    }
    let condition = "the path were signed without the slash that it begins with";
    part.add(&write(path, documented)[1..], vec![Step::new("uri=no-leading-slash", condition)]);
    for (path, step) in others {
        part.add(write(path, documented), vec![step.clone()]);
    }
    for (path, other) in others {
        for style in [S3, OTHERS, (Shape::AsSent, Coding::Raw), (Shape::AsSent, Coding::Double)] {
            part.add(write(path, style), vec![other.clone(), step(style)]);
        }
    }
    part
}

/// More than the path in its place.
pub(super) fn add_targets(part: &mut Part, given: &Given<'_, '_>) {
    let (path, query) = given.path_and_query();
    let with_query = [path, b"?", query].concat();
    let target = if query.is_empty() { path } else { &with_query };
    part.add(target, vec![Step::new("uri=with-query", "the path were signed with the query behind it")]);
    for scheme in [&b"http://"[..], b"https://"] {
        let host = given.header("host").unwrap_or_default();
        for target in [path, target] {
            let step = Step::new("uri=absolute", "a whole URL were signed in place of the path");
            part.add([scheme, host, target].concat(), vec![step]);
        }
    }
}

fn step((shape, coding): Style) -> Step {
    let (shape_name, shape_text) = match shape {
        Shape::AsSent => ("", ""),
        Shape::Normalized => ("norm-", ", without dot segments and empty segments"),
        Shape::Merged => ("merged-", ", with slashes merged"),
    };
    let (coding_name, coding_text) = match coding {
        Coding::Reencoded => ("reenc", "decoded once and encoded once"),
        Coding::ReencodedSlashes => ("reenc", "decoded once, `%2F` into a slash, and encoded once"),
        Coding::Raw => ("raw", "as it was sent"),
        Coding::Double => ("raw-double", "as it was sent and encoded once more"),
        Coding::Decoded => ("decoded", "decoded"),
        Coding::Script => ("reenc-script", "encoded but for `!'()*`"),
        Coding::SubDelims => ("reenc-sub-delims", "encoded but for `!$&'()*+,;=:@`"),
        Coding::LowerHex => ("reenc-lower-hex", "encoded with lower-case hexadecimal digits"),
        Coding::Tilde => ("reenc-tilde", "encoded, `~` included"),
        Coding::TildeDouble => ("raw-double-tilde", "with `~` encoded, and encoded once more"),
        Coding::Lossy => ("reenc-lossy", "with U+FFFD for what is not UTF-8"),
        Coding::PlusAsBlank => ("reenc-plus-as-blank", "decoded once, `+` into a blank, and encoded once"),
    };
    Step::new(format!("uri={shape_name}{coding_name}"), format!("the path were signed {coding_text}{shape_text}"))
}

fn write(path: &[u8], (shape, coding): Style) -> Vec<u8> {
    if shape == Shape::AsSent {
        return encode(path, coding);
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" => {}
            b"." if shape == Shape::Normalized => {}
            b".." if shape == Shape::Normalized => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut text = Vec::new();
    for segment in &segments {
        text.push(b'/');
        text.extend(encode(segment, coding));
    }
    if segments.is_empty() || path.ends_with(b"/") {
        text.push(b'/');
    }
    text
}

fn encode(text: &[u8], coding: Coding) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len());
    match coding {
        Coding::Reencoded => put_reencoded(&mut encoded, text, Place::Path),
        Coding::Raw => encoded.extend_from_slice(text),
        Coding::Double => put_segments(&mut encoded, text),
        Coding::Decoded => encoded.extend_from_slice(&decode(text, Place::Path)),
        Coding::ReencodedSlashes => put_segments(&mut encoded, &decode(text, Place::Path)),
        Coding::Script => put_but(&mut encoded, &decode(text, Place::Path), b"/!'()*"),
        Coding::SubDelims => put_but(&mut encoded, &decode(text, Place::Path), b"/!$&'()*+,;=:@"),
        Coding::LowerHex => {
            put_reencoded(&mut encoded, text, Place::Path);
            lower_hex(&mut encoded);
        }
        Coding::Tilde => {
            put_reencoded(&mut encoded, text, Place::Path);
            encoded = replace(&encoded, b'~', b"%7E");
        }
        Coding::TildeDouble => put_segments(&mut encoded, &replace(text, b'~', b"%7E")),
        Coding::Lossy => put_segments(&mut encoded, String::from_utf8_lossy(&decode(text, Place::Path)).as_bytes()),
        Coding::PlusAsBlank => put_segments(&mut encoded, &decode(text, Place::Query)),
    }
    encoded
}

/// Encodes all but the slashes.
fn put_segments(encoded: &mut Vec<u8>, text: &[u8]) {
    put_but(encoded, text, b"/");
}

/// Encodes all but unreserved characters and those of `kept`.
pub(super) fn put_but(encoded: &mut Vec<u8>, text: &[u8], kept: &[u8]) {
    for byte in text {
        if kept.contains(byte) {
            encoded.push(*byte);
        } else {
            put_encoded(encoded, &[*byte]);
        }
    }
}

/// Puts a text in the place of a byte.
pub(super) fn replace(text: &[u8], byte: u8, by: &[u8]) -> Vec<u8> {
    let pieces = text.split(|other| *other == byte);
    pieces.collect::<Vec<_>>().join(by)
}

/// Makes the digits of every escape lower case.
pub(super) fn lower_hex(text: &mut [u8]) {
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'%' && at + 2 < text.len() {
            text[at + 1..at + 3].make_ascii_lowercase();
            at += 2;
        }
        at += 1;
    }
}

//! The percent-encoding of canonical requests: `A–Z a–z 0–9 - . _ ~` stay, every other byte is `%XX` in upper case.
//!
//! Source: "Create a signed AWS API request", `UriEncode()`.

use std::borrow::Cow;

use super::sink::Sink;

/// The part of a target that a piece of text stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/` separates, `+` is a plus.
    Path,
    /// `+` is a blank, as RGW, SeaweedFS and Swift read it and as many clients sign it.
    Query,
}

/// What a byte of a request target is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Unreserved,
    Slash,
    Plus,
    Percent,
    /// Stands for itself, and is encoded in the canonical form.
    Reserved,
    /// NUL, other control characters, and `#`.
    Forbidden,
}

pub(super) fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

static CLASSES: [Class; 256] = {
    let mut table = [Class::Reserved; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Class::Unreserved,
            b'/' => Class::Slash,
            b'+' => Class::Plus,
            b'%' => Class::Percent,
            0..=0x1f | 0x7f | b'#' => Class::Forbidden,
            _ => Class::Reserved,
        };
        byte += 1;
    }
    table
};

/// The byte that `%XX` at the start of `text` stands for.
pub(super) fn escaped_byte(text: &[u8]) -> Option<u8> {
    match text {
        [b'%', high, low, ..] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
        _ => None,
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// `text` decoded once. Its escapes must be whole, as `Target` has checked; others stay as they are.
pub(crate) fn decode(text: &[u8], place: Place) -> Cow<'_, [u8]> {
    let plain = |byte: &u8| !matches!((class(*byte), place), (Class::Percent, _) | (Class::Plus, Place::Query));
    if text.iter().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(Decoded { text, place }.map(|(byte, _)| byte).collect())
}

/// Writes `text` decoded once and encoded once: the canonical form of S3 paths, and of every query.
pub(crate) fn put_reencoded(sink: &mut impl Sink, text: &[u8], place: Place) {
    for (byte, raw) in (Decoded { text, place }) {
        match class(byte) {
            Class::Unreserved => sink.put(&[byte]),
            Class::Slash if raw && place == Place::Path => sink.put(b"/"),
            _ => sink.put(&escape(byte)),
        }
    }
}

/// Writes `text` encoded once more as it is: the canonical form of paths outside S3.
pub(crate) fn put_encoded(sink: &mut impl Sink, text: &[u8]) {
    for byte in text {
        match class(*byte) {
            Class::Unreserved => sink.put(&[*byte]),
            _ => sink.put(&escape(*byte)),
        }
    }
}

/// The bytes that [`put_reencoded`] would write for a part of the query, for sorting without writing.
pub(super) fn reencoded_bytes(text: &[u8]) -> impl Iterator<Item = u8> {
    Decoded { text, place: Place::Query }.flat_map(|(byte, _)| {
        let escape = escape(byte);
        let kept = class(byte) == Class::Unreserved;
        let (plain, escaped) = if kept { (Some(byte), None) } else { (None, Some(escape)) };
        plain.into_iter().chain(escaped.into_iter().flatten())
    })
}

fn escape(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// The bytes that a text stands for, each with whether it stood there as itself.
struct Decoded<'a> {
    text: &'a [u8],
    place: Place,
}

impl Iterator for Decoded<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let first = *self.text.first()?;
        let (item, length) = match (class(first), escaped_byte(self.text)) {
            (Class::Percent, Some(byte)) => ((byte, false), 3),
            (Class::Plus, _) if self.place == Place::Query => ((b' ', false), 1),
            _ => ((first, true), 1),
        };
        self.text = &self.text[length..];
        Some(item)
    }
}

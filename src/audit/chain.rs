//! The chain of entries. Pure: bytes in, bytes out.
//!
//! An entry is one line of JSON:
//!
//! ```text
//! {"auditLog":"<32 hex>","auditNumber":7,"auditPrevious":"<64 hex>",<fields of the event>,"auditHash":"<64 hex>"}
//! ```
//!
//! `auditHash` is the SHA-256 of the line's bytes before `,"auditHash"`; `auditPrevious` is that of the entry before, 64 zeros in
//! entry 1. Nobody who checks it has to read JSON.

use base16ct::lower::encode_string as to_hex;
use sha2::{Digest, Sha256};

/// The hash of an entry.
pub type Hash = [u8; 32];
/// What tells one log from another: 16 random bytes.
pub type LogId = [u8; 16];

/// How every entry begins.
pub(super) const BEGINS: &[u8] = b"{\"auditLog\":\"";
const NUMBER: &[u8] = b"\",\"auditNumber\":";
const PREVIOUS: &[u8] = b",\"auditPrevious\":\"";
const EVENT: &[u8] = b"\",";
const HASH: &[u8] = b",\"auditHash\":\"";
const END: &[u8] = b"\"}";

/// How far a log goes: the number and the hash of its newest entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// 0 before the first entry.
    pub number: u64,
    /// Zeros before the first entry.
    pub hash: Hash,
}

impl Link {
    /// Before the first entry.
    pub const START: Self = Self { number: 0, hash: [0; 32] };
}

/// `NUMBER:HASH`, as checkpoints are told.
impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.number, to_hex(&self.hash))
    }
}

impl std::str::FromStr for Link {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').and_then(|(number, hash)| {
            Some(Self { number: read_number(number.as_bytes())?, hash: read_hex(hash.as_bytes())? })
        });
        parts.ok_or("it takes a number, a colon, and 64 hexadecimal digits")
    }
}

/// Appends an event, a JSON object with at least one field, to a log: the line without its line break, and how far the log goes
/// with it.
pub fn seal(log: &LogId, after: &Link, event: &[u8]) -> (Vec<u8>, Link) {
    let number = after.number + 1;
    let fields = event.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or_default();
    let (log, previous, digits) = (to_hex(log), to_hex(&after.hash), number.to_string());
    let head = [BEGINS, log.as_bytes(), NUMBER, digits.as_bytes(), PREVIOUS, previous.as_bytes(), EVENT];
    let mut line = [head.concat().as_slice(), fields].concat();
    let hash: Hash = Sha256::digest(&line).into();
    line.extend([HASH, to_hex(&hash).as_bytes(), END].concat());
    (line, Link { number, hash })
}

/// An entry whose hash is right for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The log it was written to.
    pub log: LogId,
    /// Its number and hash.
    pub link: Link,
    /// The hash of the entry before it.
    pub previous: Hash,
    /// The fields of its event: JSON without the braces around it.
    pub fields: &'a [u8],
}

/// Why a line is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAnEntry {
    /// It has not the form of one.
    Form,
    /// It has, and its hash is another than that of its bytes.
    Hash {
        /// The number that it bears.
        number: u64,
    },
}

impl<'a> Entry<'a> {
    /// Reads a line without its line break.
    pub fn read(line: &'a [u8]) -> Result<Self, NotAnEntry> {
        let (entry, covered) = Self::parts(line).ok_or(NotAnEntry::Form)?;
        if entry.link.hash != <Hash>::from(Sha256::digest(covered)) {
            return Err(NotAnEntry::Hash { number: entry.link.number });
        }
        Ok(entry)
    }

    /// The entry as it stands, and the bytes that its hash is to cover.
    fn parts(line: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let tail = HASH.len() + 64 + END.len();
        let (covered, tail) = line.split_at(line.len().checked_sub(tail)?);
        let hash = read_hex(tail.strip_prefix(HASH)?.strip_suffix(END)?)?;
        let (log, rest) = covered.strip_prefix(BEGINS)?.split_at_checked(32)?;
        let rest = rest.strip_prefix(NUMBER)?;
        let (number, rest) = rest.split_at(rest.iter().position(|b| *b == b',')?);
        let (previous, rest) = rest.strip_prefix(PREVIOUS)?.split_at_checked(64)?;
        let fields = rest.strip_prefix(EVENT)?;
        let link = Link { number: read_number(number)?, hash };
        Some((Self { log: read_hex(log)?, link, previous: read_hex(previous)?, fields }, covered))
    }
}

/// In one spelling only: no sign, no leading zero; from 1.
fn read_number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text)
}

/// Lower-case hexadecimal.
fn read_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let read = base16ct::lower::decode(text, &mut bytes).ok()?;
    (read.len() == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &[u8] = br#"{"eventName":"CreateUser"}"#;

    #[test]
    fn an_entry_is_what_the_page_says() {
        let (line, link) = seal(&[0xab; 16], &Link::START, EVENT);
        let covered = format!(
            r#"{{"auditLog":"{}","auditNumber":1,"auditPrevious":"{}","eventName":"CreateUser""#,
            "ab".repeat(16),
            "0".repeat(64)
        );
        let hash = to_hex(&Sha256::digest(&covered));
        assert_eq!(String::from_utf8(line.clone()).expect("text"), format!("{covered},\"auditHash\":\"{hash}\"}}"));
        let entry = Entry::read(&line).expect("an entry");
        assert_eq!((entry.log, entry.link, entry.previous), ([0xab; 16], link, [0; 32]));
        assert_eq!(entry.fields, br#""eventName":"CreateUser""#);
        assert!(serde_json::from_slice::<serde_json::Value>(&line).expect("JSON")["eventName"] == "CreateUser");
        assert_eq!(link.to_string().parse(), Ok(link));
    }

    #[test]
    fn no_other_bytes_are_the_entry() {
        let (line, _) = seal(&[1; 16], &Link { number: 41, hash: [7; 32] }, EVENT);
        for place in 0..line.len() {
            let mut other = line.clone();
            other[place] ^= 1;
            assert!(Entry::read(&other).is_err(), "byte {place}");
            assert!(Entry::read(&line[..place]).is_err(), "cut at {place}");
        }
        assert!(Entry::read(&[line.as_slice(), b" "].concat()).is_err());
        assert!(Entry::read(&line).is_ok(), "the control");
    }
}

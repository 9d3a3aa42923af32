//! The request target, split and checked: path, query, and the authority of an absolute form.

use memchr::{memchr, memchr2, memmem};

use super::ascii::{Table, run_length, table};
use super::encode::{Class, Place, class, decode, escaped_byte, reencoded_bytes};
use super::scan::{Byte, UnlikePath, find};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Why a request target is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TargetFault {
    /// Neither a path nor an absolute form: `*`, or the authority form of CONNECT.
    NotAPath,
    /// A percent sign without two hexadecimal digits after it; `true` if it stands in the query.
    BrokenEscape {
        /// Whether it stands in the query.
        in_query: bool,
    },
    /// `%00`.
    Nul,
    /// A control character or `#` as such.
    Forbidden,
    /// Dot segments lead above the root (services other than S3).
    AboveRoot,
    /// The authority of an absolute form is not what the Host header says.
    AuthorityIsNotHost,
}

/// A request target whose characters and escapes are sound.
#[derive(Clone, Debug)]
pub(super) struct Target<'a> {
    /// The authority of an absolute form, userinfo included.
    pub authority: Option<&'a [u8]>,
    /// Starts with `/`.
    pub path: Text<'a>,
    /// In the order received; pieces without a character between two `&` are no parameters.
    pub parameters: Vec<Parameter<'a>>,
}

/// Text of a target as received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub raw: &'a [u8],
    /// Whether decoding and encoding it gives the same text again.
    pub is_canonical: bool,
    /// Whether it has nothing to decode or encode.
    pub is_plain: bool,
}

/// `name=value` of a query; the value is empty where there was no `=`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter<'a> {
    pub name: Text<'a>,
    pub value: Text<'a>,
}

impl<'a> Target<'a> {
    pub fn parse(target: &'a [u8]) -> Result<Self, TargetFault> {
        let (authority, target) = split_authority(target);
        let (path, query) = match find(target, Byte(b'?')) {
            Some(mark) => (&target[..mark], &target[mark + 1..]),
            None => (target, &[][..]),
        };
        let path = match (path, authority) {
            ([b'/', ..], _) => Text::check(path, Place::Path)?,
            ([], Some(_)) => Text::check(b"/", Place::Path)?,
            _ => return Err(TargetFault::NotAPath),
        };
        Ok(Self { authority, path, parameters: parse_query(query)? })
    }
}

impl Target<'_> {
    /// The same without the parameters of certain names.
    pub fn without(&self, is_named: impl Fn(&[u8]) -> bool) -> Self {
        let mut target = self.clone();
        target.parameters.retain(|parameter| !is_named(&parameter.name.decoded(Place::Query)));
        target
    }
}

/// The authority of `http://authority/…`, and what follows it.
pub(crate) fn split_authority(target: &[u8]) -> (Option<&[u8]>, &[u8]) {
    if target.starts_with(b"/") {
        return (None, target);
    }
    let Some(scheme_end) = memmem::find(target.get(..8).unwrap_or(target), b"://") else {
        return (None, target);
    };
    if !matches!(target[..scheme_end].to_ascii_lowercase().as_slice(), b"http" | b"https") {
        return (None, target);
    }
    let rest = &target[scheme_end + 3..];
    let (authority, rest) = rest.split_at(memchr2(b'/', b'?', rest).unwrap_or(rest.len()));
    (Some(authority), rest)
}

fn parse_query(query: &[u8]) -> Result<Vec<Parameter<'_>>, TargetFault> {
    let mut parameters = Vec::new();
    let mut rest = query;
    while !rest.is_empty() {
        let end = memchr(b'&', rest).unwrap_or(rest.len());
        let piece = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        if piece.is_empty() {
            continue;
        }
        let (name, value) = match memchr(b'=', piece) {
            Some(mark) => (&piece[..mark], &piece[mark + 1..]),
            None => (piece, &[][..]),
        };
        parameters.push(Parameter { name: Text::check(name, Place::Query)?, value: Text::check(value, Place::Query)? });
    }
    Ok(parameters)
}

impl<'a> Text<'a> {
    /// One pass over the characters: are they allowed, are the escapes whole, and is anything left to encode?
    fn check(raw: &'a [u8], place: Place) -> Result<Self, TargetFault> {
        let mut text = Self { raw, is_canonical: true, is_plain: true };
        let mut at = match place {
            Place::Path => find(raw, UnlikePath).unwrap_or(raw.len()),
            Place::Query => run_length(raw, &UNRESERVED),
        };
        while let Some(byte) = raw.get(at) {
            at += 1;
            match class(*byte) {
                Class::Unreserved => {}
                Class::Slash if place == Place::Path => {}
                Class::Slash | Class::Plus | Class::Reserved => (text.is_canonical, text.is_plain) = (false, false),
                Class::Percent => {
                    let escape = &raw[at - 1..];
                    let broken = TargetFault::BrokenEscape { in_query: place == Place::Query };
                    let byte = escaped_byte(escape).ok_or(broken)?;
                    if byte == 0 {
                        return Err(TargetFault::Nul);
                    }
                    let needless = class(byte) == Class::Unreserved;
                    text.is_canonical &= !needless && !escape[1..3].iter().any(u8::is_ascii_lowercase);
                    text.is_plain = false;
                    at += 2;
                }
                Class::Forbidden => return Err(TargetFault::Forbidden),
            }
        }
        Ok(text)
    }

    /// The text decoded once.
    pub fn decoded(&self, place: Place) -> Cow<'a, [u8]> {
        if self.is_plain { Cow::Borrowed(self.raw) } else { decode(self.raw, place) }
    }

    /// Compares two parts of a query by their canonical bytes.
    fn compare(&self, other: &Self) -> Ordering {
        if self.is_canonical && other.is_canonical {
            self.raw.cmp(other.raw)
        } else {
            reencoded_bytes(self.raw).cmp(reencoded_bytes(other.raw))
        }
    }
}

impl Parameter<'_> {
    /// The order of the canonical query: by encoded name, then by encoded value.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.name.compare(&other.name).then_with(|| self.value.compare(&other.value))
    }
}

static UNRESERVED: Table = table(b"-._~");

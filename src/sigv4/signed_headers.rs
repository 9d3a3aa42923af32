//! The list of signed headers: names in lower case, in the order of their bytes, each once.

use memchr::{memchr, memchr2};

use super::authorization::Carrier;
use super::head::is_token;
use super::refusal::{Refusal, SignedHeadersFault, shown};

/// The list of signed headers of one request.
#[derive(Clone, Copy, Debug)]
pub struct SignedHeaders<'a> {
    /// Names with `;` between them, or `%3B`.
    raw: &'a [u8],
}

impl<'a> SignedHeaders<'a> {
    /// Checks names and order. In a query the semicolons may be escaped; no name has a character that needs an escape.
    pub(super) fn read(raw: &'a [u8], carrier: Carrier) -> Result<Self, Refusal> {
        let list = Self { raw };
        let bad = |fault| Err(Refusal::MalformedSignedHeaders(fault));
        if carrier == Carrier::Header && memchr(b'%', raw).is_some() {
            return bad(SignedHeadersFault::NotAName(shown(raw)));
        }
        let mut previous: &[u8] = b"";
        for name in list.iter() {
            if !is_token(name) || name.iter().any(|b| b.is_ascii_uppercase() || *b == b'%') {
                return bad(SignedHeadersFault::NotAName(shown(name)));
            }
            if name <= previous {
                return bad(SignedHeadersFault::NotSorted);
            }
            previous = name;
        }
        Ok(list)
    }

    /// The names, in the order listed.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = Some(self.raw);
        std::iter::from_fn(move || {
            let text = rest?;
            let end = next_separator(text);
            let name = &text[..end.unwrap_or(text.len())];
            rest = end.map(|end| if text[end] == b';' { &text[end + 1..] } else { &text[end + 3..] });
            Some(name)
        })
    }
}

fn next_separator(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = memchr2(b';', b'%', &text[from..]) {
        let at = from + found;
        if matches!(&text[at..], [b';', ..] | [b'%', b'3', b'B' | b'b', ..]) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

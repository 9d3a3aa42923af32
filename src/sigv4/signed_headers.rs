//! The list of signed headers: names in lower case, in the order of their bytes, each once.

use std::ops::Range;

use memchr::{memchr, memchr2};

/// The list of signed headers of one request, names with `;` between them.
#[derive(Clone, Copy, Debug)]
pub struct SignedHeaders<'a> {
    raw: &'a [u8],
    /// Whether the list stands in a query with `%3B` for `;`. No name has a character that needs an escape.
    is_escaped: bool,
}

impl<'a> SignedHeaders<'a> {
    /// The list as it stands in an Authorization header.
    pub(super) fn plain(raw: &'a [u8]) -> Self {
        Self { raw, is_escaped: false }
    }

    /// The list as it stands in a query.
    pub(super) fn in_query(raw: &'a [u8]) -> Self {
        Self { raw, is_escaped: memchr(b'%', raw).is_some() }
    }

    /// The names, in the order listed.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let raw = self.raw;
        self.spans().map(move |span| &raw[span])
    }

    /// Where the names stand.
    pub(super) fn spans(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let Self { raw, is_escaped } = *self;
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let start = next?;
            let rest = &raw[start..];
            let separator = if is_escaped { next_separator(rest) } else { memchr(b';', rest).map(|at| (at, 1)) };
            next = separator.map(|(at, length)| start + at + length);
            Some(start..separator.map_or(raw.len(), |(at, _)| start + at))
        })
    }

    /// The name that stands there.
    pub(super) fn name(&self, span: Range<usize>) -> &'a [u8] {
        &self.raw[span]
    }

    /// The list with `;` between the names, if it stands so in the request.
    pub(super) fn as_plain(&self) -> Option<&'a [u8]> {
        (!self.is_escaped).then_some(self.raw)
    }
}

/// Where the next separator is, and how long.
fn next_separator(text: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = memchr2(b';', b'%', &text[from..]) {
        let at = from + found;
        match &text[at..] {
            [b';', ..] => return Some((at, 1)),
            [b'%', b'3', b'B' | b'b', ..] => return Some((at, 3)),
            _ => from = at + 1,
        }
    }
    None
}

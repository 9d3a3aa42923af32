//! The list of signed headers: names in lower case, in the order of their bytes, each once.

use memchr::{memchr, memchr2};

use super::scan::{Byte, Places, places};

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

    /// No headers at all, as with a form.
    pub(super) fn none() -> Self {
        Self::plain(b"")
    }

    /// The names, in the order listed.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Self { raw, is_escaped } = *self;
        let semicolons = places(if is_escaped { b"" } else { raw }, Byte(b';'));
        Names { raw, is_escaped, semicolons, next: (!raw.is_empty()).then_some(0) }
    }

    /// The list with `;` between the names, if it stands so in the request.
    pub(super) fn as_plain(&self) -> Option<&'a [u8]> {
        (!self.is_escaped).then_some(self.raw)
    }
}

/// The names of a list, in order.
struct Names<'a> {
    raw: &'a [u8],
    is_escaped: bool,
    semicolons: Places<'a, Byte>,
    /// Where the next name starts.
    next: Option<usize>,
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.next?;
        let end = match self.is_escaped {
            true => next_separator(self.raw, start),
            false => self.semicolons.next().map(|at| (at, at + 1)),
        };
        self.next = end.map(|(_, next)| next);
        Some(&self.raw[start..end.map_or(self.raw.len(), |(end, _)| end)])
    }
}

/// Where the next separator is, and what comes after it.
fn next_separator(list: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut from = from;
    while let Some(found) = memchr2(b';', b'%', &list[from..]) {
        let at = from + found;
        match &list[at..] {
            [b';', ..] => return Some((at, at + 1)),
            [b'%', b'3', b'B' | b'b', ..] => return Some((at, at + 3)),
            _ => from = at + 1,
        }
    }
    None
}

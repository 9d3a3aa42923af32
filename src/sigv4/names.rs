//! Headers found by their names in lower case.

use super::ascii::is_lower_case_of;
use super::head::{Header, MAX_HEADERS};

/// A small hash table over the headers of one request, so that a hundred names in a hundred headers are found as quickly
/// as six in nine.
pub(super) struct NameIndex {
    /// The first header of each bucket; counted from 1, 0 for none.
    first: [u8; Self::BUCKETS],
    /// The header after each header in its bucket, likewise.
    next: [u8; MAX_HEADERS],
}

impl NameIndex {
    const BUCKETS: usize = 64;

    #[inline]
    pub fn new(headers: &[Header<'_>]) -> Self {
        let mut index = Self { first: [0; Self::BUCKETS], next: [0; MAX_HEADERS] };
        // From the last to the first, so that a bucket is in arrival order.
        for (place, header) in headers.iter().enumerate().rev() {
            let first = &mut index.first[Self::bucket(header.name)];
            index.next[place] = *first;
            *first = place as u8 + 1;
        }
        index
    }

    /// By the length, and by what the names of AWS differ in most, whatever their case: the last letter.
    fn bucket(name: &[u8]) -> usize {
        let last = name.last().map_or(0, |byte| usize::from(byte & 0x1f));
        (name.len() * 5 + last) % Self::BUCKETS
    }

    /// The place of the first header whose name, in lower case, this is. A name with an upper-case letter has none.
    #[inline]
    pub fn first(&self, headers: &[Header<'_>], name: &[u8]) -> Option<usize> {
        self.search(headers, name, self.first[Self::bucket(name)])
    }

    /// The place of the next header of that name after this one.
    #[inline]
    pub fn next(&self, headers: &[Header<'_>], name: &[u8], place: usize) -> Option<usize> {
        self.search(headers, name, self.next[place])
    }

    #[inline]
    fn search(&self, headers: &[Header<'_>], name: &[u8], mut next: u8) -> Option<usize> {
        while let Some(place) = next.checked_sub(1).map(usize::from) {
            if is_lower_case_of(name, headers[place].name) {
                return Some(place);
            }
            next = self.next[place];
        }
        None
    }
}

/// Whether two names are the same, case and all: by words, of which the last may overlap the one before.
#[inline]
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        4..8 => has_same_ends::<4>(a, b),
        8..16 => has_same_ends::<8>(a, b),
        16..=32 => has_same_ends::<16>(a, b),
        _ => a == b,
    }
}

/// Of names of one length, `N` to `2 * N` bytes.
#[inline]
fn has_same_ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    (a.first_chunk::<N>() == b.first_chunk()) & (a.last_chunk::<N>() == b.last_chunk())
}

/// Whether a name comes after another in the order of the bytes. Its first byte or its first eight decide nearly always.
pub(super) fn is_after(name: &[u8], previous: &[u8]) -> bool {
    match (name.first(), previous.first()) {
        (Some(a), Some(b)) if a != b => return a > b,
        _ => {}
    }
    match (name.first_chunk(), previous.first_chunk()) {
        (Some(a), Some(b)) if a != b => u64::from_be_bytes(*a) > u64::from_be_bytes(*b),
        _ => name > previous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every length, with each byte changed in its turn, and in its case alone.
    #[test]
    fn names_are_the_same_only_whole() {
        for length in 0..70 {
            let name: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
            assert!(is_same(&name, &name.clone()), "{length}");
            assert!(!is_same(&name, &[&name[..], b"x"].concat()), "{length}");
            for place in 0..length {
                for bits in [1, 0x20] {
                    let mut other = name.clone();
                    other[place] ^= bits;
                    assert!(!is_same(&name, &other), "{place} of {length}");
                }
            }
        }
    }

    /// As the order of slices has it, whichever way decides.
    #[test]
    fn names_are_in_the_order_of_their_bytes() {
        let names: Vec<Vec<u8>> =
            [&b""[..], b"a", b"b", b"ab", b"abcdefgh", b"abcdefghi", b"abcdefgz", b"abcdefg\xff", b"zz"]
                .iter()
                .map(|name| name.to_vec())
                .collect();
        for (name, previous) in names.iter().flat_map(|name| names.iter().map(move |previous| (name, previous))) {
            assert_eq!(is_after(name, previous), name > previous, "{name:?} {previous:?}");
        }
    }
}

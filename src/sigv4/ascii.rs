//! Classes of ASCII characters, and names compared without regard to case.
//!
//! What every verification does to every byte of a head is done to sixteen at a time.

use wide::u8x16;

/// For each byte, whether it belongs to a class of characters.
pub(super) type Table = [bool; 256];

/// The table of letters, digits, and `marks`.
pub(super) const fn table(marks: &[u8]) -> Table {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
}

/// How many bytes at the start of `text` are in the table.
pub(super) fn run_length(text: &[u8], table: &Table) -> usize {
    text.iter().position(|byte| !table[usize::from(*byte)]).unwrap_or(text.len())
}

/// Whether `text` is made of the table's characters alone.
pub(super) fn is_all(text: &[u8], table: &Table) -> bool {
    run_length(text, table) == text.len()
}

/// The first byte at or after `from` that is below 0x0e: NUL, a tab, or part of a line break, among others.
#[inline]
pub(super) fn find_control(text: &[u8], from: usize) -> Option<usize> {
    const HIGHEST: u8 = 0x0d;
    find(text, from, |block| at_most(block, HIGHEST), |byte| byte <= HIGHEST)
}

/// The first such byte at or after `from`.
#[inline]
pub(super) fn find_byte(text: &[u8], from: usize, wanted: u8) -> Option<usize> {
    find(text, from, |block| block.simd_eq(u8x16::splat(wanted)), |byte| byte == wanted)
}

/// The first blank or control character at or after `from`.
#[inline]
pub(super) fn find_blank(text: &[u8], from: usize) -> Option<usize> {
    find(text, from, |block| at_most(block, b' '), |byte| byte <= b' ')
}

/// The first byte that is no letter, digit or hyphen: where nearly every name of a header ends.
#[inline]
pub(super) fn find_end_of_name(text: &[u8]) -> Option<usize> {
    let others = |block: u8x16| {
        let letters = at_most((block | u8x16::splat(CASE)) - u8x16::splat(b'a'), b'z' - b'a');
        let digits = at_most(block - u8x16::splat(b'0'), 9);
        !(letters | digits | block.simd_eq(u8x16::splat(b'-')))
    };
    find(text, 0, others, |byte| !byte.is_ascii_alphanumeric() && byte != b'-')
}

/// The first byte that is neither unreserved (RFC 3986, 2.3) nor a slash: nothing before it has to be encoded in a path.
#[inline]
pub(super) fn find_unlike_path(text: &[u8]) -> Option<usize> {
    let others = |block: u8x16| {
        let letters = at_most((block | u8x16::splat(CASE)) - u8x16::splat(b'a'), b'z' - b'a');
        let digits = at_most(block - u8x16::splat(b'-'), b'9' - b'-');
        !(letters | digits | block.simd_eq(u8x16::splat(b'_')) | block.simd_eq(u8x16::splat(b'~')))
    };
    find(text, 0, others, |byte| !matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'-'..=b'9' | b'_' | b'~'))
}

/// The places of a byte, in order. Sixty-four bytes are looked at together.
#[inline]
pub(super) fn places_of(text: &[u8], wanted: u8) -> Places<'_> {
    Places { text, wanted, from: 0, next: 0, found: 0 }
}

/// What [`places_of`] gives.
pub(super) struct Places<'t> {
    text: &'t [u8],
    wanted: u8,
    /// Where the bytes begin that were looked at last.
    from: usize,
    /// Where those begin that are looked at next.
    next: usize,
    /// A bit for each of their bytes that is wanted and was not given yet.
    found: u64,
}

impl Iterator for Places<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let rest = self.text.get(self.next..).filter(|rest| !rest.is_empty())?;
            self.found = bits_of(&rest[..rest.len().min(64)], self.wanted);
            (self.from, self.next) = (self.next, self.next + 64);
        }
        let place = self.from + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(place)
    }
}

/// A bit for each of at most 64 bytes.
#[inline]
fn bits_of(text: &[u8], wanted: u8) -> u64 {
    let in_block = |block: &[u8; BLOCK]| u64::from(u8x16::new(*block).simd_eq(u8x16::splat(wanted)).to_bitmask());
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let whole = blocks.iter().enumerate().fold(0, |bits, (index, block)| bits | in_block(block) << (index * BLOCK));
    match text.last_chunk() {
        // It may overlap the block before.
        Some(last) => whole | in_block(last) << (text.len() - BLOCK),
        None => rest.iter().rev().fold(0, |bits, byte| bits << 1 | u64::from(*byte == wanted)),
    }
}

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// What tells a small letter from a capital one.
const CASE: u8 = b'a' - b'A';

/// Looks at blocks, of which the last may overlap the one before, or at single bytes where there is no block.
#[inline]
fn find(text: &[u8], from: usize, in_block: impl Fn(u8x16) -> u8x16, is: impl Fn(u8) -> bool) -> Option<usize> {
    let blocks = text.get(from..)?.as_chunks::<BLOCK>().0;
    for (index, block) in blocks.iter().enumerate() {
        let found = in_block(u8x16::new(*block)).to_bitmask();
        if found != 0 {
            return Some(from + index * BLOCK + found.trailing_zeros() as usize);
        }
    }
    let at = from + blocks.len() * BLOCK;
    let Some(block) = text.last_chunk() else {
        return text.get(from..)?.iter().position(|byte| is(*byte)).map(|found| from + found);
    };
    let start = text.len() - BLOCK;
    let found = in_block(u8x16::new(*block)).to_bitmask() >> (at - start).min(BLOCK);
    (found != 0).then(|| at + found.trailing_zeros() as usize)
}

/// Which bytes of a block are at most so high.
#[inline]
fn at_most(block: u8x16, highest: u8) -> u8x16 {
    block.min(u8x16::splat(highest)).simd_eq(block)
}

/// Whether `lower` is `text` in lower case: by words, of which the last may overlap the one before.
#[inline]
pub(super) fn is_lower_case_of(lower: &[u8], text: &[u8]) -> bool {
    if lower.len() != text.len() {
        return false;
    }
    match lower.len() {
        0..8 => is_short_lower_case_of(lower, text),
        8..=16 => has_lower_ends_of::<8>(lower, text),
        17..=32 => has_lower_ends_of::<16>(lower, text),
        _ => lower.iter().zip(text).all(|(a, b)| *a == b.to_ascii_lowercase()),
    }
}

/// Of texts of one length, `N` to `2 * N` bytes.
#[inline]
fn has_lower_ends_of<const N: usize>(lower: &[u8], text: &[u8]) -> bool {
    let is_lower = |lower: &[u8; N], text: &[u8; N]| {
        let words = lower.as_chunks().0.iter().zip(text.as_chunks().0);
        words.fold(true, |all, (a, b)| all & (u64::from_le_bytes(*a) == to_lower(u64::from_le_bytes(*b))))
    };
    match (lower.first_chunk(), text.first_chunk(), lower.last_chunk(), text.last_chunk()) {
        (Some(first), Some(text_first), Some(last), Some(text_last)) => {
            is_lower(first, text_first) & is_lower(last, text_last)
        }
        _ => false,
    }
}

/// The same for up to seven bytes, as one word of two halves that may overlap.
fn is_short_lower_case_of(lower: &[u8], text: &[u8]) -> bool {
    let word = |text: &[u8]| match (text.first_chunk::<4>(), text.last_chunk::<4>(), text) {
        (Some(start), Some(end), _) => {
            u64::from(u32::from_le_bytes(*start)) << 32 | u64::from(u32::from_le_bytes(*end))
        }
        (_, _, [first, .., last]) => u64::from(*first) << 16 | u64::from(text[text.len() / 2]) << 8 | u64::from(*last),
        (_, _, rest) => rest.first().map_or(0, |byte| u64::from(*byte)),
    };
    word(lower) == to_lower(word(text))
}

/// Eight ASCII characters in lower case; other bytes stay as they are.
pub(super) const fn to_lower(word: u64) -> u64 {
    let low_bits = word & !HIGH;
    let from_a = low_bits + ONES * (0x80 - b'A' as u64);
    let beyond_z = low_bits + ONES * (0x7f - b'Z' as u64);
    word | (from_a & !beyond_z & !word & HIGH) >> 2
}

const ONES: u64 = u64::MAX / 0xff;
const HIGH: u64 = ONES * 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place of a text of ordinary ones.
    fn each_byte_at_each_place(length: usize, mut check: impl FnMut(&[u8], usize, u8)) {
        for place in 0..length {
            for byte in 0..=u8::MAX {
                let mut text = vec![b'x'; length];
                text[place] = byte;
                check(&text, place, byte);
            }
        }
    }

    #[test]
    fn words_find_what_bytes_find() {
        each_byte_at_each_place(75, |text, place, byte| {
            assert_eq!(find_byte(text, 0, byte), Some(if byte == b'x' { 0 } else { place }), "{byte} at {place}");
            assert_eq!(find_control(text, 0), (byte < 0x0e).then_some(place), "{byte} at {place}");
            let plain = byte.is_ascii_alphanumeric() || byte == b'-';
            assert_eq!(find_end_of_name(text), (!plain).then_some(place), "{byte} at {place}");
            assert_eq!(find_blank(text, 0), (byte <= b' ').then_some(place), "{byte} at {place}");
            let unlike_path = !(byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte));
            assert_eq!(find_unlike_path(text), unlike_path.then_some(place), "{byte} at {place}");
            let places: Vec<_> = places_of(text, byte).collect();
            let all: Vec<_> = (0..text.len()).collect();
            assert_eq!(places, if byte == b'x' { all } else { vec![place] }, "{byte} at {place}");
            let mut lower = text.to_ascii_lowercase();
            assert!(is_lower_case_of(&lower, text), "{byte} at {place}");
            lower[place] ^= 1;
            assert!(!is_lower_case_of(&lower, text), "{byte} at {place}");
        });
    }

    #[test]
    fn short_names_are_compared_whole() {
        for length in 0..8 {
            let upper = b"ABCDEFGH"[..length].to_vec();
            assert!(is_lower_case_of(&upper.to_ascii_lowercase(), &upper));
            each_byte_at_each_place(length, |text, place, byte| {
                let mut lower = vec![b'x'; length];
                assert_eq!(is_lower_case_of(&lower, text), byte | 0x20 == b'x', "{byte} at {place} of {length}");
                lower[place] = byte.to_ascii_lowercase();
                assert!(is_lower_case_of(&lower, text), "{byte} at {place} of {length}");
            });
        }
    }

    #[test]
    fn the_first_of_several_counts() {
        let text = b"0123\n\x7f\r\0\n\xff\x0e\n:";
        assert_eq!((find_control(text, 0), find_control(text, 5), find_control(text, 9)), (Some(4), Some(6), Some(11)));
        assert_eq!(
            (find_byte(b"a:b:c:d:e", 2, b':'), find_byte(b"abc", 0, b':'), find_byte(b"", 0, b':')),
            (Some(3), None, None)
        );
    }
}

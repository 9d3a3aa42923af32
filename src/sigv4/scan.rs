//! Characters of a class, found sixteen bytes at a time: what every verification does to every byte of a head.

use wide::u8x16;

/// A class of characters.
pub(super) trait CharacterClass: Copy {
    /// All bits of each byte that belongs to it, none of any other.
    fn members(self, block: u8x16) -> u8x16;
}

/// One character alone.
#[derive(Clone, Copy)]
pub(super) struct Byte(pub u8);

/// Below 0x0e: NUL, a tab, or part of a line break, among others.
#[derive(Clone, Copy)]
pub(super) struct Control;

/// A blank or a control character.
#[derive(Clone, Copy)]
pub(super) struct Blank;

/// No letter, digit or hyphen, of which nearly every name of a header consists.
#[derive(Clone, Copy)]
pub(super) struct UnlikeName;

/// Neither unreserved (RFC 3986, 2.3) nor a slash: all else stays as it is in a path.
#[derive(Clone, Copy)]
pub(super) struct UnlikePath;

impl CharacterClass for Byte {
    #[inline]
    fn members(self, block: u8x16) -> u8x16 {
        block.simd_eq(u8x16::splat(self.0))
    }
}

impl CharacterClass for Control {
    #[inline]
    fn members(self, block: u8x16) -> u8x16 {
        at_most(block, 0x0d)
    }
}

impl CharacterClass for Blank {
    #[inline]
    fn members(self, block: u8x16) -> u8x16 {
        at_most(block, b' ')
    }
}

impl CharacterClass for UnlikeName {
    #[inline]
    fn members(self, block: u8x16) -> u8x16 {
        !(letters(block) | at_most(block - u8x16::splat(b'0'), 9) | block.simd_eq(u8x16::splat(b'-')))
    }
}

impl CharacterClass for UnlikePath {
    #[inline]
    fn members(self, block: u8x16) -> u8x16 {
        let others = block.simd_eq(u8x16::splat(b'_')) | block.simd_eq(u8x16::splat(b'~'));
        !(letters(block) | at_most(block - u8x16::splat(b'-'), b'9' - b'-') | others)
    }
}

#[inline]
fn letters(block: u8x16) -> u8x16 {
    const CASE: u8 = b'a' - b'A';
    at_most((block | u8x16::splat(CASE)) - u8x16::splat(b'a'), b'z' - b'a')
}

/// Which bytes of a block are at most so high.
#[inline]
fn at_most(block: u8x16, highest: u8) -> u8x16 {
    block.min(u8x16::splat(highest)).simd_eq(block)
}

/// The place of the first character of the class.
#[inline]
pub(super) fn find(text: &[u8], class: impl CharacterClass) -> Option<usize> {
    let mut at = 0;
    while let Some(block) = text[at..].first_chunk() {
        let found = bits(*block, class);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += BLOCK;
    }
    let rest = &text[at..];
    let found = if rest.is_empty() { 0 } else { bits_of_rest(text, rest, class) };
    (found != 0).then(|| at + found.trailing_zeros() as usize)
}

/// The places of all characters of the class, in order.
#[inline]
pub(super) fn places<C: CharacterClass>(text: &[u8], class: C) -> Places<'_, C> {
    Places { text, class, looked_at: 0, found: 0 }
}

/// What [`places`] gives. Sixty-four bytes are looked at together.
pub(super) struct Places<'t, C> {
    text: &'t [u8],
    class: C,
    /// How many bytes were looked at, or would have been, were the text long enough.
    looked_at: usize,
    /// A bit for each of the last sixty-four of them that is in the class and was not given yet.
    found: u64,
}

impl<C: CharacterClass> Iterator for Places<'_, C> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let rest = self.text.get(self.looked_at..).filter(|rest| !rest.is_empty())?;
            self.found = bits_of_many(rest, self.class);
            self.looked_at += MANY;
        }
        let place = self.looked_at - MANY + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(place)
    }
}

/// Bytes that are looked at together.
const BLOCK: usize = 16;
/// Bytes whose bits make a word.
const MANY: usize = 64;

/// A bit for each byte of a block.
#[inline]
fn bits(block: [u8; BLOCK], class: impl CharacterClass) -> u64 {
    class.members(u8x16::new(block)).to_bitmask().into()
}

/// A bit for each of the first sixty-four bytes, or of all.
#[inline]
fn bits_of_many(text: &[u8], class: impl CharacterClass) -> u64 {
    let whole = |blocks: &[[u8; BLOCK]]| {
        let bits = blocks.iter().enumerate().map(|(index, block)| bits(*block, class) << (index * BLOCK));
        bits.fold(0, |all, bits| all | bits)
    };
    match text.first_chunk::<MANY>() {
        Some(many) => whole(many.as_chunks().0),
        None => {
            let (blocks, rest) = text.as_chunks();
            let last = if rest.is_empty() { 0 } else { bits_of_rest(text, rest, class) << (blocks.len() * BLOCK) };
            whole(blocks) | last
        }
    }
}

/// A bit for each byte of what is left of a text after its last whole block: as part of a block that overlaps that one,
/// or by itself where there is none.
#[inline]
fn bits_of_rest(text: &[u8], rest: &[u8], class: impl CharacterClass) -> u64 {
    match text.last_chunk() {
        Some(last) => bits(*last, class) >> (BLOCK - rest.len()),
        None => bits(padded(rest), class) & !(u64::MAX << rest.len()),
    }
}

/// Less than a block, with zeros behind it: by words, of which the last may overlap the one before.
#[inline]
fn padded(text: &[u8]) -> [u8; BLOCK] {
    let length = text.len();
    let word = match (text.first_chunk(), text.last_chunk(), text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last), ..) => {
            u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (length - 8))
        }
        (_, _, Some(first), Some(last)) => {
            u128::from(u32::from_le_bytes(*first)) | u128::from(u32::from_le_bytes(*last)) << (8 * (length - 4))
        }
        _ => text.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte)),
    };
    word.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], class: impl CharacterClass, holds: impl Fn(u8) -> bool) {
        let expected: Vec<_> = (0..text.len()).filter(|place| holds(text[*place])).collect();
        assert_eq!(places(text, class).collect::<Vec<_>>(), expected, "{text:?}");
        assert_eq!(find(text, class), expected.first().copied(), "{text:?}");
    }

    fn check_all(text: &[u8], byte: u8) {
        check(text, Byte(byte), |it| it == byte);
        check(text, Control, |it| it < 0x0e);
        check(text, Blank, |it| it <= b' ');
        check(text, UnlikeName, |it| !it.is_ascii_alphanumeric() && it != b'-');
        check(text, UnlikePath, |it| !it.is_ascii_alphanumeric() && !b"-._~/".contains(&it));
    }

    /// Every byte at every place of texts of ordinary ones, of every length up to two words and some.
    #[test]
    fn blocks_find_what_bytes_find() {
        for length in 0..140_usize {
            let places = if length < 40 { 0..length } else { length.saturating_sub(17)..length };
            for place in places {
                for byte in (0..=u8::MAX).step_by(if length < 20 { 1 } else { 7 }) {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    check_all(&text, byte);
                }
            }
        }
    }

    #[test]
    fn several_are_found_in_order() {
        let text = b"0123\n\x7f\r\0\n\xff\x0e\n:\t -_~/AZaz09@[`{";
        for length in 0..text.len() {
            for times in 1..6 {
                let text = text[..length].repeat(times);
                text.iter().chain(b"?").for_each(|byte| check_all(&text, *byte));
            }
        }
    }
}

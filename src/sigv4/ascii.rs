//! Classes of ASCII characters, and names compared without regard to case.

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

/// Whether all are letters, digits and hyphens. For at least eight bytes; shorter texts are not looked at, and `false`.
#[inline]
pub(super) fn is_plain_name(text: &[u8]) -> bool {
    match text.len() {
        8..16 => has_plain_ends::<8>(text),
        16..=32 => has_plain_ends::<16>(text),
        _ => false,
    }
}

/// Of a text of `N` to `2 * N` bytes. Without a branch, a compiler makes a few vector instructions of it.
#[inline]
fn has_plain_ends<const N: usize>(text: &[u8]) -> bool {
    let is_plain =
        |byte: &u8| ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10) | (*byte == b'-');
    let all = |end: &[u8; N]| end.iter().fold(true, |all, byte| all & is_plain(byte));
    text.first_chunk().is_some_and(all) && text.last_chunk().is_some_and(all)
}

/// Whether `text` is made of the table's characters alone.
pub(super) fn is_all(text: &[u8], table: &Table) -> bool {
    run_length(text, table) == text.len()
}

/// The first byte at or after `at` that is below 0x0e: NUL, a tab, or part of a line break, among others.
#[inline]
pub(super) fn find_control(text: &[u8], mut at: usize) -> Option<usize> {
    const BOUND: u8 = 0x0e;
    // A compiler makes a few vector instructions of this.
    while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<32>())
        && !block.iter().fold(false, |any, byte| any | (*byte < BOUND))
    {
        at += 32;
    }
    // The high bit of each byte below the bound. A byte after such a one may have it wrongly; the first is right.
    find(text, at, |word| word.wrapping_sub(ONES * BOUND as u64) & !word, |byte| byte < BOUND)
}

/// The first such byte: for texts so short that a call costs more than the looking.
#[inline]
pub(super) fn find_byte(text: &[u8], wanted: u8) -> Option<usize> {
    let pattern = ONES * u64::from(wanted);
    find(text, 0, |word| (word ^ pattern).wrapping_sub(ONES) & !(word ^ pattern), |byte| byte == wanted)
}

/// Eight bytes at a time. `in_word` sets the high bit of the first byte that is looked for, and of none before it.
#[inline]
fn find(text: &[u8], from: usize, in_word: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = text.get(from..)?.as_chunks();
    for (place, word) in words.iter().enumerate() {
        let found = in_word(u64::from_le_bytes(*word)) & HIGH;
        if found != 0 {
            return Some(from + 8 * place + (found.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|byte| is(*byte)).map(|found| text.len() - rest.len() + found)
}

/// Whether a byte is a blank or a control character.
#[inline]
pub(super) fn has_blank(text: &[u8]) -> bool {
    // The high bit of each byte below 0x21, if there is one at all.
    let low = |bytes: &[u8; 8]| {
        let word = u64::from_le_bytes(*bytes);
        word.wrapping_sub(ONES * 0x21) & !word & HIGH
    };
    match text.last_chunk() {
        Some(end) => text.as_chunks().0.iter().fold(low(end), |all, word| all | low(word)) != 0,
        None => text.iter().any(|byte| *byte <= b' '),
    }
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
            assert_eq!(find_byte(text, byte), Some(if byte == b'x' { 0 } else { place }), "{byte} at {place}");
            assert_eq!(find_control(text, 0), (byte < 0x0e).then_some(place), "{byte} at {place}");
            assert_eq!(has_blank(text), byte <= b' ', "{byte} at {place}");
            let mut lower = text.to_ascii_lowercase();
            assert!(is_lower_case_of(&lower, text), "{byte} at {place}");
            lower[place] ^= 1;
            assert!(!is_lower_case_of(&lower, text), "{byte} at {place}");
        });
    }

    #[test]
    fn plain_names_are_told() {
        for length in 8..=32 {
            assert!(is_plain_name(&vec![b'x'; length]));
            each_byte_at_each_place(length, |text, place, byte| {
                let plain = byte.is_ascii_alphanumeric() || byte == b'-';
                assert_eq!(is_plain_name(text), plain, "{byte} at {place} of {length}");
            });
        }
        assert!(!is_plain_name(b"host") && !is_plain_name(&[b'x'; 33]), "these are for the table");
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
            (find_byte(b"a:b:c:d:e", b':'), find_byte(b"abc", b':'), find_byte(b"", b':')),
            (Some(1), None, None)
        );
    }
}

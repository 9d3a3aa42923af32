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
fn find(text: &[u8], mut at: usize, in_word: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> Option<usize> {
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = in_word(u64::from_le_bytes(*word)) & HIGH;
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    text.get(at..)?.iter().position(|byte| is(*byte)).map(|found| at + found)
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

/// Whether `lower` is `text` in lower case: eight bytes at a time, the last eight twice.
#[inline]
pub(super) fn is_lower_case_of(lower: &[u8], text: &[u8]) -> bool {
    if lower.len() != text.len() {
        return false;
    }
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    match (lower.last_chunk(), text.last_chunk()) {
        (Some(lower_end), Some(text_end)) => {
            let pairs = lower.as_chunks().0.iter().zip(text.as_chunks().0);
            let all = pairs.fold(true, |same, (a, b)| same & (word(a) == to_lower(word(b))));
            all & (word(lower_end) == to_lower(word(text_end)))
        }
        _ => is_short_lower_case_of(lower, text),
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

//! Tables of ASCII characters, and names compared without regard to case.

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
    fn names_are_compared_whole() {
        for length in [8, 9, 15, 16, 17, 31, 32, 33, 75] {
            each_byte_at_each_place(length, |text, place, byte| {
                let mut lower = text.to_ascii_lowercase();
                assert!(is_lower_case_of(&lower, text), "{byte} at {place} of {length}");
                lower[place] ^= 1;
                assert!(!is_lower_case_of(&lower, text), "{byte} at {place} of {length}");
            });
        }
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
}

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
pub(super) fn find_control(text: &[u8], mut at: usize) -> Option<usize> {
    const BOUND: u8 = 0x0e;
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte below the bound. A byte after such a one may have it wrongly; the first is right.
        let low = word.wrapping_sub(ONES * BOUND as u64) & !word & HIGH;
        if low != 0 {
            return Some(at + (low.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    text.get(at..)?.iter().position(|byte| *byte < BOUND).map(|found| at + found)
}

/// Whether a byte is a blank or a control character.
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
        _ => lower.iter().zip(text).all(|(a, b)| *a == b.to_ascii_lowercase()),
    }
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

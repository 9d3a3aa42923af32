//! Lower-case hexadecimal of 32 bytes.
//!
//! Own code, for its speed: without early exits a compiler makes vector instructions of it, and two or three of these
//! stand in every verification. Nothing here is secret.

/// Reads 64 lower-case digits; `None` if the text is anything else.
pub(super) fn decode(text: &[u8]) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.try_into().ok()?;
    let (mut values, mut is_hex) = ([0; 64], true);
    for (value, byte) in values.iter_mut().zip(text) {
        let (digit, letter) = (byte.wrapping_sub(b'0'), byte.wrapping_sub(b'a'));
        is_hex &= (digit < 10) | (letter < 6);
        *value = if digit < 10 { digit } else { letter.wrapping_add(10) };
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(values.as_chunks::<2>().0) {
        *byte = pair[0] << 4 | pair[1] & 15;
    }
    is_hex.then_some(bytes)
}

/// 32 bytes as 64 digits.
pub(super) fn encode(bytes: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    text
}

fn digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

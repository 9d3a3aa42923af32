//! Lower-case hexadecimal of 32 bytes.
//!
//! Own code, for its speed: without early exits a compiler makes vector instructions of it, and two or three of these
//! stand in every verification.

/// 64 lower-case digits as they stand in a request. What is made of 32 bytes has no other form, so that texts can be
/// compared in place of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Digits<'a>(&'a [u8; 64]);

impl<'a> Digits<'a> {
    /// Of 32 zeros.
    pub const ZEROS: Self = Self(&[b'0'; 64]);

    /// `None` if the text is anything else.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        let text: &[u8; 64] = text.try_into().ok()?;
        let is_digit = |byte: &u8| (byte.wrapping_sub(b'0') < 10) | (byte.wrapping_sub(b'a') < 6);
        text.iter().fold(true, |all, byte| all & is_digit(byte)).then_some(Self(text))
    }

    /// The digits.
    pub fn as_bytes(&self) -> &'a [u8; 64] {
        self.0
    }

    /// The 32 bytes.
    pub fn decode(&self) -> [u8; 32] {
        let value = |byte: u8| if byte <= b'9' { byte - b'0' } else { byte - b'a' + 10 };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(self.0.as_chunks::<2>().0) {
            *byte = value(pair[0]) << 4 | value(pair[1]);
        }
        bytes
    }
}

/// 32 bytes as 64 digits.
pub(crate) fn encode(bytes: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    text
}

/// Without a branch: the signature that is expected is nobody's business.
fn digit(value: u8) -> u8 {
    const TO_LETTERS: u8 = b'a' - b'0' - 10;
    b'0' + value + u8::from(value > 9) * TO_LETTERS
}

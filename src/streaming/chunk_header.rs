//! The line before the data of a chunk.

/// `size` or `size;chunk-signature=signature`.
pub(super) struct ChunkHeader<'a> {
    /// Bytes of data; 0 for the last chunk.
    pub size: u64,
    /// As it stands there, of any length; for a kind that signs chunks.
    pub signature: Option<&'a [u8]>,
}

impl<'a> ChunkHeader<'a> {
    /// Reads a line with its line break. HTTP's other chunk extensions have no meaning here, and none is let by.
    pub fn parse(line: &'a [u8], is_signed: bool) -> Result<Self, &'static str> {
        let line = line.strip_suffix(b"\r\n").ok_or("it does not end in CR LF")?;
        if !is_signed {
            return Ok(Self { size: size(line)?, signature: None });
        }
        let end = line.iter().position(|byte| *byte == b';').ok_or("it has no chunk-signature")?;
        let signature = line[end..].strip_prefix(b";chunk-signature=").ok_or("it has an extension of another name")?;
        Ok(Self { size: size(&line[..end])?, signature: Some(signature) })
    }
}

/// 1 to 16 hexadecimal digits of either case: what a `u64` holds.
fn size(digits: &[u8]) -> Result<u64, &'static str> {
    if !(1..=16).contains(&digits.len()) {
        return Err("its size is not 1 to 16 hexadecimal digits");
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(u64::from);
    let size = digits.iter().try_fold(0, |size, byte| digit(byte).map(|digit| size << 4 | digit));
    size.ok_or("its size is not 1 to 16 hexadecimal digits")
}

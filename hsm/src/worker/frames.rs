//! Frames of the wire on a blocking socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use zeroize::Zeroizing;

use crate::wire::{self, Malformed};

/// Reads one frame's body; `false` when the other end has closed between frames.
pub(super) fn read(input: &mut impl Read, body: &mut Vec<u8>) -> Result<bool, std::io::Error> {
    let mut prefix = [0; wire::LENGTH_BYTES];
    if input.read(&mut prefix[..1])? == 0 {
        return Ok(false);
    }
    input.read_exact(&mut prefix[1..])?;
    body.resize(wire::request_length(prefix).map_err(invalid)?, 0);
    input.read_exact(body)?;
    Ok(true)
}

/// Whether these bytes begin with a whole frame.
pub(super) fn begin_with_one(bytes: &[u8]) -> bool {
    bytes.split_first_chunk().is_some_and(|(prefix, rest)| rest.len() >= u32::from_be_bytes(*prefix) as usize)
}

/// Writes one frame.
pub(super) fn send(mut socket: &UnixStream, body: &[u8]) -> Result<(), std::io::Error> {
    socket.write_all(&of(body))
}

/// One frame, in one buffer that is wiped.
pub(super) fn of(body: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut frame = Zeroizing::new(Vec::with_capacity(wire::LENGTH_BYTES + body.len()));
    frame.extend_from_slice(&wire::length_prefix(body));
    frame.extend_from_slice(body);
    frame
}

/// A frame that follows no format ends its connection.
pub(super) fn invalid(malformed: Malformed) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_when_its_last_byte_is_there() {
        let two = [of(b"one").to_vec(), of(b"another").to_vec()].concat();
        for length in 0..two.len() {
            let mut input = &two[..length];
            let is_whole = read(&mut input, &mut Vec::new()).is_ok_and(|read| read);
            assert_eq!(begin_with_one(&two[..length]), is_whole, "{length} bytes");
        }
        assert!(begin_with_one(&two) && !begin_with_one(&two[..6]), "the control");
    }
}

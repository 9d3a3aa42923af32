//! Where a canonical request goes while it is written: into a hash, or into text for people to read.

use super::sha256::{BLOCK, State};

/// Takes the bytes of a canonical request, piece by piece.
pub trait Sink {
    /// The next bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Several pieces at once.
    #[inline]
    fn put_all<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        pieces.iter().for_each(|piece| self.put(piece));
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Hashes what it is given.
///
/// A canonical request comes in some forty pieces of a few bytes. They are gathered here, so that the hash sees whole
/// blocks.
pub struct HashSink {
    state: State,
    /// Bytes that the state has taken in.
    hashed: usize,
    gathered: [u8; Self::GATHER],
    filled: usize,
}

impl HashSink {
    /// Eight blocks: most canonical requests fit in.
    const GATHER: usize = 8 * BLOCK;

    /// The SHA-256 of everything that was put in.
    pub fn finish(mut self) -> [u8; 32] {
        self.state.finish(&self.gathered[..self.filled], self.hashed + self.filled)
    }

    #[cold]
    fn flush_and_put(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at((Self::GATHER - self.filled).min(bytes.len()));
        self.gathered[self.filled..self.filled + head.len()].copy_from_slice(head);
        self.filled += head.len();
        if self.filled < Self::GATHER {
            return;
        }
        self.state.blocks(&self.gathered);
        let left = self.state.blocks(rest);
        self.hashed += Self::GATHER + rest.len() - left.len();
        self.gathered[..left.len()].copy_from_slice(left);
        self.filled = left.len();
    }
}

impl Default for HashSink {
    fn default() -> Self {
        Self { state: State::START, hashed: 0, gathered: [0; Self::GATHER], filled: 0 }
    }
}

impl Sink for HashSink {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        match self.gathered.get_mut(self.filled..self.filled + bytes.len()) {
            Some(place) => {
                copy(place, bytes);
                self.filled += bytes.len();
            }
            None => self.flush_and_put(bytes),
        }
    }

    #[inline]
    fn put_all<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let Some(mut place) = self.gathered.get_mut(self.filled..self.filled + length) else {
            return pieces.iter().for_each(|piece| self.put(piece));
        };
        for piece in pieces {
            let (head, rest) = place.split_at_mut(piece.len());
            copy(head, piece);
            place = rest;
        }
        self.filled += length;
    }
}

/// Copies a piece to a place of its length. Most have a few bytes, for which a call costs more than the copying: they go
/// as two words that may overlap.
#[inline]
pub(super) fn copy(place: &mut [u8], piece: &[u8]) {
    match piece.len() {
        0 => {}
        1 => place[0] = piece[0],
        2..4 => copy_ends::<2>(place, piece),
        4..8 => copy_ends::<4>(place, piece),
        8..16 => copy_ends::<8>(place, piece),
        16..32 => copy_ends::<16>(place, piece),
        32..=64 => copy_ends::<32>(place, piece),
        _ => place.copy_from_slice(piece),
    }
}

/// For pieces of `N` to `2 * N` bytes.
#[inline]
fn copy_ends<const N: usize>(place: &mut [u8], piece: &[u8]) {
    if let (Some(place), Some(first)) = (place.first_chunk_mut::<N>(), piece.first_chunk()) {
        *place = *first;
    }
    if let (Some(place), Some(last)) = (place.last_chunk_mut::<N>(), piece.last_chunk()) {
        *place = *last;
    }
}

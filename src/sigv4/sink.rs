//! Where a canonical request goes while it is written: into a hash, or into text for people to read.

use zeroize::Zeroize;

use super::sha256::{BLOCK, State};

/// Takes the bytes of a canonical request, piece by piece.
pub trait Sink {
    /// The next bytes.
    fn put(&mut self, bytes: &[u8]);

    /// The end of a line.
    #[inline]
    fn end_line(&mut self) {
        self.put(b"\n");
    }

    /// A piece, a byte, a piece and a byte, as most of a canonical request is made of.
    #[inline]
    fn put_pair(&mut self, first: &[u8], between: u8, second: &[u8], last: u8) {
        self.put(first);
        self.put(&[between]);
        self.put(second);
        self.put(&[last]);
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
/// blocks, and each block is hashed while more is written, for each round of SHA-256 waits for the one before and leaves most
/// of the processor's units idle. That is done at the end of the line in which the next block becomes whole, not at once: what
/// was just written in small pieces cannot be read in large ones before it has reached the cache, and that waits for the hash
/// of the block before.
pub struct HashSink {
    state: State,
    /// Bytes that went through, but for those that are gathered now.
    passed: usize,
    /// A block longer than what is gathered at most: the padding of the last block may need it.
    gathered: [u8; Self::GATHER + BLOCK],
    filled: usize,
    /// How many of the gathered bytes the state has taken in: whole blocks.
    taken: usize,
}

impl HashSink {
    const GATHER: usize = 8 * BLOCK;

    /// Goes on with a state that has taken in so many bytes, whole blocks.
    #[inline]
    pub fn after(state: State, bytes: usize) -> Self {
        Self { state, passed: bytes, gathered: [0; Self::GATHER + BLOCK], filled: 0, taken: 0 }
    }

    /// The SHA-256 of everything that was put in. Pads as FIPS 180-4, 5.1.1 says: `0x80`, zeros, and the length in bits.
    #[inline]
    pub fn finish(&mut self) -> [u8; 32] {
        let length = self.passed + self.filled;
        let rest = self.filled - self.taken;
        let end = (rest + 1 + size_of::<u64>()).next_multiple_of(BLOCK);
        let padded = &mut self.gathered[self.taken..][..end];
        padded[rest] = 0x80;
        padded[rest + 1..].fill(0);
        padded[end - size_of::<u64>()..].copy_from_slice(&(length as u64 * 8).to_be_bytes());
        self.state.blocks(padded);
        self.state.bytes()
    }

    /// Forgets a state that depends on a key.
    #[inline]
    pub fn wipe(&mut self) {
        self.state.zeroize();
    }

    /// Hashes whole blocks but for the last one.
    #[inline]
    fn hash_older_blocks(&mut self) {
        if self.filled - self.taken >= 2 * BLOCK {
            let end = self.filled - BLOCK;
            let left = self.state.blocks(&self.gathered[self.taken..end]);
            self.taken = end - left.len();
        }
    }

    /// What is gathered, and of these bytes, of which there is no room for all.
    #[cold]
    fn flush_and_put(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(Self::GATHER - self.filled);
        self.gathered[self.filled..Self::GATHER].copy_from_slice(head);
        self.state.blocks(&self.gathered[self.taken..Self::GATHER]);
        let left = self.state.blocks(rest);
        self.passed += Self::GATHER + rest.len() - left.len();
        self.gathered[..left.len()].copy_from_slice(left);
        (self.filled, self.taken) = (left.len(), 0);
    }
}

impl Default for HashSink {
    fn default() -> Self {
        Self::after(State::START, 0)
    }
}

impl Sink for HashSink {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        match self.gathered[..Self::GATHER].get_mut(self.filled..self.filled + bytes.len()) {
            Some(place) => {
                copy(place, bytes);
                self.filled += bytes.len();
            }
            None => self.flush_and_put(bytes),
        }
    }

    #[inline]
    fn end_line(&mut self) {
        self.put(b"\n");
        self.hash_older_blocks();
    }

    #[inline]
    fn put_pair(&mut self, first: &[u8], between: u8, second: &[u8], last: u8) {
        let length = first.len() + second.len() + 2;
        let Some(place) = self.gathered[..Self::GATHER].get_mut(self.filled..self.filled + length) else {
            return [first, &[between], second, &[last]].iter().for_each(|piece| self.put(piece));
        };
        let (start, rest) = place.split_at_mut(first.len());
        copy(start, first);
        rest[0] = between;
        let (middle, rest) = rest[1..].split_at_mut(second.len());
        copy(middle, second);
        rest[0] = last;
        self.filled += length;
        self.hash_older_blocks();
    }
}

/// Copies a piece to a place of its length. Most have a few bytes, for which a call costs more than the copying: they go
/// as two words that may overlap.
#[inline]
pub(super) fn copy(place: &mut [u8], piece: &[u8]) {
    match piece.len() {
        65.. => place.copy_from_slice(piece),
        33.. => copy_ends::<32>(place, piece),
        16.. => copy_ends::<16>(place, piece),
        8.. => copy_ends::<8>(place, piece),
        4.. => copy_ends::<4>(place, piece),
        2.. => copy_ends::<2>(place, piece),
        1 => place[0] = piece[0],
        0 => {}
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

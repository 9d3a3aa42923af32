//! SHA-256 from a given state, and HMAC from two: the compression is the `sha2` crate's, the padding is here.
//!
//! The general types of `sha2` and `hmac` copy what they are given into a buffer, clone and wipe that buffer with every key,
//! and take a tenth of a short verification for it. Sources: FIPS 180-4, 5.1.1 and 5.3.3; RFC 2104.

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// The state of SHA-256 after some whole blocks.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct State([u32; 8]);

impl State {
    /// Before the first block.
    pub const START: Self =
        Self([0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19]);

    /// Takes whole blocks in; gives what is left of `bytes`.
    #[inline]
    pub fn blocks<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        compress256(&mut self.0, blocks);
        rest
    }

    /// The hash, when `last` follows the blocks so far, and all that was taken in has `length` bytes then.
    #[inline]
    pub fn finish(&mut self, last: &[u8], length: usize) -> [u8; 32] {
        let rest = self.blocks(last);
        let mut padded = [0; 2 * BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x80;
        let end = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        padded[end - 8..end].copy_from_slice(&(length as u64 * 8).to_be_bytes());
        self.blocks(&padded[..end]);
        self.bytes()
    }

    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *place = word.to_be_bytes();
        }
        bytes
    }
}

/// HMAC-SHA256 with the key's own two compressions already done.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct HmacKey {
    inner: State,
    outer: State,
}

impl HmacKey {
    /// Of a key of 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        let state_after = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK]);
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = State::START;
            state.blocks(&*block);
            state
        };
        Self { inner: state_after(0x36), outer: state_after(0x5c) }
    }

    /// `HMAC(key, message)`.
    #[inline]
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let (mut inner, mut outer) = (self.inner, self.outer);
        let hash = inner.finish(message, BLOCK + message.len());
        let signature = outer.finish(&hash, BLOCK + hash.len());
        inner.zeroize();
        outer.zeroize();
        signature
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};

    use super::*;

    /// Every length up to four blocks, so that every way of padding is met.
    #[test]
    fn the_crates_say_the_same() {
        let text: Vec<u8> = (0..=255).collect();
        for length in 0..text.len() {
            let message = &text[..length];
            let mut state = State::START;
            assert_eq!(state.finish(message, length)[..], Sha256::digest(message)[..], "{length} bytes");
            let key: [u8; 32] = Sha256::digest(message).into();
            let theirs = Hmac::<Sha256>::new_from_slice(&key).expect("a key").chain_update(message).finalize();
            assert_eq!(HmacKey::new(&key).sign(message)[..], theirs.into_bytes()[..], "{length} bytes");
        }
    }
}
